"""From a score that only orders events to a probability that orders them the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

TIE_BREAK = 1e-3
"""Share of the rank in the probability: isotonic regression makes plateaus, on which the order would be lost."""
_MAX_KNOTS = 1024


def fit_monotone_probability(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots (score, probability), strictly increasing in both, both classes given the same total weight.

    Isotonic regression of the label on at most 1024 weighted quantiles of the score, plus ``TIE_BREAK`` times the rank.
    Negative weights enter with their absolute value here: only the calibration, never the order, depends on it.
    """
    w = np.abs(weight)
    w = np.where(y == 1, w / w[y == 1].sum(), w / w[y == 0].sum())
    order = np.argsort(score, kind="stable")
    cumulative = np.cumsum(w[order])
    targets = np.linspace(0.0, cumulative[-1], _MAX_KNOTS)
    picked = order[np.minimum(np.searchsorted(cumulative, targets), len(order) - 1)]
    knots = np.unique(score[np.concatenate([order[:1], picked, order[-1:]])])
    bins = np.searchsorted(knots, score, side="right") - 1  # each knot stands for the scores from it up to the next
    total = np.bincount(bins, w, minlength=len(knots))
    signal = np.bincount(bins, w * (y == 1), minlength=len(knots))
    filled = total > 0
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0)
    p = isotonic.fit(knots[filled], signal[filled] / total[filled], sample_weight=total[filled]).predict(knots)
    rank = (np.arange(len(knots)) + 0.5) / len(knots)
    return knots, (1.0 - TIE_BREAK) * p + TIE_BREAK * rank


def monotone_probability(
    score: NDArray[np.float64], knots: NDArray[np.float64], probability: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between the knots; beyond them the order is kept by a bounded tail."""
    inside = np.interp(score, knots, probability)
    width = max(float(knots[-1] - knots[0]), np.finfo(float).tiny)
    above = np.clip(score - knots[-1], 0.0, None) / width
    below = np.clip(knots[0] - score, 0.0, None) / width
    inside = inside + (1.0 - probability[-1]) * above / (1.0 + above)
    return np.asarray(inside - probability[0] * below / (1.0 + below), dtype=np.float64)
