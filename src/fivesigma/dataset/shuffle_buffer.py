"""The events of a few blocks in memory, from which batches are gathered; its arrays are used again and again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.dataset.event_source import Book, Group
from fivesigma.dataset.padding import Runs

_FIRST = 1 << 16  # rows that an array has room for at first


class GrowingArray:
    """An array of shape (rows, …) that is appended to, and emptied without giving its memory back."""

    def __init__(self, dtype: Any, *shape: int) -> None:
        self._array = np.empty((_FIRST, *shape), dtype=dtype)
        self._rows = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Copy rows to the end."""
        self.room(len(rows))[:] = rows
        self.claim(len(rows))

    def room(self, n: int) -> NDArray[Any]:
        """Where the next ``n`` rows are to go; they belong to the array once they are claimed."""
        stop = self._rows + n
        if stop > len(self._array):
            larger = np.empty((max(stop, 2 * len(self._array)), *self._array.shape[1:]), dtype=self._array.dtype)
            larger[: self._rows] = self._array[: self._rows]
            self._array = larger
        return self._array[self._rows : stop]

    def claim(self, n: int) -> None:
        """Count in ``n`` rows that were filled in."""
        self._rows += n

    def clear(self) -> None:
        """Without rows again."""
        self._rows = 0

    @property
    def rows(self) -> NDArray[Any]:
        """What was appended."""
        return self._array[: self._rows]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self._array.nbytes


class _FlatBuffer:
    """Flat columns of the chosen events, shape (events, column)."""

    def __init__(self, dtype: np.dtype[Any], columns: int) -> None:
        self._table = GrowingArray(dtype, columns)
        self.arrays: Sequence[GrowingArray] = (self._table,)

    def append(self, table: NDArray[Any], chosen: NDArray[np.int64] | slice) -> None:
        self._table.append(table[chosen])

    @property
    def table(self) -> NDArray[Any]:
        return self._table.rows


class _JaggedBuffer:
    """All values of the blocks, and where those of the chosen events are."""

    def __init__(self, dtype: np.dtype[Any], columns: int) -> None:
        self._values = GrowingArray(dtype, columns)
        self._starts, self._counts = GrowingArray(np.int64), GrowingArray(np.int64)
        self.arrays: Sequence[GrowingArray] = (self._values, self._starts, self._counts)

    def room(self, n: int) -> NDArray[Any]:
        """Where ``n`` values of the next block are to go, shape (n, column)."""
        return self._values.room(n)

    def append(self, offsets: NDArray[np.int64], chosen: NDArray[np.int64] | slice) -> None:
        """Count in the values of a block, which are where `room` said."""
        self._starts.append(offsets[:-1][chosen] + len(self._values.rows))
        self._counts.append(np.diff(offsets)[chosen])
        self._values.claim(int(offsets[-1]))

    @property
    def runs(self) -> Runs:
        return Runs(self._values.rows, self._starts.rows, self._counts.rows)


class ShuffleBuffer:
    """The chosen events of one window: what was asked for, labels, weights, folds and row numbers."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = [
            (_JaggedBuffer if group.jagged else _FlatBuffer)(group.dtype, len(group.names)) for group in groups
        ]
        self._book = {"y": GrowingArray(np.int8), "weight": GrowingArray(np.float64), "fold": GrowingArray(np.int8)}
        self._row = GrowingArray(np.int64)

    def place(self, group: int, n: int) -> NDArray[Any]:
        """Where the ``n`` values of a jagged group of the next block are to go, shape (n, column)."""
        buffer = self._groups[group]
        assert isinstance(buffer, _JaggedBuffer)
        return buffer.room(n)

    def append(self, book: Book, first_row: int, chosen: NDArray[np.int64], block: Sequence[NDArray[Any]]) -> None:
        """The chosen rows (positions in the block) of one block; weights as they should come out.

        Of flat groups ``block`` has the table, of jagged ones the offsets: their values are in place.
        """
        every = slice(None) if len(chosen) == len(book.y) else chosen  # a slice copies nothing
        for name, array in self._book.items():
            array.append(getattr(book, name)[every])
        self._row.append(chosen + first_row)
        for buffer, of_group in zip(self._groups, block, strict=True):
            buffer.append(of_group, every)

    def clear(self) -> None:
        """Without events again, for the next window."""
        for array in self._arrays():
            array.clear()

    def book(self, name: str) -> NDArray[Any]:
        """Labels, weights or folds ("y", "weight", "fold"), shape (events,)."""
        return self._book[name].rows

    @property
    def row(self) -> NDArray[np.int64]:
        """Row numbers in the source, shape (events,)."""
        return self._row.rows

    def flat(self, group: int) -> NDArray[Any]:
        """A group of flat columns, shape (events, column)."""
        buffer = self._groups[group]
        assert isinstance(buffer, _FlatBuffer)
        return buffer.table

    def runs(self, group: int) -> Runs:
        """A group of jagged columns."""
        buffer = self._groups[group]
        assert isinstance(buffer, _JaggedBuffer)
        return buffer.runs

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(array.nbytes for array in self._arrays())

    def _arrays(self) -> list[GrowingArray]:
        return [*self._book.values(), self._row, *(array for buffer in self._groups for array in buffer.arrays)]
