"""What remains of a classifier when the simulation is wrong: its score under up and down variations of each nuisance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import FeatureError, InputError, UnknownNameError
from fivesigma.core.registry import unknown_name
from fivesigma.evaluate.bootstrap import (
    N_REPLICAS,
    bootstrap_measurement,
    check_replicas,
    poisson_counts,
)
from fivesigma.evaluate.efficiency import Efficiencies, RankedEvents, efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.metrics import area_under_curve
from fivesigma.evaluate.roc import RocCurve, roc_curve
from fivesigma.evaluate.scored_events import FloatVector, ScoredEvents, scored_events

WORKING_POINTS = (0.3, 0.5, 0.8)
"""Nominal signal efficiencies of the cuts that are held fixed under variations."""

Pairing = Literal["rows", "events", "independent"]


@dataclass(frozen=True, eq=False)
class Variation:
    """The events as one variation shows them. Build with ``reweighted``, ``rescored`` or ``other_events``."""

    events: ScoredEvents
    pairing: Pairing

    @classmethod
    def reweighted(cls, nominal: ScoredEvents, weight: ArrayLike) -> Variation:
        """The same rows and scores with other weights (row,): the full weight, not a ratio."""
        return cls(scored_events(nominal.score, nominal.signal, weight, nominal.event), "rows")

    @classmethod
    def rescored(cls, nominal: ScoredEvents, score: ArrayLike, weight: ArrayLike | None = None) -> Variation:
        """The same rows with other scores (row,): a column was shifted and the features made again from it."""
        weights = nominal.weight if weight is None else weight
        return cls(scored_events(score, nominal.signal, weights, nominal.event), "rows")

    @classmethod
    def other_events(
        cls, score: ArrayLike, y: ArrayLike, weight: ArrayLike | None, event: ArrayLike, *, same_events: bool = False
    ) -> Variation:
        """Another sample, such as another generator's.

        ``event`` must tell events apart across both samples: replicas are a function of it, so events that are in both
        (another detector simulation of the same collisions) are paired, others independent. ``same_events`` asks for
        exactly the nominal events.
        """
        return cls(scored_events(score, y, weight, event), "events" if same_events else "independent")


@dataclass(frozen=True)
class EfficiencyChange:
    """What a nominal cut does under the variation."""

    target: float  # nominal signal efficiency that chose the cut
    threshold: float
    signal: Measurement  # ε_S(varied) − ε_S(nominal)
    background: Measurement  # ε_B(varied) − ε_B(nominal)
    background_ratio: Measurement  # ε_B(varied)/ε_B(nominal)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        numbers = {name: getattr(self, name).to_json() for name in ("signal", "background", "background_ratio")}
        return {"target": self.target, "threshold": self.threshold, **numbers}


@dataclass(frozen=True, eq=False)
class Shift:
    """One nuisance in one direction."""

    nuisance: str
    direction: str  # "up", "down"
    pairing: Pairing
    roc: RocCurve  # of the varied events
    delta_auc: Measurement  # AUC(varied) − AUC(nominal), paired where events are in both
    rate: tuple[Measurement, Measurement]  # Σw(varied)/Σw(nominal) of signal and of background, before any cut
    changes: tuple[EfficiencyChange, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "nuisance": self.nuisance,
            "direction": self.direction,
            "pairing": self.pairing,
            "roc": self.roc.to_json(),
            "delta_auc": self.delta_auc.to_json(),
            "rate": {"signal": self.rate[0].to_json(), "background": self.rate[1].to_json()},
            "changes": [change.to_json() for change in self.changes],
        }


@dataclass(frozen=True)
class Robustness:
    """All variations of one model."""

    shifts: tuple[Shift, ...]

    def shift(self, nuisance: str, direction: str) -> Shift:
        """One of them; unknown names list the known ones."""
        for shift in self.shifts:
            if (shift.nuisance, shift.direction) == (nuisance, direction):
                return shift
        known = [f"{s.nuisance} {s.direction}" for s in self.shifts]
        raise UnknownNameError(unknown_name("variation", f"{nuisance} {direction}", known))

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {"shifts": [shift.to_json() for shift in self.shifts]}


def robustness(
    nominal: ScoredEvents,
    variations: Mapping[str, Mapping[str, Variation]],
    *,
    signal_efficiency: Sequence[float] = WORKING_POINTS,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Robustness:
    """ROC curve, ΔAUC and change of efficiency at fixed cuts, for each nuisance and direction.

    The cuts are the tightest with at least ``signal_efficiency`` on the nominal events, and stay where they are: an
    analysis does not move its cut with the truth. Uncertainties are bootstrap over events; as an event has the same
    count in all variations, they are those of the *change*, far smaller than of either value.

    Parameters
    ----------
    nominal : as ``scored_events`` gives.
    variations : nuisance → direction ("up", "down") → events as it shows them.

    Raises
    ------
    InputError
        pairing of events was asked for, and a variation has other events than nominal.
    """
    check_replicas(n_replicas)
    cuts = threshold_at(efficiencies(nominal), signal_efficiency)
    reference = _Cut.of(nominal, cuts)
    base = reference.values(None)
    replicas = np.stack([reference.values(_counts(nominal, r, seed)) for r in range(n_replicas)])
    shifts = []
    for nuisance, directions in variations.items():
        for direction, variation in directions.items():
            _check_pairing(nominal, variation, f"{nuisance} {direction}")
            varied = _Cut.of(variation.events, cuts)
            value = varied.values(None)
            moved = np.stack([varied.values(_counts(variation.events, r, seed)) for r in range(n_replicas)])
            difference = [
                bootstrap_measurement(float((value - base)[i]), (moved - replicas)[:, i]) for i in range(len(base))
            ]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios, ratio_replicas = value / base, moved / replicas
            ratio = [_ratio(float(ratios[i]), ratio_replicas[:, i]) for i in range(len(base))]
            changes = tuple(
                EfficiencyChange(
                    float(target), float(cut), difference[3 + 2 * i], difference[4 + 2 * i], ratio[4 + 2 * i]
                )
                for i, (target, cut) in enumerate(zip(signal_efficiency, cuts, strict=True))
            )
            e = variation.events
            curve = roc_curve(e.score, e.signal, e.weight, e.event, n_replicas=n_replicas, seed=seed)
            rate = (ratio[1], ratio[2])
            shifts.append(Shift(nuisance, direction, variation.pairing, curve, difference[0], rate, changes))
    return Robustness(tuple(shifts))


@dataclass(frozen=True, eq=False)
class _Cut:
    """One sample with fixed cuts: AUC, sums of weights of signal and background, then ε_S, ε_B of each cut."""

    events: ScoredEvents
    ranked: RankedEvents
    passed: NDArray[np.bool_]  # (cut, row)

    @classmethod
    def of(cls, events: ScoredEvents, cuts: FloatVector) -> _Cut:
        return cls(events, RankedEvents.rank(events), events.score[None, :] >= cuts[:, None])

    def values(self, counts: NDArray[np.uint8] | None) -> FloatVector:
        curve: Efficiencies | None = self.ranked.efficiencies(counts)
        weight = self.events.weight if counts is None else self.events.weight * counts
        sums = [float(weight[mask].sum()) for mask in (self.events.signal, ~self.events.signal)]
        if curve is None:
            return np.full(3 + 2 * len(self.passed), np.nan)
        signal = self.passed @ np.where(self.events.signal, weight, 0.0) / sums[0]
        background = self.passed @ np.where(self.events.signal, 0.0, weight) / sums[1]
        return np.concatenate([[area_under_curve(curve), *sums], np.stack([signal, background], axis=1).ravel()])


def _counts(events: ScoredEvents, replica: int, seed: int) -> NDArray[np.uint8]:
    return poisson_counts(events.event, replica, seed)


def _ratio(value: float, replicas: FloatVector) -> Measurement:
    if math.isfinite(value):
        return bootstrap_measurement(value, replicas)
    return Measurement(math.nan, math.nan, "not defined: no nominal background passes the cut")


def _check_pairing(nominal: ScoredEvents, variation: Variation, name: str) -> None:
    if variation.pairing == "independent":
        return
    if variation.pairing == "rows" and len(variation.events) != len(nominal):
        raise FeatureError(f"variation {name}: expected {len(nominal)} rows, got {len(variation.events)}")
    if variation.pairing == "rows":
        return
    first, second = np.unique(nominal.event), np.unique(variation.events.event)
    missing, extra = np.setdiff1d(first, second), np.setdiff1d(second, first)
    if len(missing) or len(extra):
        raise InputError(
            f"variation {name}: {len(missing):,} of {len(first):,} nominal events are not in it, and {len(extra):,} of its "
            f"{len(second):,} events are not nominal; pairing was asked for",
            remedy="give the same events, or leave `paired` out: events in both samples are then still paired",
        )
