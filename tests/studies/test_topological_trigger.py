"""The reduced study: trees keep more than cuts, the table decides as the bonsai tree does, the uniform one is flatter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.core.run_directory import RunDirectory
from fivesigma.flows import find_flow
from fivesigma.flows.topological_trigger import TopologicalTriggerWords
from fivesigma.studies.definition import read_study
from fivesigma.study import run_study

TREES = {"trees": 25, "learning_rate": 0.3, "leaves": 8, "min_events_in_leaf": 20}
FLAT = {**TREES, "uniform_label": "signal", "bins": 6}
BINS: dict[str, list[float]] = {
    "n_tracks": [2.5], "sum_pt": [3, 5], "min_pt": [1], "mass": [1.5, 2.5], "corrected_mass": [2, 3, 4.5], "doca": [0.1],
    "ip_chi2": [20], "fd_chi2": [100, 400],
}  # fmt: skip


@pytest.fixture(scope="module")
def words() -> TopologicalTriggerWords:
    content, _ = read_study("topological-trigger")
    uniform = ["decay_time", "corrected_mass"]
    changes = {
        "bins": BINS,
        "replicas": 40,
        "output_rates_khz": [0.5],
        "variations": {"half shifted 50 µm": {"half_shift_um": 50}},
        "monitoring": {"slices": 4, "from_slice": 2},
        "models": {
            "cuts": {"estimator": "cuts", "options": {"peel": 0.05}},
            "bdt": {"estimator": "boosted-trees", "options": TREES},
            "bonsai": {"estimator": "boosted-trees", "options": TREES, "bonsai": True},
            "uniform-bonsai": {"estimator": "flatness-boosting", "options": FLAT, "bonsai": True, "uniform": uniform},
        },
    }
    return TopologicalTriggerWords.model_validate(content | changes)


def test_reduced_study(words: TopologicalTriggerWords, tmp_path: Path) -> None:
    result = find_flow("topological-trigger").run(words, RunDirectory.create(tmp_path / "run"), workers=1)
    value: dict[tuple[str, str], Any] = {(row["model"], row["metric"]): row for row in result.results}
    difference = {(d["first"], d["second"], d["metric"]): d for d in result.differences}

    better = difference["bdt", "cuts", "efficiency_at_0.5_khz"]
    assert better["value"] > 2 * better["uncertainty"] > 0
    lost = difference["bonsai", "bdt", "efficiency_at_0.5_khz"]
    assert abs(lost["value"]) < 0.06
    flatter = difference["uniform-bonsai", "bonsai", "flatness_cvm_in_corrected_mass"]
    assert flatter["value"] < -3 * flatter["uncertainty"]

    assert value["bdt in C", "largest_difference_of_scores"]["value"] < 1e-12
    for table in ("bonsai table", "uniform-bonsai table"):
        assert value[table, "decisions_that_differ"]["value"] == 0
        assert value[table, "cells"]["value"] == np.prod([len(edges) + 1 for edges in BINS.values()])
    parts = [value["bdt", f"rate_khz_of_{kind}_at_0.5_khz"]["value"] for kind in ("light", "charm", "beauty")]
    assert sum(parts) == pytest.approx(value["bdt", "rate_khz_of_all_at_0.5_khz"]["value"])
    assert parts[0] + parts[1] == pytest.approx(0.5, abs=0.03)

    assert result.more["monitoring"]["nominal"]["alarms"] == []
    alarms = result.more["monitoring"]["half shifted 50 µm"]["alarms"]
    assert alarms
    assert {alarm["slice"] for alarm in alarms} <= {2, 3}
    assert "impact on its own side" in {alarm["quantity"] for alarm in alarms}
    memory = result.more["memory"]
    assert memory["together"] == pytest.approx(memory["file"], abs=2 * 4096 * memory["processes"])  # pages
    losses = [size["loss"]["value"] for size in result.more["table_sizes"]["bonsai, pruned"]]
    assert losses[-1] > -0.01
    assert "Monitoring" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run" / "figures" / "efficiency-against-rate.json").read_text(encoding="utf-8"))


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    content, _ = read_study("topological-trigger")
    for change, message in (
        ({"unseen": ["b0-to-k-pie"]}, "did you mean 'b0-to-k-pi'"),
        ({"bins": BINS | {"docca": [0.1]}}, "did you mean 'doca'"),
        ({"bins": {"doca": [0.1]}}, "expected edges for each input, got none for n_tracks"),
    ):
        with pytest.raises(ValueError, match=message):
            TopologicalTriggerWords.model_validate(content | change)
    with pytest.raises(ConfigError, match="takes --input sample=FILE, got events"):
        run_study("topological-trigger", inputs={"events": "a.root"}, output=tmp_path / "run")
