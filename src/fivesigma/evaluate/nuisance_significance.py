"""Significance where the background's uncertainty is what a two-valued nuisance does to it (arXiv:1611.01046, section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas, central_interval
from fivesigma.evaluate.comparison import Difference, paired_difference
from fivesigma.evaluate.efficiency import efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.scored_events import FloatVector, ScoredEvents, scored_events
from fivesigma.evaluate.working_points import MINIMAL_BACKGROUND, Expectation
from fivesigma.physics.significance import approximate_median_significance

METRIC = "ams_with_nuisance_at_0.5"
CUTS = 50
"""Cuts of the scan: where ε_S is 0.02, 0.04, … of the whole sample."""
WORKING_POINT = 0.5
"""Signal efficiency of the cut whose AMS is compared: one that no fluctuation of σ_b chooses."""


@dataclass(frozen=True, eq=False)
class NuisanceSignificance:
    """One model: what an analysis reaches that does not know which value the nuisance has."""

    signal_efficiency: FloatVector  # (cut,)
    significance: FloatVector  # (cut,) AMS
    significance_low: FloatVector  # (cut,) 68.27 % band, the cut held fixed
    significance_high: FloatVector  # (cut,)
    without_uncertainty: FloatVector  # (cut,) AMS with σ_b = 0
    background_uncertainty: FloatVector  # (cut,) σ_b / b
    at_working_point: Measurement  # AMS at ε_S = 0.5
    without_at_working_point: Measurement  # the same with σ_b = 0
    uncertainty_at_working_point: Measurement  # σ_b / b
    replicas: FloatVector  # (replica,) of the AMS at the working point

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON, without the replicas."""
        curves = ["signal_efficiency", "significance", "significance_low", "significance_high"]
        curves += ["without_uncertainty", "background_uncertainty"]
        points = ("at_working_point", "without_at_working_point", "uncertainty_at_working_point")
        return {name: json_list(getattr(self, name)) for name in curves} | {
            name: getattr(self, name).to_json() for name in points
        }


def nuisance_significance(
    score: ArrayLike,
    y: ArrayLike,
    nuisance: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    expectation: Expectation,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> NuisanceSignificance:
    """AMS against the cut, with σ_b = |b₁ − b₀|, the yields of all background if the nuisance were 1 or 0.

    s and b are the yields over both values, as they are mixed in the events; to σ_b comes
    ``expectation.background_uncertainty`` · b in quadrature. A difference of finitely many events has a statistical
    part, about b √(1/n₀ + 1/n₁) with n the events that pass: it is in σ_b too, so that samples must be large, and a
    maximum of the scan is where σ_b fluctuates down. Models are compared at ε_S = 0.5 for that.

    Raises
    ------
    ConfigError
        unless ``nuisance`` is 0 or 1.
    NoEventsError
        if there is no background of one value to speak of.
    """
    events = scored_events(score, y, weight, event)
    z = np.asarray(nuisance)
    if z.shape != events.score.shape or not np.isin(z, (0, 1)).all():
        raise ConfigError(
            f"expected a nuisance of 0 and 1, shape {events.score.shape}; got {np.unique(z)[:5].tolist()}, shape {z.shape}"
        )
    cuts = threshold_at(efficiencies(events), np.arange(1, CUTS + 1) / CUTS)
    cell = _cells(events, z.astype(np.int64), cuts)

    def sums(weight: FloatVector) -> FloatVector:  # (group, cut): what passes, and in the last everything
        cells = np.bincount(cell, weight, 3 * (CUTS + 1)).reshape(3, CUTS + 1)
        return np.asarray(np.cumsum(cells, axis=1))

    enough = sums(np.ones(len(cell)))[:2].min(axis=0) >= MINIMAL_BACKGROUND
    if not enough[-1]:
        raise NoEventsError(f"expected {MINIMAL_BACKGROUND:g} background events of either value of the nuisance")

    def values(counts: NDArray[np.uint8] | None) -> FloatVector:  # (3, cut): AMS, without σ_b, σ_b / b
        scan = _scan(sums(events.weight if counts is None else events.weight * counts), expectation)
        return np.where(enough[:-1], scan, np.nan)

    nominal, replicas = values(None), bootstrap_replicas(values, events.event, n_replicas=n_replicas, seed=seed)
    band = np.array([central_interval(replicas[:, 0, cut]) for cut in range(CUTS)])
    here = round(WORKING_POINT * CUTS) - 1
    at = [bootstrap_measurement(float(nominal[i, here]), replicas[:, i, here]) for i in range(3)]
    signal = sums(events.weight)[2]
    efficiency = signal[:-1] / signal[-1]
    return NuisanceSignificance(
        efficiency,
        nominal[0],
        band[:, 0],
        band[:, 1],
        nominal[1],
        nominal[2],
        at[0],
        at[1],
        at[2],
        replicas[:, 0, here],
    )


def nuisance_significance_differences(
    found: Mapping[str, NuisanceSignificance], baseline: str
) -> tuple[Difference, ...]:
    """Every other model minus ``baseline`` on the same events, paired by replica."""
    base = found[baseline]
    return tuple(
        paired_difference(
            name,
            baseline,
            METRIC,
            bootstrap_measurement(
                model.at_working_point.value - base.at_working_point.value, model.replicas - base.replicas
            ),
        )
        for name, model in found.items()
        if name != baseline
    )


def _cells(events: ScoredEvents, z: NDArray[np.int64], cuts: FloatVector) -> NDArray[np.int64]:
    """Of each row: group (background with nuisance 0, with 1, signal) and the tightest cut that it passes, flat."""
    group = np.where(events.signal, 2, z)
    tightest = np.searchsorted(-cuts, -events.score, side="left")  # cuts fall; the loosest passes all signal
    return np.asarray(group * (CUTS + 1) + np.minimum(tightest, CUTS))


def _scan(sums: FloatVector, expectation: Expectation) -> FloatVector:
    """(3, cut): AMS, AMS with σ_b = 0, σ_b / b, from sums of shape (group, cut + 1), all that there is in the last."""
    with np.errstate(divide="ignore", invalid="ignore"):
        without, with_, signal = sums[:, :-1] / sums[:, -1:]
        share = sums[1, -1] / (sums[0, -1] + sums[1, -1])
        mean = (1 - share) * without + share * with_
        relative = np.hypot(np.abs(with_ - without) / mean, expectation.background_uncertainty)
    s, b = expectation.signal * signal, expectation.background * mean
    ams = approximate_median_significance
    return np.stack([ams(s, b, relative * b), ams(s, b), relative])
