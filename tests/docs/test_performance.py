"""The page of speed prints what the benchmarks kept."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="script", scope="module")
def _script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "results" / "performance.py"))


def test_the_tables_are_those_of_the_kept_results(script: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert script["with_tables"](text, script["read"]()) == text, "run `python docs/results/performance.py`"


def test_every_record_stands_in_one_table(script: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for record in script["read"]():
        assert text.count(f"| {record['name']} |") == 1


def test_every_ratio_is_that_of_its_sides_and_names_its_peer(script: dict[str, Any]) -> None:
    for record in script["read"]():
        more_is_better = record["unit"].endswith("/s")
        ratio = record["ours"] / record["peer"] if more_is_better else record["peer"] / record["ours"]
        assert record["ratio"] == pytest.approx(ratio, rel=0.25)  # medians of pairs are not the pair of medians
        assert record["peer_name"]
        assert record["machine"]
