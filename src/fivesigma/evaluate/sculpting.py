"""Mass sculpting: does a cut on the score change the shape of the background's mass?

The Jensen–Shannon divergence of the mass before and after the cut against background rejection, as in
ATL-PHYS-PUB-2018-014 (there of what passes and what fails).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.evaluate.bootstrap import (
    N_REPLICAS,
    bootstrap_measurement,
    bootstrap_replicas,
    central_interval,
    event_uniform,
)
from fivesigma.evaluate.efficiency import efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement, finite_or_none, json_list
from fivesigma.evaluate.scored_events import FloatVector, finite_vector, scored_events

BACKGROUND_EFFICIENCIES = (0.9, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
"""Points of the curve."""

MASS_BINS = 20
"""Bins of the mass, of equal background before the cut."""

RANDOM_SELECTIONS = 50
"""Random cuts of the same efficiency that give ``if_not_sculpted``."""

SELECTION = 2**35  # replica numbers of the random cuts begin here


@dataclass(frozen=True)
class SculptedPoint:
    """One cut."""

    signal_efficiency: float  # that the cut was asked for
    threshold: float
    rejection: float  # 1/ε_B
    divergence: Measurement
    if_not_sculpted: float  # the mean of random cuts of this rejection: the floor of a finite sample

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "signal_efficiency": self.signal_efficiency,
            "threshold": finite_or_none(self.threshold),
            "rejection": finite_or_none(self.rejection),
            **self.divergence.to_json(),
            "if_not_sculpted": finite_or_none(self.if_not_sculpted),
        }


@dataclass(frozen=True, eq=False)
class Sculpting:
    """The divergence at a grid of background efficiencies, and at working points of signal efficiency."""

    variable: str
    edges: FloatVector  # (bin + 1,)
    rejection: FloatVector  # (point,)
    divergence: FloatVector  # (point,) base 2, 0 (same shape) to 1 (disjoint); NaN where a bin's signed sum is negative
    divergence_low: FloatVector  # (point,) value ∓ half of the replicas' central 68.27 %: they sit above the value
    divergence_high: FloatVector  # (point,)
    if_not_sculpted: FloatVector  # (point,)
    before: FloatVector  # (bin,) share of the background before the cut
    after: FloatVector  # (working point, bin)
    working_points: tuple[SculptedPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        names = ("edges", "rejection", "divergence", "divergence_low", "divergence_high", "if_not_sculpted", "before")
        return {name: json_list(getattr(self, name)) for name in names} | {
            "variable": self.variable,
            "after": [json_list(row) for row in self.after],
            "working_points": [point.to_json() for point in self.working_points],
        }


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """Jensen–Shannon divergence of two histograms (bin,), base 2: 0 for the same shape, 1 for disjoint ones.

    J. Lin, IEEE Trans. Inf. Theory 37 (1991) 145. The divergence, not its square root. NaN with a negative bin or an
    empty histogram: a logarithm of signed sums has no meaning.

    >>> jensen_shannon([1, 1], [2, 2]), jensen_shannon([1, 0], [0, 3]), jensen_shannon([1, -0.1], [1, 1])
    (0.0, 1.0, nan)
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (first, second))
    if (a < 0).any() or (b < 0).any() or not (a.sum() > 0 and b.sum() > 0):
        return math.nan
    p, q = a / a.sum(), b / b.sum()
    m = (p + q) / 2
    return max(sum(float(np.sum(x[x > 0] * np.log2(x[x > 0] / m[x > 0]))) for x in (p, q)) / 2, 0.0)


def sculpting(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    values: ArrayLike,
    variable: str = "mass",
    edges: Sequence[float] | None = None,
    signal_efficiency: Sequence[float] = (0.3, 0.5, 0.8),
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Sculpting:
    """The divergence between the background's ``values`` before and after a cut, against background rejection.

    ``edges`` are of ``values``; ``MASS_BINS`` of equal background if left out (bins of equal width are sparse in the
    tail, where the floor then rises). The outermost bins hold what lies beyond the edges, too. Cuts are fixed on the
    sample; replicas resample events. A divergence is never negative: compare with ``if_not_sculpted``, what cuts on a
    random number show.

    Raises
    ------
    FeatureError
        a mass that is not finite.
    WeightError
        a bin of the background before the cut whose signed weights do not sum to a positive number.
    """
    events = scored_events(score, y, weight, event)
    x = finite_vector(variable, values, len(events))
    background = ~events.signal
    x, f, w = (a[background] for a in (x, events.score, events.weight))
    identity = events.event[background]
    limits = _edges(x, variable, edges)
    index = np.searchsorted(limits[1:-1], x, side="right")
    n_bins = len(limits) - 1
    before = np.bincount(index, w, n_bins)
    if not (before > 0).all():
        raise WeightError(f"{variable}: {int((before <= 0).sum())} of {n_bins} bins have no positive sum; merge bins")
    curve = efficiencies(events)
    asked = np.asarray(signal_efficiency, dtype=np.float64)
    falling = np.searchsorted(np.maximum.accumulate(curve.background), BACKGROUND_EFFICIENCIES, side="left")
    cuts = np.concatenate([curve.threshold[np.minimum(falling, len(curve.threshold) - 1)], threshold_at(curve, asked)])

    def divergences(weights: FloatVector, passed: Sequence[NDArray[np.bool_]]) -> FloatVector:
        all_events = np.bincount(index, weights, n_bins)
        return np.array([jensen_shannon(all_events, np.bincount(index[p], weights[p], n_bins)) for p in passed])

    passing = [f >= cut for cut in cuts]
    shares = np.array([float(w[p].sum() / w.sum()) for p in passing])
    nominal = divergences(w, passing)
    replicas = bootstrap_replicas(
        lambda counts: divergences(w * counts, passing), identity, n_replicas=n_replicas, seed=seed
    )
    random = np.array(
        [
            divergences(w, [uniform < share for share in np.clip(shares, 0.0, 1.0)])
            for uniform in (event_uniform(identity, SELECTION + draw, seed) for draw in range(RANDOM_SELECTIONS))
        ]
    )
    floor = np.array([_mean_of_known(column) for column in random.T])
    half = np.array([np.diff(central_interval(replicas[:, i]))[0] / 2 for i in range(len(cuts))])
    low, high = np.maximum(nominal - half, 0.0), nominal + half
    rejection = np.divide(1.0, shares, out=np.full(len(shares), np.inf), where=shares > 0)
    n = len(BACKGROUND_EFFICIENCIES)
    points = tuple(
        SculptedPoint(
            float(asked[i]), float(cuts[n + i]), float(rejection[n + i]),
            _measured(float(nominal[n + i]), replicas[:, n + i]), float(floor[n + i]),
        )
        for i in range(len(asked))
    )  # fmt: skip
    after = np.array([_shares(np.bincount(index[p], w[p], n_bins)) for p in passing[n:]]).reshape(-1, n_bins)
    return Sculpting(
        variable, limits, rejection[:n], nominal[:n], low[:n], high[:n], floor[:n],
        before / before.sum(), after, points,
    )  # fmt: skip


def _measured(value: float, replicas: FloatVector) -> Measurement:
    if math.isnan(value):
        return Measurement(value, math.nan, "not defined: signed weights of a bin after the cut sum to less than zero")
    return bootstrap_measurement(value, replicas)


def _shares(sums: NDArray[Any]) -> FloatVector:
    total = float(sums.sum())
    return np.asarray(sums / total) if total > 0 else np.full(len(sums), np.nan)


def _mean_of_known(values: FloatVector) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _edges(x: FloatVector, variable: str, edges: Sequence[float] | None) -> FloatVector:
    if edges is None:
        limits = np.unique(np.quantile(x, np.linspace(0, 1, MASS_BINS + 1)))
    else:
        limits = np.asarray(edges, dtype=np.float64)
    if limits.ndim != 1 or len(limits) < 3 or not (np.diff(limits) > 0).all():
        raise ConfigError(f"edges: expected at least three rising bin edges of {variable}, got {limits.tolist()}")
    return limits
