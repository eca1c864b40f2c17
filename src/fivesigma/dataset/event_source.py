"""Where a loader's events come from, block by block; here from converted shards.

A block is a range of rows that lie together on disk: read at once, and shuffled as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import DatasetError
from fivesigma.core.integrity import content_hash
from fivesigma.dataset.dataset import SHARDS, ColumnSchema, Dataset
from fivesigma.dataset.shards import ArrayPlace, Shard


@dataclass(frozen=True)
class Group:
    """Columns that are read and gathered together as one type: all flat, or all of one collection."""

    names: tuple[str, ...]
    jagged: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Book:
    """Labels int8, signed weights float64 and folds int8 of a block, each of shape (rows,)."""

    y: NDArray[np.int8]
    weight: NDArray[np.float64]
    fold: NDArray[np.int8]


Place = Callable[[int, int], NDArray[Any]]
"""From the number of a jagged group and of its values to where they are to go: an array (values, column) of its type."""


class EventSource(Protocol):
    """Rows in blocks, with labels, weights and folds."""

    fingerprint: str
    """Digest of all that the events depend on."""
    schema: Mapping[str, ColumnSchema]
    n_folds: int
    block_rows: NDArray[np.int64]
    """Rows in each block, shape (blocks,); the rows of the source are those of its blocks in order."""

    def book(self, block: int) -> Book:
        """Labels, weights and folds of one block."""

    def read(self, block: int, groups: Sequence[Group], place: Place) -> list[NDArray[Any]]:
        """The groups of one block: (rows, column) of a flat one; of a jagged one offsets (rows + 1,), its values in place."""


class ShardSource:
    """Blocks of ``block_rows`` rows of the shards of a dataset, read as they lie on disk, into memory that is bounded.

    They are read, not mapped: a shard that was cut short, or a disk that fails, is an error with a name, not the end
    of the process by a signal.
    """

    def __init__(self, dataset: Dataset, block_rows: int) -> None:
        self.dataset, self.schema, self.n_folds = dataset, dataset.schema, dataset.n_folds
        self.fingerprint = content_hash([dataset.config_hash, block_rows])
        self._blocks = [
            (shard, start, min(start + block_rows, shard.rows))
            for shard in dataset.shards
            for start in range(0, shard.rows, block_rows)
        ]
        self.block_rows = np.array([stop - start for _, start, stop in self._blocks], dtype=np.int64)

    def book(self, block: int) -> Book:
        """See `EventSource`."""
        shard, start, stop = self._blocks[block]
        with _ShardFile(self.dataset.path / SHARDS, shard) as file:
            return Book(*(file.flat(name, start, stop) for name in ("y", "weight", "fold")))

    def read(self, block: int, groups: Sequence[Group], place: Place) -> list[NDArray[Any]]:
        """See `EventSource`."""
        shard, start, stop = self._blocks[block]
        with _ShardFile(self.dataset.path / SHARDS, shard) as file:
            return [
                file.collection(group, start, stop, partial(place, i))
                if group.jagged
                else together([file.flat(f"column:{name}", start, stop) for name in group.names], group.dtype)
                for i, group in enumerate(groups)
            ]


class _ShardFile:
    """An open shard, of which ranges of rows are read."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        self._path, self._shard = folder / shard.name, shard

    def __enter__(self) -> _ShardFile:
        try:
            self._file = open(self._path, "rb", buffering=0)
        except OSError as error:
            raise DatasetError(f"cannot read {self._path}: {error.strerror or error}; convert again") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def flat(self, name: str, start: int, stop: int) -> NDArray[Any]:
        place = self._shard.arrays[name]
        return self._read(np.empty(stop - start, dtype=place.dtype), place, start)

    def collection(
        self, group: Group, start: int, stop: int, place: Callable[[int], NDArray[Any]]
    ) -> NDArray[np.int64]:
        """Offsets, and values in place: in one go if they are interleaved as asked for, otherwise put together."""
        places = [self._shard.arrays[f"column:{name}/values"] for name in group.names]
        offsets = [self._shard.arrays[f"column:{name}/offsets"] for name in group.names]
        first = self._read(np.empty(stop - start + 1, dtype=np.int64), offsets[0], start)
        for name, other_place in zip(group.names[1:], offsets[1:], strict=True):
            if other_place != offsets[0]:
                other = self._read(np.empty(stop - start + 1, dtype=np.int64), other_place, start)
                refuse_other_counts(group.names[0], np.diff(first), name, np.diff(other), start)
        begin, end = int(first[0]), int(first[-1])
        values = place(end - begin)
        if _is_block(places, group.dtype):
            self._read(values.reshape(-1), places[0], begin * len(places))
        elif len({(p.dtype, p.stride, o.offset) for p, o in zip(places, offsets, strict=True)}) == 1:
            values[:] = self._columns_of_block(places, begin, end)
        else:
            for i, one in enumerate(places):
                values[:, i] = self._columns_of_block([one], begin, end)[:, 0]
        return first - begin

    def _columns_of_block(self, places: Sequence[ArrayPlace], begin: int, end: int) -> NDArray[Any]:
        """Some columns of one interleaved block, shape (end − begin, columns)."""
        dtype, stride = np.dtype(places[0].dtype), places[0].stride
        lowest = min(places, key=lambda place: place.offset)
        which = [(place.offset - lowest.offset) // dtype.itemsize for place in places]
        values = np.empty((end - begin, stride), dtype=dtype)
        if end > begin:  # the values after the last one wanted are those of the next row, or of no one
            self._read(values.reshape(-1)[: (end - begin - 1) * stride + max(which) + 1], lowest, begin * stride)
        return values[:, which]

    def _read(self, into: NDArray[Any], place: ArrayPlace, first: int) -> NDArray[Any]:
        """Fill an array of the place's type from its value ``first`` on."""
        view = into.view(np.uint8)
        done = 0
        try:
            self._file.seek(place.offset + first * into.itemsize)
            while done < len(view):
                read = self._file.readinto(view[done:].data)
                if not read:
                    raise DatasetError(
                        f"{self._path} ends too early: it was changed after it was opened; convert again"
                    )
                done += read
        except OSError as error:
            raise DatasetError(f"cannot read {self._path}: {error.strerror or error}") from error
        return into


def _is_block(places: Sequence[ArrayPlace], dtype: np.dtype[Any]) -> bool:
    """Whether the columns in this order are a whole interleaved block, of this type as this machine has it."""
    expected = [
        ArrayPlace(places[0].dtype, places[0].size, places[0].offset + i * dtype.itemsize, len(places))
        for i in range(len(places))
    ]
    return np.dtype(places[0].dtype) == dtype and list(places) == expected


def together(columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Columns side by side, shape (rows, columns)."""
    if len(columns) == 1:
        return columns[0].astype(dtype, copy=False)[:, np.newaxis]
    made = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for i, column in enumerate(columns):
        made[:, i] = column
    return made


def refuse_other_counts(
    name: str, counts: NDArray[np.int64], other: str, other_counts: NDArray[np.int64], start: int
) -> None:
    """Refuse columns of one collection that differ in an event's number of values."""
    if not np.array_equal(counts, other_counts):
        row = int(np.argmax(counts != other_counts))
        raise DatasetError(
            f"{name!r} and {other!r} are not of one collection: {counts[row]} and {other_counts[row]} values "
            f"in row {row + start} of the block; ask for them as two collections"
        )


def rows_before(block_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row number at which each block begins, and the total, shape (blocks + 1,)."""
    return np.concatenate([[0], np.cumsum(block_rows)])
