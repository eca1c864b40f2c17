"""The functions of the expression grammar, and how they act on flat and jagged operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged

Operand: TypeAlias = NDArray[Any] | Jagged
"""float64, int64 or bool: a scalar of shape (), one value per event, or a list per event."""

CONSTANTS: dict[str, float | bool] = {"true": True, "false": False, "pi": float(np.pi)}
_MANY = tuple(range(2, 65))


@dataclass(frozen=True)
class Function:
    """A function of the grammar and the numbers of arguments that it takes."""

    function: Callable[..., Any]
    n_arguments: tuple[int, ...] = (1,)
    first_is_condition: bool = False


def to_operand(column: Column) -> Operand:
    """A column in double precision, 64-bit integers or booleans."""
    if isinstance(column, Jagged):
        return Jagged(_widened(column.values), column.offsets)
    return _widened(np.asarray(column))


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "b":
        return values
    if (
        values.dtype.kind == "u"
        and values.dtype.itemsize == 8
        and values.size
        and values.max() > np.iinfo(np.int64).max
    ):
        raise ValueError(f"unsigned integers up to {values.max()} do not fit into 64-bit signed arithmetic")
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64, copy=False)


def is_condition(value: Operand) -> bool:
    """Whether the operand is true or false, not a number."""
    return value.dtype == np.bool_


def apply(function: Callable[..., Any], *operands: Operand) -> Operand:
    """Element by element; flat operands are repeated for each element of the jagged ones.

    Raises
    ------
    ValueError
        if jagged operands have different numbers of elements in some event.
    """
    jagged = [operand for operand in operands if isinstance(operand, Jagged)]
    if not jagged:
        return np.asarray(function(*operands))
    offsets, counts = jagged[0].offsets, jagged[0].counts
    for other in jagged[1:]:
        if other.offsets is not offsets and not np.array_equal(other.offsets, offsets):
            where = int(np.argmax(other.counts != counts)) if len(other) == len(counts) else 0
            raise ValueError(f"jagged columns of different lengths, first in event {where} of this range")
    values = [_elements(operand, counts) for operand in operands]
    return Jagged(np.asarray(function(*values)), offsets)


def _elements(operand: Operand, counts: NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(operand, Jagged):
        return operand.values
    return np.repeat(operand, counts) if operand.ndim else operand


def _delta_phi(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """Difference of azimuthal angles, in [−π, π)."""
    return np.remainder(a - b + np.pi, 2 * np.pi) - np.pi


def _bit(flags: NDArray[Any], n: NDArray[Any]) -> Any:
    if flags.dtype.kind != "i" or n.dtype.kind != "i":
        raise ValueError("bit(flags, n) needs integers")
    if np.any((n < 0) | (n > 63)):
        raise ValueError("bits are numbered 0 to 63")
    return (flags >> n) & 1 == 1


def _where(condition: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> Any:
    return np.where(condition, a, b)


def _smallest(*values: NDArray[Any]) -> Any:
    return np.minimum.reduce(np.broadcast_arrays(*values))


def _largest(*values: NDArray[Any]) -> Any:
    return np.maximum.reduce(np.broadcast_arrays(*values))


EXACT = frozenset({"where"})
"""Functions whose arguments may be conditions; elsewhere conditions count as 0 and 1."""

ELEMENTWISE: dict[str, Function] = {
    **{
        name: Function(getattr(np, name))
        for name in (
            *("sqrt", "exp", "expm1", "log", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan"),
            *("sinh", "cosh", "tanh", "arcsinh", "floor", "ceil", "sign", "isfinite", "isnan"),
        )
    },
    "abs": Function(np.abs),
    "arctan2": Function(np.arctan2, (2,)),
    "hypot": Function(np.hypot, (2,)),
    "delta_phi": Function(_delta_phi, (2,)),
    "bit": Function(_bit, (2,)),
    "where": Function(_where, (3,), first_is_condition=True),
    "min": Function(_smallest, _MANY),
    "max": Function(_largest, _MANY),
}


def _sums(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Sum of each event's values, by itself: no other event's size matters; 0 where there are none."""
    sums = np.zeros(len(offsets) - 1, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    filled = np.diff(offsets) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled], dtype=sums.dtype)
    return sums


def _sum(column: Jagged) -> NDArray[Any]:
    return _sums(column.values, column.offsets)


def _count(column: Jagged) -> NDArray[np.int64]:
    """Number of elements; of a condition, the number of those that are true."""
    return _sum(column) if is_condition(column) else column.counts


def _mean(column: Jagged) -> NDArray[np.float64]:
    return _sum(column) / column.counts


def _extreme(ufunc: np.ufunc) -> Callable[[Jagged], NDArray[np.float64]]:
    def extreme(column: Jagged) -> NDArray[np.float64]:
        found = np.full(len(column), np.nan)
        filled = column.counts > 0
        if filled.any():
            found[filled] = ufunc.reduceat(column.values.astype(np.float64), column.offsets[:-1][filled])
        return found

    return extreme


def _any(column: Jagged) -> NDArray[np.bool_]:
    if not is_condition(column):
        raise ValueError("needs a condition, such as any(x > 20)")
    return _sum(column) > 0


def _all(column: Jagged) -> NDArray[np.bool_]:
    if not is_condition(column):
        raise ValueError("needs a condition, such as all(x > 20)")
    every: NDArray[np.bool_] = _sum(column) == column.counts
    return every


def _at(column: Jagged, which: Operand, default: Operand) -> NDArray[Any]:
    """Element ``which`` of each event (0 is the first), ``default`` where the event has fewer."""
    if isinstance(which, Jagged) or isinstance(default, Jagged):
        raise ValueError(  # noqa: TRY004  the caller turns it into an ExpressionError
            "the position and the default must be one value per event"
        )
    if which.dtype.kind != "i" or np.any(which < 0):
        raise ValueError("the position must be an integer of at least 0")
    inside = which < column.counts
    dtype = np.result_type(column.values.dtype, default.dtype)
    found = np.broadcast_to(default, (len(column),)).astype(dtype)
    found[inside] = column.values[(column.offsets[:-1] + which)[inside]]
    return found


def _first(column: Jagged, default: Operand) -> NDArray[Any]:
    return _at(column, np.asarray(0), default)


PER_EVENT: dict[str, Function] = {
    "count": Function(_count),
    "sum": Function(_sum),
    "mean": Function(_mean),
    "min": Function(_extreme(np.minimum)),
    "max": Function(_extreme(np.maximum)),
    "any": Function(_any),
    "all": Function(_all),
    "first": Function(_first, (2,)),
    "at": Function(_at, (3,)),
}
"""From the list of each event to one value."""
