"""Output rate of a trigger and what it keeps: rate of a threshold, efficiency at a rate, differences on the same events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate.binomial import clopper_pearson
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, poisson_counts
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.scored_events import BoolVector, FloatVector


@dataclass(frozen=True)
class TriggerInput:
    """What a trigger is fed: ``rate`` (of the unit that all rates are then in), seen as ``collisions`` simulated ones."""

    rate: float
    collisions: int

    def output(self, passed: int) -> Measurement:
        """Rate of ``passed`` of the collisions, with its Clopper–Pearson interval.

        >>> print(TriggerInput(rate=1000.0, collisions=100_000).output(200))
        2.00 ± 0.15
        """
        low, high = (self.rate * limit for limit in clopper_pearson(passed, self.collisions))
        value = self.rate * passed / self.collisions
        return Measurement(value, (high - low) / 2, "binomial (Clopper–Pearson)", (low, high))


@dataclass(frozen=True)
class TriggerScores:
    """One trigger's scores of the same events: the best of an event's candidates, −inf where there is none.

    ``signal`` (event,) of signal events that could be kept, ``background`` (event,) of the input's that should not; the
    rest of the input's collisions has no candidate.
    """

    signal: FloatVector
    background: FloatVector


def threshold_at_rate(background: FloatVector, given: TriggerInput, rate: float) -> float:
    """The loosest threshold (``score >= threshold`` passes) whose output rate is at most ``rate``.

    Raises
    ------
    ConfigError
        for a rate that no event can make, or that is above what the candidates make.
    """
    most = int(rate / given.rate * given.collisions)
    ordered = np.sort(background[np.isfinite(background)])[::-1]
    if not 0 < most < len(ordered):
        raise ConfigError(
            f"a rate of {rate:g} is {most:,} of {given.collisions:,} collisions, {len(ordered):,} of which have a "
            "candidate: ask for a rate in between, or simulate more"
        )
    values, last = np.unique(-ordered, return_index=True)
    counts = np.append(last[1:], len(ordered))  # events at or above each value
    allowed = np.flatnonzero(counts <= most)
    return float(-values[allowed[-1]]) if len(allowed) else float(np.nextafter(ordered[0], np.inf))


class EfficiencyAtRate:
    """Signal efficiency where the output rate is given, of events multiplied by bootstrap counts.

    Between two thresholds both are interpolated, which is a random choice among equal scores: tables, whose scores are
    steps, and trees are compared at the same rate.
    """

    def __init__(self, scores: TriggerScores, given: TriggerInput) -> None:
        both = np.concatenate([scores.signal, scores.background])
        possible = np.isfinite(both)
        order = np.flatnonzero(possible)[np.argsort(-both[possible], kind="stable")]
        ordered = both[order]
        self._order, self._last = order, np.append(ordered[1:] != ordered[:-1], True)
        self._is_signal = np.arange(len(both)) < len(scores.signal)
        self._given, self._n_signal = given, len(scores.signal)

    def __call__(
        self, rates: FloatVector, counts: NDArray[np.uint8] | None = None, chosen: BoolVector | None = None
    ) -> FloatVector:
        """Of shape (rate,); ``counts`` (signal and background event,), ``chosen`` some of the signal events (event,)."""
        weight = np.ones(len(self._is_signal)) if counts is None else counts.astype(np.float64)
        signal = weight * self._is_signal
        if chosen is not None:
            signal[: self._n_signal] *= chosen
        total = signal.sum()
        if not total > 0:
            return np.full(len(rates), np.nan)
        kept = np.cumsum(signal[self._order])[self._last] / total
        made = np.cumsum((weight * ~self._is_signal)[self._order])[self._last]
        made = made * self._given.rate / self._given.collisions
        return np.asarray(np.interp(rates, np.concatenate([[0.0], made]), np.concatenate([[0.0], kept])))


@dataclass(frozen=True)
class RateComparison:
    """Efficiencies of several triggers at several rates, for all signal and for parts of it, and their differences.

    ``value[trigger]`` has shape (part, rate), ``replicas[trigger]`` (replica, part, rate); the replicas draw signal and
    background events, the same for all triggers.
    """

    rates: tuple[float, ...]
    parts: tuple[str, ...]
    value: Mapping[str, FloatVector]
    replicas: Mapping[str, NDArray[np.float64]]

    def efficiency(self, trigger: str, part: str, rate: float) -> Measurement:
        """With the bootstrap's uncertainty, that of the threshold among it."""
        at = self.parts.index(part), self.rates.index(rate)
        return bootstrap_measurement(float(self.value[trigger][at]), self.replicas[trigger][(slice(None), *at)])

    def difference(self, first: str, second: str, part: str, rate: float) -> Measurement:
        """First minus second, paired."""
        at = self.parts.index(part), self.rates.index(rate)
        drawn = self.replicas[first][(slice(None), *at)] - self.replicas[second][(slice(None), *at)]
        return bootstrap_measurement(float(self.value[first][at] - self.value[second][at]), drawn)


def compare_at_rates(
    triggers: Mapping[str, TriggerScores],
    given: TriggerInput,
    rates: tuple[float, ...],
    parts: Mapping[str, BoolVector],
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> RateComparison:
    """Efficiency at each output rate, for each of the ``parts`` (name → some of the signal events, (event,))."""
    curves = {name: EfficiencyAtRate(scores, given) for name, scores in triggers.items()}
    at = np.array(rates)

    def of_all(curve: EfficiencyAtRate, counts: NDArray[np.uint8] | None) -> FloatVector:
        return np.stack([curve(at, counts, chosen) for chosen in parts.values()])

    first = next(iter(triggers.values()))
    event = np.arange(len(first.signal) + len(first.background), dtype=np.uint64)
    drawn: dict[str, list[FloatVector]] = {name: [] for name in triggers}
    for replica in range(n_replicas):
        counts = poisson_counts(event, replica, seed)
        for name, curve in curves.items():
            drawn[name].append(of_all(curve, counts))
    return RateComparison(
        rates,
        tuple(parts),
        {name: of_all(curve, None) for name, curve in curves.items()},
        {name: np.stack(values) for name, values in drawn.items()},
    )
