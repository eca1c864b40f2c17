"""Uncertainties of efficiencies: Clopper–Pearson for counts, effective counts for weighted events."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv

from fivesigma.core.errors import WeightError
from fivesigma.evaluate.measurement import CONFIDENCE, Measurement
from fivesigma.evaluate.scored_events import BoolVector, FloatVector


def clopper_pearson(passed: float, total: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Central Clopper–Pearson interval (Biometrika 26 (1934) 404) of an efficiency.

    ``passed`` and ``total`` may be effective, not whole, numbers (the interval is then that of the interpolating beta
    distribution, as in ROOT's ``TEfficiency``).

    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 3)
    (0.0, 0.168)
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(passed, total - passed + 1, tail)) if passed > 0 else 0.0
    high = float(betaincinv(passed + 1, total - passed, 1 - tail)) if passed < total else 1.0
    return low, high


def weighted_efficiency(passed: BoolVector, weight: FloatVector) -> Measurement:
    """The weighted fraction that passes, with its uncertainty.

    Equal weights: Clopper–Pearson. Unequal positive weights: Clopper–Pearson with the effective number of events
    (Σw)²/Σw². Signed weights: first-order propagation, since an effective count has no meaning when the fraction may
    leave 0…1: σ² = [(1−ε)² Σ_pass w² + ε² Σ_fail w²] / (Σw)².
    """
    total = float(weight.sum())
    if not total > 0:
        raise WeightError(f"an efficiency needs a positive sum of weights, got {total:.6g} over {len(weight)} events")
    value = float(weight[passed].sum()) / total
    if (weight < 0).any():
        return _propagated(passed, weight, value, total)
    squares = float((weight**2).sum())
    size = total**2 / squares
    # Rounding must not turn k of n events into k ± 1e-13: whole counts stay whole.
    entries = round(size) if math.isclose(size, round(size), rel_tol=1e-9) else size
    count = value * entries
    count = round(count) if math.isclose(count, round(count), abs_tol=1e-9 * max(1.0, entries)) else count
    low, high = clopper_pearson(min(count, entries), entries)
    kind = "binomial (Clopper–Pearson)" if np.ptp(weight) == 0 else "binomial (Clopper–Pearson, effective counts)"
    return Measurement(value, (high - low) / 2, kind, (low, high))


def _propagated(passed: BoolVector, weight: FloatVector, value: float, total: float) -> Measurement:
    variance = (1 - value) ** 2 * float((weight[passed] ** 2).sum()) + value**2 * float((weight[~passed] ** 2).sum())
    sigma = math.sqrt(variance) / total
    return Measurement(value, sigma, "sums of squared signed weights", (value - sigma, value + sigma))


def inverse(efficiency: Measurement) -> Measurement:
    """Rejection 1/ε with the interval mapped: honest where ε has an asymmetric interval, infinite where ε is zero."""
    low, high = efficiency.interval or (
        efficiency.value - efficiency.uncertainty,
        efficiency.value + efficiency.uncertainty,
    )
    lowest = 1 / high if high > 0 else math.inf
    highest = 1 / low if low > 0 else math.inf
    value = 1 / efficiency.value if efficiency.value > 0 else math.inf
    return Measurement(
        value, (highest - lowest) / 2 if highest < math.inf else math.nan, efficiency.how, (lowest, highest)
    )
