"""Constituents straight from the baskets of a ROOT file: bytes swapped and columns put side by side in one pass.

This is the short way for jagged float32 branches; what it cannot vouch for (lists of unequal lengths, values that are
not finite) it leaves to the way through `fivesigma.dataset.rows`, which says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fivesigma.read.raw_branch import Piece, RawBranch, pieces
from fivesigma.read.record import open_bytes
from fivesigma.read.root import raw_branches
from fivesigma.read.schema import InputFile

BIG_FLOAT32 = np.dtype(">f4")
_compiled: Final = njit(nogil=True, cache=True, error_model="numpy")

Place = Callable[[int], NDArray[Any]]
"""From a number of values to where they are to go: an array of shape (values, column)."""


def raw_constituents(file: InputFile, names: Sequence[str]) -> list[RawBranch] | None:
    """The baskets of jagged float32 branches; None if one of them is anything else.

    Raises
    ------
    MissingBranchError, BranchTypeError, FileFormatError
        see `fivesigma.read.root.read_range`.
    """
    found = raw_branches(file, names)
    right = [b for name in names if (b := found.get(name)) is not None and b.jagged and b.dtype == BIG_FLOAT32]
    return right if len(right) == len(names) else None


def interleaved(
    branches: Sequence[RawBranch], start: int, stop: int, place: Place, finite: bool
) -> NDArray[np.int64] | None:
    """Values of entries ``start`` to ``stop`` (excluded) into ``place``; returns offsets of shape (entries + 1,).

    None if the branches have not the same number of values in each entry or, if they must be ``finite``, a value is not.

    Raises
    ------
    FileFormatError
        see `fivesigma.read.raw_branch.RawBranch.column`.
    """
    with open_bytes(branches[0].place) as file:
        found = list(pieces(branches, file, start, stop))
    offsets, entries = np.zeros(stop - start + 1, dtype=np.int64), 0
    for piece in found:
        own, *others = piece.offsets
        if not all(np.array_equal(own, other) for other in others):
            return None
        np.add(own[1:], offsets[entries], out=offsets[entries + 1 : entries + len(own)])
        entries += len(own) - 1
    values, first = place(int(offsets[-1])).view(np.uint32), 0
    for piece in found:
        n = len(piece.values[0])
        if _side_by_side(words(piece), values[first : first + n]) and finite:
            return None
        first += n
    return offsets


def words(piece: Piece) -> tuple[NDArray[np.uint32], ...]:
    """The bits of its values, in the order of bytes in which they are stored."""
    return tuple(column.view(np.uint32) for column in piece.values)


_ROWS: Final = 1024  # that stay in the nearest cache until they were looked at
_EXPONENT: Final = np.uint32(0x7F800000)  # all of its bits are set in NaN and ±inf
_8, _24, _MIDDLE = np.uint32(8), np.uint32(24), np.uint32(0xFF00)


@njit(inline="always")
def swapped(x: np.uint32) -> np.uint32:
    """The four bytes the other way round."""
    return (x << _24) | ((x & _MIDDLE) << _8) | ((x >> _8) & _MIDDLE) | (x >> _24)


@_compiled
def _side_by_side(columns: tuple[NDArray[np.uint32], ...], out: NDArray[np.uint32]) -> bool:
    """Big-endian float32 as words, into rows in native order; returns whether any is not finite."""
    n, largest = len(out), np.uint32(0)
    for begin in range(0, n, _ROWS):
        end = min(begin + _ROWS, n)
        for i in range(np.uint64(begin), np.uint64(end)):
            row = out[i]
            for j in range(len(columns)):
                row[j] = swapped(columns[j][i])
        flat = out[begin:end].reshape(-1)
        for i in range(np.uint64(len(flat))):
            largest = max(largest, flat[i] & _EXPONENT)
    return bool(largest == _EXPONENT)
