"""What each input variable can do alone: the yardstick that a multivariate method has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.evaluate.bootstrap import N_REPLICAS, event_uniform
from fivesigma.evaluate.comparison import compare
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.metrics import DEFAULT_METRICS
from fivesigma.evaluate.roc import auc
from fivesigma.evaluate.scored_events import BoolVector, FloatVector, ScoredEvents, scored_events

LIKELIHOOD_BINS = 40
"""Bins (quantiles of the pooled sample) of the likelihood ratio of one variable."""


@dataclass(frozen=True)
class VariablePower:
    """One variable as a classifier."""

    variable: str
    direction: Literal["larger is signal", "smaller is signal"]
    one_sided: Mapping[str, Measurement]  # metric → value of a single cut in that direction
    likelihood_ratio: Mapping[str, Measurement]  # metric → value of the binned ratio signal/background: finds peaks

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "variable": self.variable,
            "direction": self.direction,
            "one_sided": {name: value.to_json() for name, value in self.one_sided.items()},
            "likelihood_ratio": {name: value.to_json() for name, value in self.likelihood_ratio.items()},
        }


def single_variable_power(
    columns: Mapping[str, ArrayLike],
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    metrics: Iterable[str] = DEFAULT_METRICS,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> tuple[VariablePower, ...]:
    """Each variable alone, best AUC of the likelihood ratio first.

    ``one_sided`` cuts in the direction whose AUC over the whole sample is at least 0.5: its AUC is max(AUC, 1 − AUC),
    and a variable without power shows 0.5 plus a fluctuation. A peak (a mass) needs a window: ``likelihood_ratio`` bins
    the variable, and scores each half of the events with the ratio found in the other half, so that it is not
    overtrained.
    """
    if not columns:
        return ()
    names = tuple(metrics)
    cut_scores: dict[str, FloatVector] = {}
    ratio_scores: dict[str, FloatVector] = {}
    for name, values in columns.items():
        events = scored_events(values, y, weight, event)
        direction = 1.0 if auc(events.score, events.signal, events.weight) >= 0.5 else -1.0
        cut_scores[name] = direction * events.score
        ratio_scores[name] = likelihood_ratio_score(events, seed=seed)
    options: dict[str, Any] = {"metrics": names, "n_replicas": n_replicas, "seed": seed}
    cuts = compare(cut_scores, y, weight, event, **options).measurements
    ratios = compare(ratio_scores, y, weight, event, **options).measurements
    order = sorted(columns, key=lambda name: -auc(ratio_scores[name], y, weight))
    return tuple(
        VariablePower(
            name,
            "larger is signal" if np.array_equal(cut_scores[name], np.asarray(columns[name])) else "smaller is signal",
            cuts[name],
            ratios[name],
        )
        for name in order
    )


def likelihood_ratio_score(events: ScoredEvents, bins: int = LIKELIHOOD_BINS, seed: int = 0) -> FloatVector:
    """s/(s+b) in quantile bins of a variable (given as ``events.score``), two-fold out of fold by event.

    Bins where the sums of weights do not allow a ratio get 0.5, or the nearest end of 0…1 with signed weights.
    """
    inner = np.unique(np.quantile(events.score, np.linspace(0, 1, bins + 1)[1:-1]))
    index = np.searchsorted(inner, events.score, side="right")
    half = event_uniform(events.event, replica=2**32, seed=seed) < 0.5  # a coin tossed by event identity
    score = np.empty(len(events))
    for fold in (half, ~half):
        learn = ~fold
        signal = _density(index, events, learn & events.signal, len(inner) + 1)
        background = _density(index, events, learn & ~events.signal, len(inner) + 1)
        total = signal + background
        ratio = np.divide(signal, total, out=np.full_like(total, 0.5), where=total > 0)
        score[fold] = np.clip(ratio, 0.0, 1.0)[index[fold]]
    return score


def _density(index: NDArray[np.intp], events: ScoredEvents, rows: BoolVector, bins: int) -> FloatVector:
    sums = np.bincount(index[rows], events.weight[rows], bins).astype(np.float64)
    total = float(sums.sum())
    return sums / total if total > 0 else sums
