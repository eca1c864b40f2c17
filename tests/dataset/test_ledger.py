"""The ledger balances, and notices every single number that does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import LedgerError
from fivesigma.dataset import Count, FileLedger, Ledger
from fivesigma.dataset.ledger import NotFinite, merge_ranges, total


def toy(weight: np.ndarray[Any, Any], step: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Ledger:
    """A ledger of one file; ``step`` is 0 or 1 where the first or second cut rejects, 2 for dropped, 3 for selected."""
    file = FileLedger(
        "a.root",
        "jets",
        "W",
        "00",
        len(weight),
        Count.of(weight),
        {"pt": Count.of(weight[step == 0]), "mass": Count.of(weight[step == 1])},
        Count.of(weight[step == 2]),
        Count.of(weight[step == 3]),
        {"jet_pt": NotFinite(3, 1, 2)},
    )
    left = step == 3
    return Ledger((file,)).with_stage("sample", {"W": np.ones(left.sum(), bool)}, y[left], weight[left])


@settings(deadline=None, max_examples=100)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), n_folds=st.integers(2, 7))
def test_every_division_of_every_sample_balances(n: int, seed: int, scale: float, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.1, scale, n) * rng.choice([0, 1, 1, 1e3], n)
    step, y, fold = rng.integers(0, 4, n), rng.integers(0, 2, n), rng.integers(0, n_folds, n)
    left = step == 3
    ledger = toy(weight, step, y)
    ledger = ledger.with_stage("fold", {f"fold {k}": fold[left] == k for k in range(n_folds)}, y[left], weight[left])
    ledger.check()
    again = Ledger.from_json(json.loads(json.dumps(ledger.to_json())))
    assert again == ledger
    again.check()


def numbers_in(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all counts and sums in a ledger's JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        if isinstance(value, int | float) and key not in ("label", "nan", "inf", "missing"):
            yield (*path, key)
        yield from numbers_in(value, (*path, key))


def test_any_changed_number_is_noticed() -> None:
    rng = np.random.default_rng(5)
    n = 400
    ledger = toy(rng.normal(1, 2, n), rng.integers(0, 4, n), rng.integers(0, 2, n))
    content = ledger.to_json()
    paths = list(numbers_in(content))
    assert len(paths) > 30
    for path in paths:
        changed = copy.deepcopy(content)
        inner: Any = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] += 1 if isinstance(inner[path[-1]], int) else 1e-6 * max(1.0, abs(inner[path[-1]]))
        with pytest.raises(LedgerError, match=r"a\.root|stage 'sample'"):
            Ledger.from_json(changed).check()


def test_the_message_says_where_and_how_much() -> None:
    weight, y = np.array([1.0, 2.0, 3.0]), np.array([0, 1, 1])
    ledger = toy(weight, np.array([3, 3, 3]), y)
    with pytest.raises(
        LedgerError, match=r"stage 'fold': sum of its parts = selected: events do not balance: expected 3, got 2 \(-1\)"
    ):
        ledger.with_stage("fold", {"fold 0": y == 1}, y, weight).check()
    with pytest.raises(LedgerError, match=r"stage 'fold'.*got 5 \(\+2\)"):
        ledger.with_stage("fold", {"all": y >= 0, "again": y == 1}, y, weight).check()
    with pytest.raises(LedgerError, match="stage 'other labels', label 0"):
        ledger.with_stage("other labels", {"all": y >= 0}, 1 - y, weight).check()
    with pytest.raises(LedgerError, match=r"stage 'rescaled'.*sumw does not balance"):
        ledger.with_stage("rescaled", {"all": y >= 0}, y, weight * (1 + 1e-7)).check()


def test_count_of_signed_weights() -> None:
    count = Count.of(np.array([2.0, -1.0, 0.0, -0.5]))
    assert (count.events, count.sumw, count.sumw2, count.sumabs, count.negative, count.zero) == (
        4,
        0.5,
        5.25,
        3.5,
        2,
        1,
    )
    assert total([]) == Count()


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 100), max_size=4), seed=st.integers(0, 1000))
def test_entry_ranges_add_up_to_the_file(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, step, y = rng.integers(-3, 9, 100).astype(float), rng.integers(0, 4, 100), rng.integers(0, 2, 100)
    whole = toy(weight, step, y).files[0]
    pieces = [p for p in np.split(np.arange(100), sorted(cuts)) if len(p)]
    parts = [toy(weight[p], step[p], y[p]).files[0] for p in pieces]
    (merged,) = merge_ranges(parts)
    assert merged.read == whole.read
    assert merged.rejected == whole.rejected
    assert merged.selected == whole.selected
    assert merged.not_finite["jet_pt"] == NotFinite(3 * len(pieces), len(pieces), 2 * len(pieces))


def test_rows_for_tables() -> None:
    weight, y = np.array([1.0, 2.0, -3.0, 4.0]), np.array([0, 1, 1, 0])
    ledger = toy(weight, np.array([0, 3, 3, 2]), y)
    rows = ledger.rows()
    assert [(r["stage"], r["part"], r["label"], r["events"], r["sumw"]) for r in rows] == [
        ("read", "", None, 4, 4.0),
        ("rejected", "pt", None, 1, 1.0),
        ("rejected", "mass", None, 0, 0.0),
        ("dropped", "not finite", None, 1, 4.0),
        ("selected", "", None, 2, -1.0),
        ("sample", "W", 0, 0, 0.0),
        ("sample", "W", 1, 2, -1.0),
    ]
    assert len({tuple(row) for row in rows}) == 1  # all with the same keys
    assert ledger.not_finite_rows() == [
        {"file": "a.root", "sample": "W", "branch": "jet_pt", "nan": 3, "inf": 1, "missing": 2}
    ]
    assert "W: rejected by 'pt': 1 events, sum of weights 1" in ledger.cut_flow()
