"""Is a score of 0.7 right 70 % of the time? Reliability diagram, expected calibration error, Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas, central_interval
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.scored_events import FloatVector, ScoredEvents, scored_events


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted against observed signal fraction in bins of the predicted one.

    Signal fractions are those of the weighted sample: equal class weights mean a prior of one half.
    """

    edges: FloatVector  # (bin + 1,)
    predicted: FloatVector  # (bin,) mean prediction; NaN in a bin without a positive sum of weights
    observed: FloatVector  # (bin,) signal fraction
    observed_low: FloatVector  # (bin,) bootstrap band
    observed_high: FloatVector
    fraction: FloatVector  # (bin,) of the sum of weights
    expected_calibration_error: Measurement
    error_if_calibrated: float  # what a perfectly calibrated model would show in this sample, from fluctuations alone
    brier: Measurement

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        names = ("edges", "predicted", "observed", "observed_low", "observed_high", "fraction")
        return {name: json_list(getattr(self, name)) for name in names} | {
            "expected_calibration_error": self.expected_calibration_error.to_json(),
            "error_if_calibrated": self.error_if_calibrated,
            "brier": self.brier.to_json(),
        }


def calibration(
    probability: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    bins: int = 10,
    binning: Literal["uniform", "quantile"] = "uniform",
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Calibration:
    """Compare predicted probabilities with observed signal fractions.

    The expected calibration error is Σ_bin (share of the weights) × |observed − predicted|. An absolute value is never
    below zero, so a perfect model shows about ``error_if_calibrated`` (a closed form, E|N(0, σ)| = σ√(2/π) per bin).

    Raises
    ------
    FeatureError
        scores outside 0…1.
    """
    events = scored_events(probability, y, weight, event)
    if events.score.min() < 0 or events.score.max() > 1:
        raise FeatureError(f"probability: expected 0…1, got {events.score.min():g} to {events.score.max():g}")
    edges = _edges(events.score, bins, binning)
    index = np.clip(np.searchsorted(edges, events.score, side="right") - 1, 0, len(edges) - 2)
    ones = np.ones(len(events), dtype=np.uint8)
    nominal = _statistics(_bin_sums(events, index, len(edges) - 1, ones))
    replicas = bootstrap_replicas(
        lambda counts: _statistics(_bin_sums(events, index, len(edges) - 1, counts)),
        events.event,
        n_replicas=n_replicas,
        seed=seed,
    )
    total, predicted, _, _ = _bin_sums(events, index, len(edges) - 1, ones)
    band = np.array([central_interval(replicas[:, b]) for b in range(len(edges) - 1)])
    return Calibration(
        edges,
        _ratio(predicted, total),
        nominal[:-2],
        band[:, 0],
        band[:, 1],
        total / total.sum(),
        bootstrap_measurement(float(nominal[-2]), replicas[:, -2]),
        _error_if_calibrated(events, index, total),
        bootstrap_measurement(float(nominal[-1]), replicas[:, -1]),
    )


def _edges(score: FloatVector, bins: int, binning: str) -> FloatVector:
    if bins < 1:
        raise ConfigError(f"bins: expected at least 1, got {bins}")
    if binning == "uniform":
        return np.linspace(0.0, 1.0, bins + 1)
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))
    edges[0], edges[-1] = 0.0, 1.0
    return edges if len(edges) > 1 else np.array([0.0, 1.0])


def _bin_sums(
    events: ScoredEvents, index: NDArray[np.intp], bins: int, counts: NDArray[np.uint8]
) -> NDArray[np.float64]:  # (4, bin): Σw, Σw p, Σw y, Σw (p − y)²
    weight = events.weight * counts
    terms = (weight, weight * events.score, weight * events.signal, weight * (events.score - events.signal) ** 2)
    return np.stack([np.bincount(index, term, bins) for term in terms])


def _statistics(sums: NDArray[np.float64]) -> FloatVector:
    """Observed fraction of each bin, then the expected calibration error, then the Brier score."""
    total, predicted, observed, squares = sums
    if not total.sum() > 0:  # a replica of a few signed weights
        return np.full(len(total) + 2, np.nan)
    error = float(np.abs(observed - predicted).sum() / total.sum())
    return np.concatenate([_ratio(observed, total), [error, float(squares.sum() / total.sum())]])


def _error_if_calibrated(events: ScoredEvents, index: NDArray[np.intp], total: FloatVector) -> float:
    variance = np.bincount(index, events.weight**2 * events.score * (1 - events.score), len(total))
    return float(np.sqrt(variance).sum() * math.sqrt(2 / math.pi) / total.sum())


def _ratio(numerator: FloatVector, denominator: FloatVector) -> FloatVector:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
