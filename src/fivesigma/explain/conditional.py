"""How the output depends on a variable that it was not given: its distribution in slices of it (arXiv:1511.05190)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fivesigma.core.errors import ConfigError
from fivesigma.explain.correlation import MINIMAL_EVENTS, pearson
from fivesigma.explain.weighted_images import Floats, Mask, aligned, json_array, weights_of


@dataclass(frozen=True, eq=False)
class ConditionalDistribution:
    """Distribution of the output in each slice of a variable, per class.

    Every slice with a positive sum of weights sums to one over the output; slices without events are all zero.
    """

    variable: str
    edges: Floats  # (slice + 1,) of the variable
    score_edges: Floats  # (bin + 1,) of the output
    signal: Floats  # (bin, slice)
    background: Floats  # (bin, slice)
    signal_correlation: float  # linear correlation coefficient of output and variable
    signal_correlation_uncertainty: float
    background_correlation: float
    background_correlation_uncertainty: float

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        arrays = {name: json_array(getattr(self, name)) for name in ("edges", "score_edges", "signal", "background")}
        numbers = {
            f"{label}_correlation{what}": json_array(getattr(self, f"{label}_correlation{what}"))
            for label in ("signal", "background")
            for what in ("", "_uncertainty")
        }
        return {"variable": self.variable, **arrays, **numbers}


def conditional_distribution(
    score: ArrayLike,
    variable: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 25,
    score_bins: int | ArrayLike = 25,
    name: str = "variable",
) -> ConditionalDistribution:
    """The output in slices of a variable, each slice normalised, and the linear correlation of the two, per class.

    ``bins`` and ``score_bins`` are edges, or a number of equal bins over the range of the values; values outside the
    edges are left out of the histogram, but not of the correlation.
    """
    scores = np.asarray(score, dtype=np.float64)
    events = len(scores)
    scores, values = aligned("score", scores, events), aligned(name, variable, events)
    signal, weights = aligned("y", y, events) == 1, weights_of(weight, events)
    edges, score_edges = _edges(name, bins, values), _edges("score", score_bins, scores)
    s_slices, b_slices = (
        _slices(scores[mask], values[mask], weights[mask], score_edges, edges) for mask in (signal, ~signal)
    )
    s_correlation, b_correlation = (_correlation(scores, values, weights, mask) for mask in (signal, ~signal))
    return ConditionalDistribution(name, edges, score_edges, s_slices, b_slices, *s_correlation, *b_correlation)


def _edges(name: str, bins: int | ArrayLike, values: Floats) -> Floats:
    if isinstance(bins, int):
        low, high = float(values.min()), float(values.max())
        return np.linspace(low, high if high > low else low + 1.0, bins + 1)
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ConfigError(f"{name}: expected at least two rising bin edges, got {edges.tolist()}")
    return edges


def _slices(score: Floats, values: Floats, weight: Floats, score_edges: Floats, edges: Floats) -> Floats:
    histogram, _, _ = np.histogram2d(score, values, bins=(score_edges, edges), weights=weight)
    total = histogram.sum(axis=0)
    slices: Floats = np.divide(histogram, total, out=np.zeros_like(histogram), where=total > 0)
    return slices


def _correlation(scores: Floats, values: Floats, weights: Floats, mask: Mask) -> tuple[float, float]:
    if mask.sum() < MINIMAL_EVENTS or not weights[mask].sum() > 0:
        return np.nan, np.nan
    coefficient, uncertainty = pearson(values[mask][:, None], scores[mask], weights[mask])
    return float(coefficient[0]), float(uncertainty[0])
