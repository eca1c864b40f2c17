"""Declared types of columns: what fits is converted, what is rounded is counted, what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import BranchTypeError
from fivesigma.core.jagged import Column, Jagged


def as_declared(column: Column, dtype: str) -> tuple[Column, int]:
    """The column in another type, and how many of its values are no longer exactly what they were.

    Rounding of floating-point numbers (also of integers made floating-point) is counted; NaN stays NaN and is not.

    >>> as_declared(np.array([0.5, 0.1, np.nan]), "float32")
    (array([0.5, 0.1, nan], dtype=float32), 1)
    >>> as_declared(np.array([1.0, 2.5]), "int32")
    Traceback (most recent call last):
    fivesigma.core.errors.BranchTypeError: 1 of 2 values (the first 2.5) have a fraction: they do not fit into int32

    Raises
    ------
    BranchTypeError
        for a value that does not fit: overflow, a fraction, NaN or ±∞ as integer; anything but 0 and 1 as bool.
    """
    values = column.values if isinstance(column, Jagged) else column
    target = np.dtype(dtype)
    if values.dtype == target:
        return column, 0
    if target.kind == "f":
        cast, rounded = _to_float(values, target)
    else:
        cast, rounded = _to_integer(values, target), 0
    return (Jagged(cast, column.offsets) if isinstance(column, Jagged) else cast), rounded


def _to_float(values: NDArray[Any], target: np.dtype[Any]) -> tuple[NDArray[Any], int]:
    with np.errstate(over="ignore"):
        cast = values.astype(target)
    if values.dtype.kind != "f":
        # Back to integers only what is inside their range: 2⁶³ as float64 is one too many for int64.
        inside = (
            cast < float(int(np.iinfo(values.dtype).max) + 1) if values.dtype.kind in "iu" else np.ones(len(cast), bool)
        )
        return cast, int((~inside).sum() + (cast[inside].astype(values.dtype) != values[inside]).sum())
    _refuse(np.isfinite(values) & ~np.isfinite(cast), values, "are too large", target)
    changed = cast.astype(values.dtype) != values
    return cast, int((changed & ~np.isnan(values)).sum())


def _to_integer(values: NDArray[Any], target: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        _refuse(~np.isfinite(values), values, "are not finite", target)
        _refuse(values != np.trunc(values), values, "have a fraction", target)
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
    _refuse(_outside(values, low, high), values, "are out of range", target)
    return values.astype(target)


def _outside(values: NDArray[Any], low: int, high: int) -> NDArray[np.bool_]:
    """Which values are below ``low`` or above ``high``, compared exactly."""
    if values.dtype.kind == "f":
        # `high` itself may not be a floating-point number, `high + 1`, a power of two (or 2), always is one.
        return (values < float(low)) | (values >= float(high + 1))
    if values.dtype.kind == "b":
        return np.zeros(len(values), np.bool_)
    limits = np.iinfo(values.dtype)
    below = values < max(low, limits.min)
    return below | (values > min(high, limits.max))


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, target: np.dtype[Any]) -> None:
    if wrong.any():
        first = values[np.argmax(wrong)]
        raise BranchTypeError(
            f"{int(wrong.sum()):,} of {len(values):,} values (the first {first}) {what}: they do not fit into {target}"
        )
