"""Does what is taken now look like what was taken before? Rates and distributions in time, with a stated false-alarm rate.

A trigger's inputs and rates are compared, slice of time by slice, with a reference. Every comparison is a test with a
p-value; an alarm is a p-value below a threshold that is so chosen that a whole table of comparisons of a stable detector
raises any alarm with at most the stated probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate.measurement import json_list
from fivesigma.evaluate.scored_events import FloatVector, finite_vector

FEW_VALUES = 10
"""A quantity with at most so many different values is compared by χ² of its counts, others by Kolmogorov–Smirnov."""


@dataclass(frozen=True)
class Exposure:
    """Counts of one slice of time: ``collisions`` looked at, and how many of them passed, by the rate's name."""

    collisions: int
    passed: Mapping[str, int]


@dataclass(frozen=True)
class Slice:
    """One slice of time: ``values`` of quantities, (event,) one an event, and ``exposure`` for the rates."""

    values: Mapping[str, ArrayLike]
    exposure: Exposure


@dataclass(frozen=True)
class DriftAlarm:
    """One comparison that a stable detector would hardly give."""

    slice: int
    quantity: str
    p_value: float


@dataclass(frozen=True)
class Drift:
    """All comparisons: ``p_value`` has shape (slice, quantity); below ``threshold`` is an alarm."""

    quantities: tuple[str, ...]
    tests: tuple[str, ...]
    p_value: FloatVector
    threshold: float
    false_alarm_rate: float
    reference: Exposure

    @property
    def alarms(self) -> tuple[DriftAlarm, ...]:
        """In order of time."""
        return tuple(
            DriftAlarm(int(i), self.quantities[j], float(self.p_value[i, j]))
            for i, j in np.argwhere(self.p_value < self.threshold)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "quantities": list(self.quantities),
            "tests": list(self.tests),
            "p_value": [json_list(row) for row in self.p_value],
            "threshold": self.threshold,
            "false_alarm_rate": self.false_alarm_rate,
            "alarms": [{"slice": a.slice, "quantity": a.quantity, "p_value": a.p_value} for a in self.alarms],
        }


def watch(reference: Slice, slices: Sequence[Slice], *, false_alarm_rate: float = 0.01) -> Drift:
    """Compare every slice with the reference, in every quantity and every rate.

    Rates: given the sum of both counts, the slice's is binomial with its share of the collisions (Przyborowski and
    Wilenski, Biometrika 31 (1940) 313), exact and two-sided. Distributions: two-sample Kolmogorov–Smirnov; χ² of the
    counts for a quantity of few values. Independent events are assumed: give one value an event.

    Parameters
    ----------
    reference, slices
        with the same quantities and rates.
    false_alarm_rate
        probability that a stable detector raises any alarm at all in this call: the threshold on a single p-value is
        1 − (1 − α)^(1/N) of N comparisons (Šidák). Comparisons with one reference, and of quantities that go
        together, are positively correlated, which only lowers the probability.

    Raises
    ------
    ConfigError
        a false-alarm rate outside (0, 1), nothing to compare.
    FeatureError
        a slice with other quantities than the reference; values that are not finite.
    """
    if not 0 < false_alarm_rate < 1:
        raise ConfigError(f"false_alarm_rate: expected a probability in (0, 1), got {false_alarm_rate}")
    rates, names = tuple(reference.exposure.passed), tuple(reference.values)
    n = len(slices) * (len(rates) + len(names))
    if n == 0:
        raise ConfigError("nothing to compare: expected at least one slice, and one quantity or rate")
    before = {name: finite_vector(name, reference.values[name]) for name in names}
    few = {name: len(np.unique(values)) <= FEW_VALUES for name, values in before.items()}
    table = []
    for i, taken in enumerate(slices):
        if tuple(taken.values) != names or tuple(taken.exposure.passed) != rates:
            raise FeatureError(
                f"slice {i}: expected {', '.join((*rates, *names))}, got "
                f"{', '.join((*taken.exposure.passed, *taken.values))}"
            )
        row = [rate_p_value(reference.exposure, taken.exposure, name) for name in rates]
        for name in names:
            values = finite_vector(name, taken.values[name])
            compare = counts_p_value if few[name] else kolmogorov_p_value
            row.append(compare(before[name], values))
        table.append(row)
    return Drift(
        (*rates, *names),
        (*("binomial",) * len(rates), *("χ²" if few[name] else "Kolmogorov–Smirnov" for name in names)),
        np.array(table),
        1 - (1 - false_alarm_rate) ** (1 / n),
        false_alarm_rate,
        reference.exposure,
    )


def rate_p_value(reference: Exposure, taken: Exposure, name: str) -> float:
    """Of the two counts being of the same rate, two-sided."""
    counts = reference.passed[name] + taken.passed[name]
    if counts == 0:
        return 1.0
    from scipy.stats import binomtest  # here and below: it would take every conversion 0.4 s to load

    share = taken.collisions / (reference.collisions + taken.collisions)
    return float(binomtest(taken.passed[name], counts, share).pvalue)


def kolmogorov_p_value(before: FloatVector, now: FloatVector) -> float:
    """Of two samples being of the same distribution; 1 where one is empty."""
    if not len(before) or not len(now):
        return 1.0
    from scipy.stats import ks_2samp

    return float(ks_2samp(before, now, method="asymp").pvalue)


def counts_p_value(before: FloatVector, now: FloatVector) -> float:
    """Of the same, from the counts of each value; rare values are put together until five are expected in each sample."""
    values = np.unique(np.concatenate([before, now]))
    table = np.array([[np.sum(sample == value) for value in values] for sample in (before, now)], dtype=np.float64)
    merged = _merged(table)
    if merged.shape[1] < 2 or not (merged.sum(axis=1) > 0).all():
        return 1.0
    from scipy.stats import chi2_contingency

    return float(chi2_contingency(merged, correction=False).pvalue)


def _merged(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns from the rarest on added to the next rarest while fewer than five are expected somewhere."""
    table = table[:, np.argsort(table.sum(axis=0))]
    while table.shape[1] > 1:
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        if expected[:, 0].min() >= 5:
            break
        table = np.column_stack([table[:, 0] + table[:, 1], table[:, 2:]])
    return table
