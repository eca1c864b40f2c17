"""Every metric of a classifier's ranking, by the one name that results files use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fivesigma.core.registry import Registry
from fivesigma.evaluate.efficiency import Efficiencies, background_efficiency_at


@dataclass(frozen=True)
class Metric:
    """A number that ranks classifiers: larger is better for all of them."""

    name: str
    title: str  # for tables and axes
    definition: str
    of: Callable[[Efficiencies], float]


METRICS: Registry[Metric] = Registry("metric")
"""Metric by name: a function of the efficiencies of all cuts."""

SIGNIFICANCE_RANGE = (0.1, 1.0)
"""Signal efficiencies among which the maximal significance improvement is looked for: below it, few events decide."""

EFFICIENCY_TARGETS = (0.2, 0.3, 0.5)
"""Working points that have names in ``METRICS``."""


def area_under_curve(curve: Efficiencies) -> float:
    """The probability that a signal event scores above a background event, ties counting half; exact with ties.

    With signed weights: the same double sum over pairs with w_i w_j, divided by the product of the sums.
    """
    return float(np.sum(np.diff(curve.background) * (curve.signal[1:] + curve.signal[:-1])) / 2)


def rejection(curve: Efficiencies, signal_efficiency: float) -> float:
    """Background rejection 1/ε_B at a signal efficiency; infinite where ε_B is not positive."""
    background = float(background_efficiency_at(curve, signal_efficiency)[0])
    return 1 / background if background > 0 else math.inf


def significance_improvement(curve: Efficiencies, signal_efficiency: float) -> float:
    """ε_S/√ε_B at a signal efficiency: by what factor the cut multiplies S/√B."""
    return signal_efficiency * math.sqrt(rejection(curve, signal_efficiency))


def largest_significance_improvement(curve: Efficiencies) -> float:
    """The maximum of ε_S/√ε_B over all cuts with ε_S in ``SIGNIFICANCE_RANGE`` and ε_B > 0.

    A maximum over fluctuating numbers is biased upwards in small samples; the bootstrap uncertainty does not hold that
    bias. Prefer the values at fixed signal efficiencies for comparisons.
    """
    low, high = SIGNIFICANCE_RANGE
    inside = (curve.signal >= low) & (curve.signal <= high) & (curve.background > 0)
    if not inside.any():
        return math.nan
    return float(np.max(curve.signal[inside] / np.sqrt(curve.background[inside])))


METRICS.register("auc")(
    Metric("auc", "AUC", "area under ε_S against ε_B, trapezoids over ties, signed weights allowed", area_under_curve)
)
METRICS.register("significance_improvement_max")(
    Metric(
        "significance_improvement_max",
        "max ε_S/√ε_B",
        f"largest ε_S/√ε_B with {SIGNIFICANCE_RANGE[0]} ≤ ε_S ≤ {SIGNIFICANCE_RANGE[1]}",
        largest_significance_improvement,
    )
)


def _register_working_point(target: float) -> None:
    name = f"rejection_at_{target:g}"
    definition = f"1/ε_B where ε_S first reaches {target:g}, coming from the tightest cut, interpolated linearly"
    METRICS.register(name)(
        Metric(name, f"1/ε_B at ε_S = {target:.0%}", definition, lambda curve: rejection(curve, target))
    )
    name = f"significance_improvement_at_{target:g}"
    METRICS.register(name)(
        Metric(
            name,
            f"ε_S/√ε_B at ε_S = {target:.0%}",
            f"ε_S/√ε_B where ε_S first reaches {target:g}",
            lambda curve: significance_improvement(curve, target),
        )
    )


for _target in EFFICIENCY_TARGETS:
    _register_working_point(_target)

DEFAULT_METRICS = (
    "auc",
    "rejection_at_0.5",
    "rejection_at_0.2",
    "significance_improvement_at_0.5",
    "significance_improvement_max",
)


def metrics_named(names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these names; an unknown name raises ``UnknownNameError`` that lists the known ones."""
    return tuple(METRICS[name] for name in names)
