"""Numbers that the README and the study's page print are those of the kept results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fivesigma.evaluate import Measurement

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/studies/w-tagging.md"])
@pytest.mark.parametrize("model", ["mass+tau21", "fisher", "substructure-bdt", "cnn", "cnn+mass"])
def test_printed_numbers_are_the_kept_ones(page: str, model: str) -> None:
    kept = json.loads((ROOT / "docs/results/w-tagging.json").read_text(encoding="utf-8"))
    text = (ROOT / page).read_text(encoding="utf-8")
    for row in kept["results"]:
        if row["model"] == model and row["metric"] in {"auc", "rejection_at_0.5"}:
            assert str(Measurement(row["value"], row["uncertainty"], row["how"])) in text


def test_kept_results_name_what_made_them() -> None:
    kept = json.loads((ROOT / "docs/results/w-tagging.json").read_text(encoding="utf-8"))
    assert {"study", "command", "seed", "commit", "versions", "sample", "cpu_seconds", "results"} <= set(kept)
    assert all(row["uncertainty"] is not None or row["value"] is None for row in kept["results"])
