"""Numbers that the README and the study's page print are those of the kept results."""

from __future__ import annotations

import json
import re
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


STUDIES = (
    "w-tagging",
    "higgs",
    "pivot-toy",
    "w-tagging-pileup",
    "domain-adaptation",
    "signed-weights",
    "bayesian",
    "grid-inference",
    "topological-trigger",
    "muon-trigger",
)


@pytest.mark.parametrize("study", STUDIES)
def test_kept_results_name_what_made_them(study: str) -> None:
    kept = json.loads((ROOT / f"docs/results/{study}.json").read_text(encoding="utf-8"))
    assert {"study", "command", "seed", "commit", "versions", "sample", "cpu_seconds", "results"} <= set(kept)
    assert kept["command"].startswith(f"fivesigma run {study}")
    assert "/tmp" not in kept["command"]
    assert all(row["uncertainty"] is not None or row["value"] is None for row in kept["results"])


@pytest.mark.parametrize("study", STUDIES)
def test_the_readme_prints_kept_numbers(study: str) -> None:
    kept = json.loads((ROOT / f"docs/results/{study}.json").read_text(encoding="utf-8"))
    (line,) = [x for x in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if f"[`{study}`]" in x]
    printed = {
        str(Measurement(row["value"], row["uncertainty"], row["how"]))
        for row in kept["results"]
        if f"`{row['model']}`" in line and row["value"] is not None
    }
    shown = re.findall(r"` (-?[\d.]+ ± [\d.]+)", line)
    assert shown
    assert set(shown) <= printed
