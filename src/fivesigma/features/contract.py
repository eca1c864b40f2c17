"""The contract of ``Features``: a fitted transform from columns, by name, to the array that a model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FeatureError
from fivesigma.core.jagged import Column, Columns, Jagged
from fivesigma.core.registry import Registry, nearest_names


@runtime_checkable
class Features(Protocol):
    """What a model sees, made from columns by *name*: their order never matters, a missing one is an error."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that are read."""

    def fit(self, columns: Columns, weight: NDArray[Any] | None = None) -> Self:
        """Learn scales from (training) events."""

    def transform(self, columns: Columns) -> NDArray[np.float32]:
        """Make the array, first axis: event. Raises `FeatureError` on missing or non-finite inputs."""

    def to_json(self) -> dict[str, Any]:
        """Options and learnt scales; ``"features"`` is the registered name."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The same transform again: its arrays are identical."""


FEATURES: Registry[type[Any]] = Registry("features")
"""Every kind of features by the name that studies use."""


def features_from_json(content: Mapping[str, Any]) -> Features:
    """Features of any registered kind from what their ``to_json`` gave."""
    if "features" not in content:
        raise FeatureError(f"expected the key 'features' with a registered name, got the keys {sorted(content)}")
    kind = FEATURES[str(content["features"])]
    features: Features = kind.from_json(content)
    return features


def check_names(expected: Sequence[str], got: Sequence[str]) -> None:
    """Refuse an array whose columns are named otherwise, or in another order, than what a model was fitted on.

    >>> check_names(["mass", "tau21"], ["tau21", "mass"])
    Traceback (most recent call last):
    fivesigma.core.errors.FeatureError: features are permuted: expected mass, tau21; got tau21, mass
    """
    expected, got = list(expected), list(got)
    if expected == got:
        return
    lists = f"expected {', '.join(expected)}; got {', '.join(got)}"
    if sorted(expected) == sorted(got):
        raise FeatureError(f"features are permuted: {lists}")
    raise FeatureError(f"features are missing or renamed: {lists}")


def column_of(columns: Columns, name: str) -> Column:
    """The column ``name``, or an error with the nearest names there are."""
    if name not in columns:
        nearest = nearest_names(name, columns)
        hint = (
            f"did you mean {' or '.join(map(repr, nearest))}?"
            if nearest
            else f"there are: {', '.join(sorted(columns))}"
        )
        raise FeatureError(f"no column {name!r} among the inputs; {hint}")
    return columns[name]


def flat_column(columns: Columns, name: str) -> NDArray[np.float64]:
    """A column with one finite number an event, float64 of shape (event,)."""
    column = column_of(columns, name)
    if isinstance(column, Jagged) or np.ndim(column) != 1:
        raise FeatureError(f"column {name!r}: expected one value per event, got a jagged or many-dimensional column")
    values = np.asarray(column, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        entry = int(np.argmin(finite))
        raise FeatureError(f"column {name!r}: {values[entry]} in entry {entry}, {(~finite).sum()} not finite in all")
    return values


def jagged_column(columns: Columns, name: str) -> Jagged:
    """A column with a variable number of finite numbers an event."""
    column = column_of(columns, name)
    if not isinstance(column, Jagged):
        raise FeatureError(f"column {name!r}: expected a jagged column, got one value per event")
    finite = np.isfinite(column.values)
    if not finite.all():
        value = int(np.argmin(finite))
        entry = int(np.searchsorted(column.offsets, value, side="right")) - 1
        raise FeatureError(
            f"column {name!r}: {column.values[value]} in entry {entry} (value {value - column.offsets[entry]} of it), "
            f"{(~finite).sum()} not finite in all"
        )
    return column


def fit_weight(weight: NDArray[Any] | None, n_events: int) -> NDArray[np.float64]:
    """Weights to fit scales with, shape (event,), of sum 1: absolute values, since a scale only conditions the inputs.

    With the signed weights a variance could come out negative. Raises `FeatureError` where nothing can be fitted.
    """
    values = np.ones(n_events) if weight is None else np.abs(np.asarray(weight, dtype=np.float64))
    if values.shape != (n_events,):
        raise FeatureError(f"expected one weight for each of {n_events} events, got the shape {values.shape}")
    if not np.isfinite(values).all():
        raise FeatureError(f"weight: {values[~np.isfinite(values)][0]} in entry {int(np.argmin(np.isfinite(values)))}")
    if n_events == 0 or values.sum() == 0:
        raise FeatureError(f"cannot fit on {n_events} events with a sum of absolute weights of {values.sum()}")
    return np.asarray(values / values.sum())
