"""Signal and background efficiency at every possible cut on a score: where all metrics of ranking start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.evaluate.scored_events import FloatVector, ScoredEvents


@dataclass(frozen=True, eq=False)
class Efficiencies:
    """Efficiencies of the cuts ``score >= threshold``, from the tightest (nothing passes) to the loosest (all pass).

    With signed weights they are ratios of signed sums: they may leave 0…1 and need not rise with every step.
    """

    threshold: FloatVector  # (cut,) falling; the first is +inf
    signal: FloatVector  # (cut,) ε_S
    background: FloatVector  # (cut,) ε_B

    @cached_property
    def highest_signal(self) -> FloatVector:
        """The largest ε_S of any cut at least as tight: rises steadily, also with signed weights."""
        highest: FloatVector = np.maximum.accumulate(self.signal)
        return highest


@dataclass(frozen=True, eq=False)
class RankedEvents:
    """Rows in falling order of score: sorted once, then scanned as often as there are replicas."""

    order: NDArray[np.int64]  # (row,)
    signal: NDArray[np.bool_]  # (row,) in this order
    weight: FloatVector  # (row,) in this order
    last_of_tie: NDArray[np.bool_]  # (row,) true where the next row has another score
    threshold: FloatVector  # (cut,) +inf, then every distinct score, falling

    @classmethod
    def rank(cls, events: ScoredEvents) -> Self:
        """Sort by score; rows with equal scores become one step, so their order never matters."""
        order = np.argsort(-events.score, kind="stable")
        score = events.score[order]
        last_of_tie = np.append(score[1:] != score[:-1], True)
        threshold = np.concatenate([[np.inf], score[last_of_tie]])
        return cls(order, events.signal[order], events.weight[order], last_of_tie, threshold)

    def efficiencies(self, counts: NDArray[np.uint8] | None = None) -> Efficiencies | None:
        """Scan all cuts, with the weights multiplied by the bootstrap ``counts`` of the rows (in their original order).

        ``None`` where a class has no positive sum of weights in this replica.
        """
        if counts is None:
            counts = np.ones(len(self.order), dtype=np.uint8)
        passed = np.zeros((2, len(self.threshold)))
        _scan(self.order, self.signal, self.weight, self.last_of_tie, counts, passed)
        background, signal = passed
        if not (signal[-1] > 0 and background[-1] > 0):
            return None
        return Efficiencies(self.threshold, signal / signal[-1], background / background[-1])


@numba.njit(nogil=True, cache=True)
def _scan(
    order: NDArray[np.int64],
    signal: NDArray[np.bool_],
    weight: FloatVector,
    last_of_tie: NDArray[np.bool_],
    counts: NDArray[np.uint8],
    passed: NDArray[np.float64],  # (class, cut) filled with sums of weights
) -> None:
    sum_signal, sum_background, cut = 0.0, 0.0, 0
    for row in range(len(order)):
        weighted = weight[row] * counts[order[row]]
        if signal[row]:
            sum_signal += weighted
        else:
            sum_background += weighted
        if last_of_tie[row]:
            cut += 1
            passed[0, cut] = sum_background
            passed[1, cut] = sum_signal


def efficiencies(events: ScoredEvents) -> Efficiencies:
    """Efficiencies of all cuts on the sample itself."""
    scanned = RankedEvents.rank(events).efficiencies()
    assert scanned is not None  # ScoredEvents has positive sums in both classes
    return scanned


def background_efficiency_at(curve: Efficiencies, signal_efficiency: ArrayLike) -> FloatVector:
    """ε_B where, coming from the tightest cut, ε_S first reaches the target.

    Between two cuts both efficiencies are interpolated linearly: what a random choice among equal scores would give,
    and the convention of the area under the curve. With signed weights ε_S may reach the target several times; the
    tightest cut counts.
    """
    step, fraction = _first_crossing(curve, signal_efficiency)
    return curve.background[step - 1] + fraction * (curve.background[step] - curve.background[step - 1])


def threshold_at(curve: Efficiencies, signal_efficiency: ArrayLike) -> FloatVector:
    """The tightest cut value whose signal efficiency is at least the target: not interpolated, it can be applied."""
    step, _ = _first_crossing(curve, signal_efficiency)
    return curve.threshold[step]


def _first_crossing(curve: Efficiencies, signal_efficiency: ArrayLike) -> tuple[NDArray[np.intp], FloatVector]:
    target = np.atleast_1d(np.asarray(signal_efficiency, dtype=np.float64))
    step = np.clip(np.searchsorted(curve.highest_signal, target, side="left"), 1, len(curve.signal) - 1)
    below, above = curve.signal[step - 1], curve.signal[step]
    rise = above - below
    fraction = np.divide(target - below, rise, out=np.ones_like(target), where=rise > 0)
    return step, np.clip(fraction, 0.0, 1.0)
