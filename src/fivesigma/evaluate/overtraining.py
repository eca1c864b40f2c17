"""Overtraining check: does the score look the same on training and on test events, class by class?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, kolmogorov

from fivesigma.evaluate.measurement import json_list
from fivesigma.evaluate.scored_events import FloatVector, effective_size, scored_events

MINIMAL_BIN = 10.0
"""Effective events that each side of a χ² bin must have: sparser neighbours are merged."""


@dataclass(frozen=True, eq=False)
class ClassOvertraining:
    """One class: normalised score histograms of training and test events, and two tests that they agree."""

    edges: FloatVector  # (bin + 1,)
    train: FloatVector  # (bin,) normalised to unit area
    train_uncertainty: FloatVector  # (bin,) √Σw²
    test: FloatVector
    test_uncertainty: FloatVector
    ks_distance: float
    ks_p_value: float
    chi2: float
    ndf: int
    chi2_p_value: float

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        histograms = ("edges", "train", "train_uncertainty", "test", "test_uncertainty")
        numbers = {"ks_distance": self.ks_distance, "ks_p_value": self.ks_p_value, "chi2": self.chi2, "ndf": self.ndf}
        return (
            {name: json_list(getattr(self, name)) for name in histograms}
            | numbers
            | {"chi2_p_value": self.chi2_p_value}
        )


@dataclass(frozen=True, eq=False)
class Overtraining:
    """The check for both classes."""

    signal: ClassOvertraining
    background: ClassOvertraining

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {"signal": self.signal.to_json(), "background": self.background.to_json()}


def overtraining_check(
    train_score: ArrayLike,
    train_y: ArrayLike,
    test_score: ArrayLike,
    test_y: ArrayLike,
    train_weight: ArrayLike | None = None,
    test_weight: ArrayLike | None = None,
    *,
    bins: int = 40,
) -> Overtraining:
    """Compare the scores of training and test events in each class.

    A small p-value in a large sample is not a disease: what counts is the performance on the test events. Both samples
    are taken to be independent rows.
    """
    train = scored_events(train_score, train_y, train_weight)
    test = scored_events(test_score, test_y, test_weight)
    low = min(train.score.min(), test.score.min())
    high = max(train.score.max(), test.score.max())
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    checks = [
        _compare_class(
            train.score[train.signal == is_signal],
            train.weight[train.signal == is_signal],
            test.score[test.signal == is_signal],
            test.weight[test.signal == is_signal],
            edges,
        )
        for is_signal in (True, False)
    ]
    return Overtraining(*checks)


def weighted_ks(
    first: FloatVector, first_weight: FloatVector, second: FloatVector, second_weight: FloatVector
) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance of two weighted samples and its p-value.

    The largest distance of the weighted distribution functions; the p-value is Kolmogorov's asymptotic one with
    Stephens' correction for small samples (JRSS B 32 (1970) 115), with (Σw)²/Σw² as sample sizes. With signed weights
    or ties it is approximate (with ties: too large).
    """
    values = np.unique(np.concatenate([first, second]))
    distance = float(
        np.abs(_distribution(first, first_weight, values) - _distribution(second, second_weight, values)).max()
    )
    sizes = effective_size(first_weight), effective_size(second_weight)
    root = math.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
    return distance, float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def weighted_chi2(
    first: FloatVector, first_squares: FloatVector, second: FloatVector, second_squares: FloatVector
) -> tuple[float, int, float]:
    """χ², degrees of freedom and p-value of two weighted histograms having the same shape.

    Gagunashvili, arXiv:physics/0605123: sums of weights and of squared weights, shapes only. Neighbouring bins with
    fewer than ``MINIMAL_BIN`` effective entries on either side are merged first.
    """
    merged = _merge_sparse(np.stack([first, first_squares, second, second_squares]))
    a, a2, b, b2 = merged
    total_a, total_b = a.sum(), b.sum()
    variance = total_a**2 * b2 + total_b**2 * a2
    used = variance > 0
    value = float(np.sum((total_a * b[used] - total_b * a[used]) ** 2 / variance[used]))
    ndf = max(int(used.sum()) - 1, 0)
    return value, ndf, float(chdtrc(ndf, value)) if ndf else 1.0


def _compare_class(
    train: FloatVector, train_weight: FloatVector, test: FloatVector, test_weight: FloatVector, edges: FloatVector
) -> ClassOvertraining:
    a, a2 = _histogram(train, train_weight, edges)
    b, b2 = _histogram(test, test_weight, edges)
    distance, p_value = weighted_ks(train, train_weight, test, test_weight)
    chi2, ndf, chi2_p_value = weighted_chi2(a, a2, b, b2)
    width = np.diff(edges)
    norm_a, norm_b = train_weight.sum() * width, test_weight.sum() * width
    return ClassOvertraining(
        edges, a / norm_a, np.sqrt(a2) / norm_a, b / norm_b, np.sqrt(b2) / norm_b,
        distance, p_value, chi2, ndf, chi2_p_value,
    )  # fmt: skip


def _histogram(values: FloatVector, weight: FloatVector, edges: FloatVector) -> tuple[FloatVector, FloatVector]:
    sums, _ = np.histogram(values, edges, weights=weight)
    squares, _ = np.histogram(values, edges, weights=weight**2)
    return sums, squares


def _distribution(sample: FloatVector, weight: FloatVector, at: FloatVector) -> FloatVector:
    order = np.argsort(sample)
    cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])
    below: FloatVector = cumulative[np.searchsorted(sample[order], at, side="right")] / cumulative[-1]
    return below


def _merge_sparse(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge neighbours, from the left, until both histograms have enough; a poor rest joins the last bin."""
    merged: list[NDArray[np.float64]] = []
    pending = np.zeros(4)
    for column in rows.T:
        pending = pending + column
        if _effective(pending[0], pending[1]) >= MINIMAL_BIN and _effective(pending[2], pending[3]) >= MINIMAL_BIN:
            merged.append(pending)
            pending = np.zeros(4)
    if pending.any() and merged:
        merged[-1] = merged[-1] + pending
    elif pending.any():
        merged.append(pending)
    return np.stack(merged, axis=1)


def _effective(total: float, squares: float) -> float:
    return total**2 / squares if squares > 0 and total > 0 else 0.0
