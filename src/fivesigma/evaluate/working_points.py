"""Cut efficiencies and the optimal cut: the table that a selection is chosen from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate.binomial import inverse, weighted_efficiency
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas
from fivesigma.evaluate.efficiency import Efficiencies, RankedEvents, efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement, finite_or_none, json_list
from fivesigma.evaluate.scored_events import BoolVector, FloatVector, ScoredEvents, scored_events

MINIMAL_BACKGROUND = 10.0
"""Effective background events that must pass a cut before it may be called optimal: fewer do not measure ε_B."""


@dataclass(frozen=True)
class Expectation:
    """What the analysis expects before the cut: S, B, and the relative systematic uncertainty σ_B of B."""

    signal: float
    background: float
    background_uncertainty: float = 0.0

    def __post_init__(self) -> None:
        if not (self.signal > 0 and self.background > 0 and 0 <= self.background_uncertainty < math.inf):
            raise ConfigError(
                f"expected positive signal and background and σ_B ≥ 0, got S = {self.signal:g}, "
                f"B = {self.background:g}, σ_B = {self.background_uncertainty:g}"
            )

    def significance(self, signal_efficiency: ArrayLike, background_efficiency: ArrayLike) -> FloatVector:
        """S/√(B + σ_B² B²) after a cut; NaN where no background is left.

        >>> Expectation(100, 10_000, 0.0).significance(0.5, 0.01)
        array(5.)
        """
        signal = self.signal * np.asarray(signal_efficiency, dtype=np.float64)
        background = self.background * np.asarray(background_efficiency, dtype=np.float64)
        variance = background + (self.background_uncertainty * background) ** 2
        return np.asarray(
            np.divide(signal, np.sqrt(np.abs(variance)), out=np.full(np.shape(variance), np.nan), where=background > 0)
        )


@dataclass(frozen=True)
class WorkingPoint:
    """One cut ``score >= threshold`` and what it does."""

    threshold: float
    signal_efficiency: Measurement
    background_efficiency: Measurement
    rejection: Measurement
    s_over_sqrt_b: float | None  # S/√B; None without an expectation
    significance: float | None  # S/√(B + σ_B² B²)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "threshold": finite_or_none(self.threshold),
            "signal_efficiency": self.signal_efficiency.to_json(),
            "background_efficiency": self.background_efficiency.to_json(),
            "rejection": self.rejection.to_json(),
            "s_over_sqrt_b": None if self.s_over_sqrt_b is None else finite_or_none(self.s_over_sqrt_b),
            "significance": None if self.significance is None else finite_or_none(self.significance),
        }


@dataclass(frozen=True, eq=False)
class OptimalCut:
    """The cut with the largest S/√(B + σ_B² B²), and the curve it was read from."""

    threshold: Measurement
    significance: Measurement
    signal_efficiency: Measurement
    background_efficiency: Measurement
    expectation: Expectation
    curve_threshold: FloatVector  # (point,) for the figure
    curve_significance: FloatVector  # (point,)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "threshold": self.threshold.to_json(),
            "significance": self.significance.to_json(),
            "signal_efficiency": self.signal_efficiency.to_json(),
            "background_efficiency": self.background_efficiency.to_json(),
            "expected_signal": self.expectation.signal,
            "expected_background": self.expectation.background,
            "background_uncertainty": self.expectation.background_uncertainty,
            "curve_threshold": json_list(self.curve_threshold),
            "curve_significance": json_list(self.curve_significance),
        }


def working_points(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    signal_efficiency: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    thresholds: Sequence[float] | None = None,
    expectation: Expectation | None = None,
) -> tuple[WorkingPoint, ...]:
    """The table of cuts, from the tightest to the loosest.

    Either cuts at given ``thresholds``, or the tightest cuts with at least these signal efficiencies. Efficiencies are
    those of the sample with the cut held fixed (binomial uncertainty; with several candidates an event, see
    ``optimal_cut`` and ``measure``, which resample events).
    """
    events = scored_events(score, y, weight)
    cuts = threshold_at(efficiencies(events), signal_efficiency) if thresholds is None else np.asarray(thresholds)
    return tuple(_working_point(events, float(cut), expectation) for cut in np.unique(cuts)[::-1])


def optimal_cut(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    expectation: Expectation,
    minimal_background: float = MINIMAL_BACKGROUND,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> OptimalCut:
    """The cut that maximises S/√(B + σ_B² B²), with the uncertainty of where it lies and of what it reaches.

    Only cuts that at least ``minimal_background`` effective background events pass are candidates. The largest of many
    fluctuating values is biased upwards; evaluate the chosen threshold on other events for an unbiased significance.
    The efficiencies' uncertainties hold the cut fixed; threshold and significance choose it anew in each replica.
    """
    events = scored_events(score, y, weight, event)
    ranked = RankedEvents.rank(events)
    allowed = _enough_background(ranked, minimal_background)

    def best(curve: Efficiencies | None) -> FloatVector:
        significance = np.full(len(allowed), np.nan) if curve is None else _significance(curve, expectation, allowed)
        if np.isnan(significance).all():
            return np.array([np.nan, np.nan])
        step = int(np.nanargmax(significance))
        return np.array([ranked.threshold[step], significance[step]])

    nominal = efficiencies(events)
    threshold, significance = best(nominal)
    if math.isnan(threshold):
        raise NoEventsError(
            f"no cut leaves {minimal_background:g} background events", remedy="lower minimal_background"
        )
    replicas = bootstrap_replicas(
        lambda counts: best(ranked.efficiencies(counts)), events.event, n_replicas=n_replicas, seed=seed
    )
    point = _working_point(events, float(threshold), expectation)
    kept = _even_cuts(ranked.threshold, best_threshold=float(threshold))
    return OptimalCut(
        bootstrap_measurement(float(threshold), replicas[:, 0]),
        bootstrap_measurement(float(significance), replicas[:, 1]),
        point.signal_efficiency,
        point.background_efficiency,
        expectation,
        ranked.threshold[kept],
        _significance(nominal, expectation, np.ones(len(allowed), dtype=bool))[kept],
    )


def _working_point(events: ScoredEvents, threshold: float, expectation: Expectation | None) -> WorkingPoint:
    passed: BoolVector = events.score >= threshold
    signal = weighted_efficiency(passed[events.signal], events.weight[events.signal])
    background = weighted_efficiency(passed[~events.signal], events.weight[~events.signal])
    without = with_systematic = None
    if expectation is not None:
        plain = Expectation(expectation.signal, expectation.background)
        without = float(plain.significance(signal.value, background.value))
        with_systematic = float(expectation.significance(signal.value, background.value))
    return WorkingPoint(threshold, signal, background, inverse(background), without, with_systematic)


def _significance(curve: Efficiencies, expectation: Expectation, allowed: BoolVector) -> FloatVector:
    significance = expectation.significance(curve.signal, curve.background)
    return np.where(allowed, significance, np.nan)


def _even_cuts(threshold: FloatVector, best_threshold: float, points: int = 200) -> NDArray[np.intp]:
    """Steps of about ``points`` cuts, even in the score, and of the best one: enough for a figure."""
    wanted = np.append(np.linspace(threshold[1], threshold[-1], points), best_threshold)
    return np.unique(np.searchsorted(-threshold, -wanted, side="left")).clip(1, len(threshold) - 1)


def _enough_background(ranked: RankedEvents, minimal: float) -> NDArray[np.bool_]:
    weight = np.where(ranked.signal, 0.0, ranked.weight)
    last = np.flatnonzero(ranked.last_of_tie)
    sums, squares = np.cumsum(weight)[last], np.cumsum(weight**2)[last]
    effective = np.divide(sums**2, squares, out=np.zeros_like(sums), where=(squares > 0) & (sums > 0))
    return np.concatenate([[False], effective >= minimal * (1 - 1e-9)])
