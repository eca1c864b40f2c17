"""Scores, labels, weights and event identities of the same rows, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import FeatureError, NoEventsError, WeightError

FloatVector = NDArray[np.float64]
BoolVector = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredEvents:
    """Rows to evaluate on: one jet, candidate or event each. Build with ``scored_events``, which checks them."""

    score: FloatVector  # (row,) larger is more like signal
    signal: BoolVector  # (row,) true for signal
    weight: FloatVector  # (row,) signed
    event: NDArray[np.uint64]  # (row,) identity of the event; rows of one event are resampled together

    def __len__(self) -> int:
        return len(self.score)

    def select(self, mask: BoolVector, description: str) -> Self:
        """The rows where ``mask`` is true, checked again (a class may be empty there)."""
        if mask.shape != self.score.shape or mask.dtype != np.bool_:
            raise FeatureError(f"mask: expected bool of shape {self.score.shape}, got {mask.dtype} of {mask.shape}")
        chosen = type(self)(self.score[mask], self.signal[mask], self.weight[mask], self.event[mask])
        check_class_weights(chosen.signal, chosen.weight, where=f" in {description}")
        return chosen


def scored_events(
    score: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None, event: ArrayLike | None = None
) -> ScoredEvents:
    """Check and align what every metric takes.

    Parameters
    ----------
    score : (row,) finite; ties are allowed.
    y : (row,) 0 or false for background, 1 or true for signal.
    weight : (row,) finite, of either sign; 1 by default. Each class must have a positive sum.
    event : (row,) integer identity of the event that the row belongs to; by default every row is its own event.

    Raises
    ------
    FeatureError
        arrays of different lengths, scores that are NaN or infinite, labels other than 0 and 1.
    NoEventsError
        one class has no rows.
    WeightError
        weights that are not finite, or a class whose weights do not sum to a positive number.
    """
    scores = finite_vector("score", score)
    rows = len(scores)
    signal = signal_mask(y, rows)
    weights = np.ones(rows) if weight is None else weight_vector(weight, rows)
    events = np.arange(rows, dtype=np.uint64) if event is None else event_vector(event, rows)
    check_class_weights(signal, weights)
    return ScoredEvents(scores, signal, weights, events)


def finite_vector(name: str, values: ArrayLike, rows: int | None = None) -> FloatVector:
    """A float64 vector of the expected length without NaN or infinity, or a ``FeatureError`` that names it."""
    vector = np.ascontiguousarray(values, dtype=np.float64)
    _check_shape(name, vector, rows)
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise FeatureError(
            f"{name}: {len(bad)} of {len(vector)} values are NaN or infinite, the first at row {bad[0]}; "
            "clip infinite likelihood ratios, and look for the NaN in the model's inputs"
        )
    return vector


def signal_mask(y: ArrayLike, rows: int) -> BoolVector:
    """True where the label says signal."""
    labels = np.asarray(y)
    _check_shape("y", labels, rows)
    if labels.dtype == np.bool_:
        return labels
    unknown = labels[(labels != 0) & (labels != 1)]
    if len(unknown):
        raise FeatureError(f"y: expected 0 (background) and 1 (signal), got also {unknown[0]!s}")
    return np.asarray(labels == 1, dtype=np.bool_)


def weight_vector(weight: ArrayLike, rows: int) -> FloatVector:
    """Finite weights of either sign."""
    weights = np.ascontiguousarray(weight, dtype=np.float64)
    _check_shape("weight", weights, rows)
    bad = np.flatnonzero(~np.isfinite(weights))
    if len(bad):
        raise WeightError(f"weight: {len(bad)} of {rows} are NaN or infinite, the first at row {bad[0]}")
    return weights


def event_vector(event: ArrayLike, rows: int) -> NDArray[np.uint64]:
    """Event identities as uint64, whatever their integer type was."""
    events = np.asarray(event)
    _check_shape("event", events, rows)
    if events.dtype.kind not in "iu":
        raise FeatureError(f"event: expected integer identities, got {events.dtype}")
    return np.ascontiguousarray(events.astype(np.uint64))


def check_class_weights(signal: BoolVector, weight: FloatVector, where: str = "") -> None:
    """Both classes present, each with a positive sum of weights."""
    for name, mask in (("signal", signal), ("background", ~signal)):
        if not mask.any():
            raise NoEventsError(f"no {name} events{where} among {len(signal)}", remedy="check labels and selection")
        total = float(weight[mask].sum())
        if not total > 0:
            raise WeightError(
                f"the weights of the {int(mask.sum())} {name} events{where} sum to {total:.6g}; "
                "efficiencies are ratios of sums of weights and need a positive one"
            )


def effective_size(weight: FloatVector) -> float:
    """Kish's effective number of events, (Σw)²/Σw²: equals the count for equal weights.

    >>> effective_size(np.array([2.0, 2.0, 2.0]))
    3.0
    """
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares > 0 else 0.0


def _check_shape(name: str, array: NDArray[Any], rows: int | None) -> None:
    expected: Sequence[int] | str = (rows,) if rows is not None else "(row,)"
    if array.ndim != 1 or (rows is not None and len(array) != rows):
        raise FeatureError(f"{name}: expected shape {expected}, got {array.shape}")
