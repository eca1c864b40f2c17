"""Discovery significance of a classifier: scanned over the cut, at a cut chosen on other events, and in bins of the output."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate.bootstrap import (
    N_REPLICAS,
    bootstrap_measurement,
    bootstrap_replicas,
    central_interval,
    event_uniform,
)
from fivesigma.evaluate.comparison import Difference, paired_difference
from fivesigma.evaluate.efficiency import efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.scored_events import BoolVector, FloatVector, ScoredEvents, scored_events
from fivesigma.evaluate.working_points import MINIMAL_BACKGROUND, Expectation
from fivesigma.physics.significance import binned_significance, significance_named

Significance = Callable[[ArrayLike, ArrayLike, ArrayLike], FloatVector]

SCAN_CUTS = 100
"""Cuts of the scan: where ε_S is 0.01, 0.02, … of the whole sample."""

OUTPUT_BINS = 10
"""Bins of the output in ``binned``, of equal signal."""

HALF = 2**32 + 1
"""Replica number of the coin that parts events in halves: none of the bootstrap's."""


@dataclass(frozen=True, eq=False)
class SignificanceScan:
    """What an analysis with this classifier would reach, by one definition of significance (``kind``)."""

    kind: str
    expectation: Expectation
    signal_efficiency: FloatVector  # (cut,) from the tightest to the loosest
    threshold: FloatVector  # (cut,)
    significance: FloatVector  # (cut,) NaN where fewer than ``minimal_background`` effective background events pass
    significance_low: FloatVector  # (cut,) 68.27 % band, the cut held fixed
    significance_high: FloatVector  # (cut,)
    largest: Measurement  # the maximum of the scan on the events that it is measured on: biased upwards
    at_chosen_cut: Measurement  # each half of the events cut where the other half has its maximum
    chosen_thresholds: tuple[float, float]  # of the two halves
    binned: Measurement  # all bins of the output together
    bin_edges: FloatVector  # (edge,) of the score, inner ones
    replicas: FloatVector  # (replica, 3) of the three numbers, the same replicas for all models on the same events

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        names = ("signal_efficiency", "threshold", "significance", "significance_low", "significance_high", "bin_edges")
        return {name: json_list(getattr(self, name)) for name in names} | {
            "kind": self.kind,
            "largest": self.largest.to_json(),
            "at_chosen_cut": self.at_chosen_cut.to_json(),
            "chosen_thresholds": json_list(self.chosen_thresholds),
            "binned": self.binned.to_json(),
        }


def significance_scan(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    expectation: Expectation,
    kind: str = "asimov",
    minimal_background: float = MINIMAL_BACKGROUND,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> SignificanceScan:
    """Significance against the cut, and three numbers with bootstrap uncertainties over events.

    ``kind`` is a name of ``SIGNIFICANCES``; σ_b is ``expectation.background_uncertainty`` × the background that passes.

    ``at_chosen_cut`` is unbiased by the choice: a coin tossed by event identity parts the events in halves; each half is
    cut where the *other* half's scan is largest, and both together give ε_S and ε_B. Every replica chooses anew, so the
    uncertainty holds that of the choice.

    ``binned`` combines ``OUTPUT_BINS`` bins with equal shares of signal, neighbours merged until each has
    ``minimal_background`` effective background events. The background of all bins scales together by 1 ± σ_B
    (``binned_significance``, a Gaussian constraint, whatever the ``kind``).

    Raises
    ------
    NoEventsError
        no cut leaves ``minimal_background`` effective background events.
    ConfigError
        fewer than 1 for ``minimal_background``.
    """
    if minimal_background < 1:
        raise ConfigError(f"minimal_background: expected at least 1 event, got {minimal_background:g}")
    events = scored_events(score, y, weight, event)
    function = significance_named(kind)
    grid = np.arange(1, SCAN_CUTS + 1) / SCAN_CUTS
    cuts = threshold_at(efficiencies(events), grid)
    half = event_uniform(events.event, replica=HALF, seed=seed) < 0.5
    passed = _Passed.of(events, cuts, half)
    edges = _output_bins(events, cuts, minimal_background)
    bins = np.searchsorted(edges, events.score, side="right")

    def values(counts: NDArray[np.uint8] | None) -> FloatVector:  # scan, largest, at the chosen cut, binned
        sums = passed.sums(events.weight if counts is None else events.weight * counts)
        scan = _scan(sums.sum(axis=0), expectation, function, minimal_background)
        crossed = _crossed(sums, expectation, function, minimal_background)
        weights = events.weight if counts is None else events.weight * counts
        together = _binned(events.signal, bins, weights, len(edges) + 1, expectation)
        largest = np.nan if np.isnan(scan).all() else np.nanmax(scan)
        return np.concatenate([scan, [largest, crossed[0], together]])

    nominal = values(None)
    if math.isnan(nominal[SCAN_CUTS]):
        raise NoEventsError(
            f"no cut leaves {minimal_background:g} background events", remedy="lower minimal_background"
        )
    replicas = bootstrap_replicas(values, events.event, n_replicas=n_replicas, seed=seed)
    band = np.array([central_interval(replicas[:, cut]) for cut in range(SCAN_CUTS)])
    _, first, second = _crossed(passed.sums(events.weight), expectation, function, minimal_background)
    chosen = tuple(float(cuts[int(step)]) if math.isfinite(step) else math.nan for step in (first, second))
    numbers = [bootstrap_measurement(float(nominal[SCAN_CUTS + i]), replicas[:, SCAN_CUTS + i]) for i in range(3)]
    return SignificanceScan(
        kind, expectation, grid, cuts, nominal[:SCAN_CUTS], band[:, 0], band[:, 1],
        numbers[0], numbers[1], (chosen[0], chosen[1]), numbers[2], edges, replicas[:, SCAN_CUTS:],
    )  # fmt: skip


def significance_differences(scans: Mapping[str, SignificanceScan]) -> tuple[Difference, ...]:
    """Differences between all pairs of models on the same events: at the chosen cuts, and binned; paired by replica."""
    found = []
    for first, second in itertools.combinations(scans, 2):
        a, b = scans[first], scans[second]
        kind = a.kind.replace("-", "_")
        pairs = (
            (f"{kind}_significance", a.at_chosen_cut, b.at_chosen_cut, 1),
            ("binned_significance", a.binned, b.binned, 2),
        )
        for metric, x, y, column in pairs:
            paired = bootstrap_measurement(x.value - y.value, a.replicas[:, column] - b.replicas[:, column])
            found.append(paired_difference(first, second, metric, paired))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Passed:
    """By the tightest cut that each row passes, its half and its class: sums over it are sums over passing rows."""

    cell: NDArray[np.intp]  # (row,) of (half, class, cut)
    cuts: int

    @classmethod
    def of(cls, events: ScoredEvents, cuts: FloatVector, half: BoolVector) -> _Passed:
        tightest = np.searchsorted(-cuts, -events.score, side="left")  # cuts fall; the loosest passes all signal
        outside = tightest == len(cuts)  # background below the loosest cut
        cell = (half * 2 + events.signal) * (len(cuts) + 1) + np.where(outside, len(cuts), tightest)
        return cls(cell, len(cuts))

    def sums(self, weight: FloatVector) -> FloatVector:
        """Σw and Σw² of what passes: shape (half, class, cut, 2), and the totals in the last cut."""
        shape = (2, 2, self.cuts + 1)
        cells = [np.bincount(self.cell, w, math.prod(shape)).reshape(shape) for w in (weight, weight**2)]
        return np.asarray(np.cumsum(np.stack(cells, axis=-1), axis=2))


def _scan(sums: FloatVector, expectation: Expectation, function: Significance, minimal: float) -> FloatVector:
    """(cut,) significance from sums of shape (class, cut, 2)."""
    total = sums[:, -1, 0]
    if not (total > 0).all():
        return np.full(sums.shape[1] - 1, np.nan)
    background, signal = (sums[c, :-1, 0] / total[c] for c in (0, 1))
    b = expectation.background * background
    significance = function(expectation.signal * signal, b, expectation.background_uncertainty * np.maximum(b, 0.0))
    effective = np.divide(
        sums[0, :-1, 0] ** 2, sums[0, :-1, 1], out=np.zeros(len(b)), where=(sums[0, :-1, 1] > 0) & (b > 0)
    )
    return np.where(effective >= minimal * (1 - 1e-9), significance, np.nan)


def _crossed(
    sums: FloatVector, expectation: Expectation, function: Significance, minimal: float
) -> tuple[float, float, float]:
    """The significance of both halves, each cut where the other is best, and the steps of their cuts."""
    best = [_scan(half, expectation, function, minimal / 2) for half in sums]
    if any(np.isnan(scan).all() for scan in best):
        return math.nan, math.nan, math.nan
    steps = [int(np.nanargmax(best[1 - h])) for h in (0, 1)]
    together = sum(np.stack([sums[h][:, steps[h]], sums[h][:, -1]], axis=1) for h in (0, 1))
    return float(_scan(np.asarray(together), expectation, function, 1.0)[0]), float(steps[0]), float(steps[1])


def _output_bins(events: ScoredEvents, cuts: FloatVector, minimal: float) -> FloatVector:
    """Inner edges: equal signal, merged from the tightest until each bin has enough background."""
    candidates = np.unique(cuts[SCAN_CUTS // OUTPUT_BINS - 1 : -1 : SCAN_CUTS // OUTPUT_BINS])[::-1]
    score, weight = events.score[~events.signal], events.weight[~events.signal]
    kept: list[float] = []
    upper = math.inf
    for low in [*candidates, -math.inf]:
        inside = weight[(score >= low) & (score < upper)]
        squares = float((inside**2).sum())
        if inside.sum() > 0 and squares > 0 and float(inside.sum()) ** 2 / squares >= minimal:
            kept.append(float(low))
            upper = low
    return np.sort(kept[:-1]) if upper == -math.inf else np.sort(kept[:-1] if len(kept) > 1 else [])


def _binned(
    signal: BoolVector, bins: NDArray[np.intp], weight: FloatVector, n_bins: int, expectation: Expectation
) -> float:
    s, b = (np.bincount(bins[mask], weight[mask], n_bins) for mask in (signal, ~signal))
    if not (s.sum() > 0 and b.sum() > 0):
        return math.nan
    return binned_significance(
        expectation.signal * s / s.sum(), expectation.background * b / b.sum(), expectation.background_uncertainty
    )
