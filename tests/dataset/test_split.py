"""The same event is in the same fold, whatever else is done to the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fivesigma.core.errors import SplitError
from fivesigma.dataset import event_hash, fold_of, folds, train_validation_test

identities = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**31)), min_size=1, max_size=50)


def splitmix(x: int) -> int:
    """SplitMix64's finaliser in Python's integers, as published."""
    m = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & m
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & m
    return x ^ (x >> 31)


def reference_hash(identity: tuple[int, ...]) -> int:
    golden, m, h = 0x9E3779B97F4A7C15, 2**64 - 1, 0
    for number in identity:
        h = splitmix((h + golden + splitmix((number + golden) & m)) & m)
    return h


@settings(deadline=None, max_examples=100)
@given(identities)
def test_hash_is_the_documented_one(rows: list[tuple[int, int]]) -> None:
    columns: list[Any] = [np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.uint32)]
    assert event_hash(columns).tolist() == [reference_hash(row) for row in rows]


def test_splitmix_is_the_published_generator() -> None:
    """First outputs for seed 1234567, as Rosetta Code lists them ("Pseudo-random numbers/Splitmix64")."""
    golden, state, found = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        state = (state + golden) % 2**64
        found.append(splitmix(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(deadline=None, max_examples=50)
@given(identities, st.integers(2, 20), st.randoms())
def test_fold_does_not_depend_on_order_or_integer_type(rows: list[tuple[int, int]], n_folds: int, random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    first, second = (np.array(c, np.int64) for c in zip(*rows, strict=True))
    fold = fold_of([first, second], n_folds)
    np.testing.assert_array_equal(fold[order], fold_of([first[order], second[order].astype(np.uint64)], n_folds))
    assert fold.dtype == np.int8
    assert fold.min() >= 0
    assert fold.max() < n_folds


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**40), st.integers(2, 10), st.text(max_size=5))
def test_fold_fractions_are_binomial(start: int, n_folds: int, salt: str) -> None:
    """Consecutive event numbers, the least random there are; a probability of 1e-6 over all draws and folds."""
    n = 5000
    counts = np.bincount(fold_of([np.arange(start, start + n)], n_folds, salt), minlength=n_folds)
    assert stats.chisquare(counts).pvalue > 1e-8


def test_rows_of_an_event_share_its_fold_and_salts_are_independent() -> None:
    event = np.repeat(np.arange(2000), 3)
    fold = fold_of([event], 5).reshape(-1, 3)
    assert (fold == fold[:, :1]).all()
    a, b = fold_of([np.arange(20_000)], 4), fold_of([np.arange(20_000)], 4, salt="other")
    assert stats.chi2_contingency(np.histogram2d(a, b, bins=4)[0]).pvalue > 1e-6


def test_order_of_columns_matters() -> None:
    a, b = np.array([1]), np.array([2])
    assert event_hash([a, b]) != event_hash([b, a])


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ([], "at least one column"),
        ([np.array([1.0])], "column 0 is float64: an event's identity must be integers"),
        ([np.array([1]), np.array([1, 2])], "column 1 has 2 events, expected 1"),
    ],
)
def test_refused_identities(identity: list[Any], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        event_hash(identity)


@pytest.mark.parametrize("n_folds", [3, 5, 10])
def test_k_fold_tests_and_validates_each_event_once(n_folds: int) -> None:
    fold = fold_of([np.arange(500)], n_folds)
    masks = [train_validation_test(fold, k, n_folds) for k in range(n_folds)]
    for train, validation, test in masks:
        assert (train.astype(int) + validation + test == 1).all()
    assert (np.sum([test for *_, test in masks], axis=0) == 1).all()
    assert (np.sum([validation for _, validation, _ in masks], axis=0) == 1).all()
    assert [turn.validation for turn in folds(n_folds)] == [(k + 1) % n_folds for k in range(n_folds)]


def test_too_few_folds_and_foreign_folds() -> None:
    with pytest.raises(SplitError, match="at least 3 folds"):
        list(folds(2))
    with pytest.raises(SplitError, match="expected 2 to 100 folds, got 1"):
        fold_of([np.arange(3)], 1)
    with pytest.raises(SplitError, match="folds from 0 to 4, expected 0 to 3"):
        train_validation_test(np.array([0, 4], np.int8), 0, 4)
