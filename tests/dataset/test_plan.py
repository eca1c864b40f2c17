"""What a conversion would do, said before anything is written, against what it then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.dataset.test_convert import changed

from fivesigma.dataset import Conversion, convert, plan_conversion, scan_inputs


def test_the_plan_comes_true(jets: Conversion, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    plan = plan_conversion(scan_inputs(jets))
    assert set(tmp_path.iterdir()) == before
    dataset = convert(jets, tmp_path / "out")
    assert [(s.name, s.files, s.entries, s.trees) for s in plan.samples] == [
        ("W", 2, 300, ("jets",)),
        ("QCD", 1, 200, ("jets",)),
    ]
    w, qcd = plan.samples
    assert qcd.expected_events == (dataset.y == 0).sum()  # all of it was tried
    assert w.expected_events == pytest.approx((dataset.y == 1).sum(), rel=0.15)  # two thirds of it were
    assert {c.name: (c.dtype, c.jagged) for c in plan.columns} == {
        name: (c.dtype, c.jagged) for name, c in dataset.schema.items()
    }
    written = sum(shard.size for shard in dataset.shards)
    assert plan.expected_bytes == pytest.approx(written, rel=0.15)
    assert sum(s.most_bytes for s in plan.samples) > plan.expected_bytes
    assert [row["sample"] for row in plan.sample_rows()] == ["W", "QCD"]
    assert len(plan.column_rows()) == len(plan.to_json()["columns"]) == 8


def test_nothing_passes_among_those_tried(jets: Conversion) -> None:
    plan = plan_conversion(scan_inputs(changed(jets, selection={"none": "jet_pt > 1e9"})))
    assert [s.expected_events for s in plan.samples] == [0, 0]
    assert plan.expected_bytes == 0
    assert all(s.most_bytes > 50 * s.entries for s in plan.samples)
