"""Are 68 % intervals right 68 % of the time? Coverage, sharpness, pulls and proper scores of any tool's error bars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate.binomial import weighted_efficiency
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas
from fivesigma.evaluate.measurement import CONFIDENCE, Measurement, finite_or_none
from fivesigma.evaluate.scored_events import FloatVector, event_vector, finite_vector, weight_vector

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, CONFIDENCE, 0.8, 0.9, 0.95, 0.99)
"""Levels of the coverage curve: one and (nearly) two standard deviations among them."""


@dataclass(frozen=True)
class Coverage:
    """How often intervals of one level hold the truth, and how wide they are."""

    level: float
    covered: Measurement
    width: Measurement  # mean width: of two sets of intervals that cover, the narrower is better

    @property
    def n_sigma(self) -> float:
        """(covered − level) over its uncertainty."""
        uncertainty = self.covered.uncertainty
        return (self.covered.value - self.level) / uncertainty if uncertainty > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "level": self.level,
            "covered": self.covered.to_json(),
            "width": self.width.to_json(),
            "n_sigma": finite_or_none(self.n_sigma),
        }


def coverage(
    low: ArrayLike,
    high: ArrayLike,
    truth: ArrayLike,
    level: float,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Coverage:
    """The weighted fraction of intervals that hold the truth, limits included.

    For a target the truth is the target itself, or its mean where a toy knows it; for a classifier it is the true
    probability, which only a toy knows (for data see `fivesigma.evaluate.calibration`).

    The uncertainty is binomial: that of the test events, for the one training that made the intervals. Intervals of one
    training err together, so how well a *method* covers is the mean over trainings, with the spread between them.

    Parameters
    ----------
    low, high, truth : (row,)
    level : nominal content of the intervals, between 0 and 1.
    weight : (row,) of either sign; 1 by default.
    event : (row,) identity; rows of one event are resampled together for the uncertainty of the width.

    Raises
    ------
    FeatureError
        arrays of different lengths, values that are NaN or infinite, limits in the wrong order.
    WeightError
        weights that do not sum to a positive number.

    >>> print(coverage([0.0, 0.0], [1.0, 1.0], [0.5, 2.0], 0.6827).covered.value)
    0.5
    """
    _check_level(level)
    lower = finite_vector("low", low)
    upper, true = finite_vector("high", high, len(lower)), finite_vector("truth", truth, len(lower))
    if (wrong := np.flatnonzero(lower > upper)).size:
        raise FeatureError(f"low is above high in {len(wrong)} of {len(lower)} rows, the first is row {wrong[0]}")
    weights = np.ones(len(lower)) if weight is None else weight_vector(weight, len(lower))
    covered = weighted_efficiency((lower <= true) & (true <= upper), weights)
    return Coverage(level, covered, mean_score(upper - lower, weights, event, n_replicas=n_replicas, seed=seed))


def coverage_curve(
    interval: Callable[[float], NDArray[np.float64]],
    truth: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    levels: tuple[float, ...] = LEVELS,
) -> tuple[Coverage, ...]:
    """Coverage at several levels; ``interval(level)`` gives the limits, shape (row, 2)."""
    found = []
    for level in levels:
        limits = np.asarray(interval(level))
        found.append(coverage(limits[:, 0], limits[:, 1], truth, level, weight, event))
    return tuple(found)


def mean_score(
    values: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Measurement:
    """The weighted mean of a number of each row, with its bootstrap uncertainty.

    The difference of two methods' scores, row by row, gives their paired difference.
    """
    score = finite_vector("values", values)
    weights = np.ones(len(score)) if weight is None else weight_vector(weight, len(score))
    events = np.arange(len(score), dtype=np.uint64) if event is None else event_vector(event, len(score))

    def mean(counts: NDArray[np.uint8]) -> NDArray[np.float64]:
        total = weights * counts
        return np.asarray(total @ score / total.sum() if total.sum() > 0 else np.nan)

    replicas = bootstrap_replicas(mean, events, n_replicas=n_replicas, seed=seed)
    return bootstrap_measurement(float(mean(np.ones(len(score), dtype=np.uint8))), replicas)


@dataclass(frozen=True)
class Pulls:
    """(truth − mean) / standard deviation: mean 0 and width 1 where errors are Gaussian and the error bars right."""

    mean: Measurement
    width: Measurement


def pulls(mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike) -> Pulls:
    """Mean and width of the pulls, with the Gaussian uncertainties σ/√n and σ/√(2n)."""
    pull = _pull(*_checked(mean, deviation, truth))
    width, how = float(pull.std()), "Gaussian, from the number of rows"
    return Pulls(
        Measurement(float(pull.mean()), width / math.sqrt(len(pull)), how),
        Measurement(width, width / math.sqrt(2 * len(pull)), how),
    )


def gaussian_nll(mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike) -> FloatVector:
    """−log N(truth | mean, deviation²) of each row, in nats.

    >>> gaussian_nll([0.0], [1.0], [0.0]).round(4).tolist()  # ½ log 2π
    [0.9189]
    """
    centre, sigma, true = _checked(mean, deviation, truth)
    return np.asarray(0.5 * _pull(centre, sigma, true) ** 2 + np.log(sigma) + 0.5 * math.log(2 * math.pi))


def gaussian_crps(mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike) -> FloatVector:
    """Continuous ranked probability score of a Gaussian for each row, in units of the truth; smaller is better.

    ∫ (F(t) − [t ≥ truth])² dt = σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π] (Gneiting and Raftery, JASA 102 (2007) 359, eq. 21).
    """
    centre, sigma, true = _checked(mean, deviation, truth)
    z = _pull(centre, sigma, true)
    density = np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(sigma * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi)))


def sample_crps(samples: ArrayLike, truth: ArrayLike) -> FloatVector:
    """The same of samples of shape (sample, row): E|s − truth| − ½ E|s − s′|, without bias in the number of samples.

    Gneiting and Raftery, eq. 20; the second mean runs over pairs of different samples (Ferro, QJRMS 140 (2014) 1917).
    """
    drawn = np.sort(np.asarray(samples, dtype=np.float64), axis=0)
    true = finite_vector("truth", truth)
    if drawn.ndim != 2 or drawn.shape[1] != len(true) or len(drawn) < 2:
        raise FeatureError(f"samples: expected at least 2 of shape (sample, {len(true)}), got {drawn.shape}")
    n = len(drawn)
    rank = 2 * np.arange(1, n + 1) - n - 1
    spread = (rank[:, None] * drawn).sum(axis=0) * 2 / (n * (n - 1))  # E|s − s′| over different samples
    return np.asarray(np.abs(drawn - true).mean(axis=0) - spread / 2)


def log_loss(probability: ArrayLike, truth: ArrayLike) -> FloatVector:
    """−[q log p + (1 − q) log(1 − p)] of each row, in nats, with q the label (0 or 1) or the true probability.

    Less the entropy of q it is the Kullback–Leibler divergence of the prediction from the truth. A probability of
    exactly 0 or 1 that is wrong costs infinity, and is refused.

    >>> log_loss([0.5], [1]).round(4).tolist()
    [0.6931]
    """
    p = finite_vector("probability", probability)
    q = finite_vector("truth", truth, len(p))
    for name, values in (("probability", p), ("truth", q)):
        if values.min() < 0 or values.max() > 1:
            raise FeatureError(f"{name}: expected 0…1, got {values.min():g} to {values.max():g}")
    if (wrong := np.flatnonzero(((p == 0) & (q > 0)) | ((p == 1) & (q < 1)))).size:
        raise FeatureError(f"probability: {len(wrong)} rows are certain and wrong, the first is row {wrong[0]}")
    safe = np.clip(p, np.finfo(np.float64).tiny, None)
    other = np.clip(1 - p, np.finfo(np.float64).tiny, None)
    return np.asarray(-(q * np.log(safe) + (1 - q) * np.log(other)))


def _checked(mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike) -> tuple[FloatVector, FloatVector, FloatVector]:
    centre = finite_vector("mean", mean)
    sigma, true = finite_vector("deviation", deviation, len(centre)), finite_vector("truth", truth, len(centre))
    if sigma.min() <= 0:
        raise FeatureError(f"deviation: expected above 0, got {sigma.min():g} in row {int(sigma.argmin())}")
    return centre, sigma, true


def _pull(mean: FloatVector, deviation: FloatVector, truth: FloatVector) -> FloatVector:
    return np.asarray((truth - mean) / deviation)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"level: expected between 0 and 1, got {level:g}")
