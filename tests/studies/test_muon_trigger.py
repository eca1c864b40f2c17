"""The study `muon-trigger` in reduced form, from its YAML to its report."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from fivesigma.core.errors import ConfigError
from fivesigma.study import run_study

STUDY = yaml.safe_load((resources.files("fivesigma.studies") / "muon-trigger.yaml").read_text(encoding="utf-8"))
START = {"dphi_first": 6, "dphi_second": 3, "dphi_third": 0, "bend": 1, "dtheta": 0, "pattern": 4, "eta_bin": 1}


def reduced(folder: Path, **changes: Any) -> Path:
    content = STUDY | {"train_muons": 15_000, "held_out_muons": 8_000, "test_muons": 15_000, "replicas": 20}
    content |= {"tables": [14, 15], "thresholds": [20], "other_powers": [4]}
    content["models"] = {name: STUDY["models"][name] for name in ("trees", "network")}
    content["models"]["trees"]["options"] |= {"trees": 30}
    content["models"]["network"]["options"] |= {"epochs": 2}
    content["charge"] = STUDY["charge"] | {"options": {"trees": 20}}
    content["scan"] = {"start": START, "train_muons": 4_000, "held_out_muons": 4_000, "options": {"trees": 10}}
    path = folder / "muon-trigger.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("muon-trigger")
    result = run_study(reduced(folder), output=folder / "run", workers=1)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert all(text in page for text in ("table 2^15", "Charge misidentification", "without bend"))
    written: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    maps = json.loads((folder / "run" / "tables" / "address-14-inputs.json").read_text(encoding="utf-8"))
    assert len(maps["dphi_first"]["codes"]) == 512
    return written


def test_every_address_was_compared(metrics: dict[str, Any]) -> None:
    for size in (14, 15):
        cost = metrics["tables"][f"table 2^{size}"]
        assert sum(cost["bits"].values()) == size
        assert cost["cells_compared"] == cost["cells_compared_with_the_library"] == 1 << size
        assert cost["bytes"] == 64 + (1 << size)


def test_the_trigger_is_what_the_toy_allows(metrics: dict[str, Any]) -> None:
    found = {(row["model"], row["metric"]): row for row in metrics["results"]}
    for model in ("analytic", "trees", "table 2^15"):
        at_threshold = found[model, "efficiency_of_tracks_at_20"]
        assert abs(at_threshold["value"] - 0.9) < 0.05
        assert found[model, "plateau_efficiency_of_tracks_20"]["value"] > 0.93
        assert found[model, "rate_at_20"]["value"] > 90  # of (2/20)^4 of a million
    assert found["analytic", "resolution_20_30"]["value"] == pytest.approx(0.19, abs=0.05)
    assert found["analytic", "charge_misidentification_7_10"]["value"] < 0.03


def test_reductions_are_against_the_analytic_fit_and_the_tables_model(metrics: dict[str, Any]) -> None:
    found = {(row["model"], row["metric"]): row["value"] for row in metrics["results"]}
    against: dict[str, list[dict[str, Any]]] = {row["second"]: [] for row in metrics["differences"]}
    for row in metrics["differences"]:
        against[row["second"]].append(row)
    assert list(against) == ["analytic", "trees"]
    for row in against["analytic"]:
        assert row["value"] == found[row["first"], row["metric"]]
    for row in against["trees"]:
        mine, trees = found.get((row["first"], row["metric"]), 1.0), found["trees", row["metric"]]
        assert row["value"] == pytest.approx(mine / trees, rel=1e-9)
    reduction = found["analytic", "rate_at_20"] / found["trees", "rate_at_20"]
    assert found["trees", "rate_reduction_at_20"] == pytest.approx(reduction, rel=1e-9)


def test_the_scan_removes_one_bit_at_a_time(metrics: dict[str, Any]) -> None:
    totals = [sum(step["bits"].values()) for step in metrics["scan"]]
    assert totals == [15, 14]
    before, after = (step["bits"] for step in metrics["scan"])
    assert {name for name in before if before[name] != after[name]} == {metrics["scan"][1]["removed"]}


def test_words_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown model 'tree'; did you mean 'trees'"):
        run_study(reduced(tmp_path, tables_of="tree"), output=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"tables: 30 bits are more than scan.start has, 15"):
        run_study(reduced(tmp_path, tables=[30]), output=tmp_path / "run")


def test_the_page_prints_the_kept_results() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    kept = json.loads((docs / "results" / "muon-trigger.json").read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_file_location("muon_trigger_tables", docs / "results" / "muon_trigger.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (docs / "studies" / "muon-trigger.md").read_text(encoding="utf-8")
    assert all(table in page for table in module.tables(kept).values())
