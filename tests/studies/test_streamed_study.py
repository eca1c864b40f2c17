"""A study whose YAML says `stream: true`: fitted from shards, scored and measured as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.studies.test_run import quick_study

from fivesigma import run_study
from fivesigma.core.errors import ConfigError
from fivesigma.studies import parse_study, resolve_study

SMALL = {"epochs": 2, "precision": "float32"}
FILTERS = {"filters": [4], "sizes": [5], "strides": [1], "pools": [2], "nodes": 8}


def streamed_study(few_jets: Path, **models: dict[str, Any]) -> Any:
    """With models of jet images, of numbers, and of both in one declared network, beside the baseline."""
    content = quick_study(few_jets).model_dump(mode="json")
    content["models"] = {"mass+tau21": content["models"]["mass+tau21"], **models}
    scaled = {"inputs": ["jet_mass", "tau21", "subjet_dr"], "scaling": "standard"}
    content["inputs"]["scaled"] = {"features": "tabular", "options": scaled}
    content["explain"] |= {"models": []}
    content["evaluate"] |= {"replicas": 20, "baseline": "mass+tau21"}
    return parse_study(content)


def test_images_numbers_and_both_are_trained_from_shards(few_jets: Path, tmp_path: Path) -> None:
    blocks = {
        "tower": {"from": "images", "layers": ["flatten"]},
        "trunk": {"from": ["tower", "substructure"], "layers": [{"dense": 8, "activation": "relu"}]},
    }
    definition = streamed_study(
        few_jets,
        images={"estimator": "cnn", "inputs": "images", "stream": True, "options": {**SMALL, "architecture": FILTERS}},
        numbers={"estimator": "dense", "inputs": "scaled", "stream": True, "options": {**SMALL, "epochs": 40}},
        both={
            "estimator": "network",
            "inputs": ["images", "substructure"],
            "stream": True,
            "options": {
                **SMALL,
                "blocks": blocks,
                "heads": {
                    "signal": {"from": "trunk", "loss": "bce"},
                    "mass": {"from": "trunk", "loss": "mse", "target": "jet_mass", "weight": 0.1},
                },
            },
        },
    )
    result = run_study(definition, output=tmp_path / "run", workers=2, until="evaluate")
    auc = {row["model"]: row["value"] for row in result.metrics["results"] if row["metric"] == "auc"}
    assert set(auc) == {"mass+tau21", "images", "numbers", "both"}
    assert all(value > 0.55 for value in auc.values())  # of 400 jets and two epochs
    assert auc["numbers"] == pytest.approx(auc["mass+tau21"], abs=0.06)
    recipe = json.loads((tmp_path / "run" / "models" / "numbers" / "fold-0" / "recipe.json").read_text())
    assert recipe["stream"] is True


def test_a_model_that_cannot_be_streamed_is_refused_before_anything_is_read(few_jets: Path) -> None:
    words = {"estimator": "random-forest", "inputs": "substructure", "stream": True}
    with pytest.raises(
        ConfigError, match=r"models.forest.stream: the estimator 'random-forest' needs all events in memory"
    ):
        resolve_study(streamed_study(few_jets, forest=words))
    words = {"estimator": "pivot", "inputs": "substructure", "nuisances": ["jet_pt"], "stream": True}
    with pytest.raises(ConfigError, match=r"models.pivot: `stream` does not go with `nuisances`"):
        resolve_study(streamed_study(few_jets, pivot=words))
