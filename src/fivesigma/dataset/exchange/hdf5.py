"""HDF5 as ATLAS' tools read it: a structured array ``jets``, and one of padded constituents with ``valid`` a collection.

Every chunk has a fletcher32 checksum. A collection (jagged columns of equal lengths) is named after what its columns'
names begin with: ``constituent_pt, constituent_eta`` → ``constituents``.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from fivesigma.core.jagged import Column, Columns, Jagged
from fivesigma.dataset.exchange.table import ColumnType, ExchangeFormat, Table
from fivesigma.read.hdf5 import VALID

JETS = "jets"
_DESCRIPTION = "fivesigma"
_ROWS = 4096  # rows of a chunk, and of one write
_READ_ROWS = 16 * _ROWS


class Hdf5Exchange(ExchangeFormat):
    """Flat columns in ``jets``, jagged ones in a two-dimensional array a collection, padded to its longest event."""

    suffix = ".h5"

    def write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        """Write all parts; the description is a text beside the arrays."""
        flat = [name for name, kind in table.types.items() if not kind.jagged]
        collections = _collections(table)
        with _open_for_writing(path) as file:
            jets = _create(file, JETS, (table.rows,), [(name, table.types[name].dtype) for name in flat])
            padded = {
                name: _create(
                    file,
                    name,
                    (table.rows, max(1, table.longest[columns[0]])),
                    [*((column, table.types[column].dtype) for column in columns), (VALID, "bool")],
                )
                for name, columns in collections.items()
            }
            row = 0
            for part in table.parts():
                n = len(next(iter(part.values())))
                for start in range(0, n, _ROWS):
                    some = slice(start, min(start + _ROWS, n))
                    there = slice(row + some.start, row + some.stop)
                    jets[there] = _records(part, flat, some, jets.dtype)
                    for name, columns in collections.items():
                        padded[name][there] = _padded(part, columns, some, padded[name])
                row += n
            file.create_dataset(_DESCRIPTION, data=json.dumps({**finish(), "collections": collections}))

    def read_description(self, path: Path) -> Mapping[str, Any]:
        """What the text beside the arrays says."""
        with h5py.File(path, "r") as file:
            content: dict[str, Any] = json.loads(file[_DESCRIPTION][()])
        return content

    def read(self, path: Path, types: Mapping[str, ColumnType]) -> Iterator[dict[str, Column]]:
        """Some rows after another; HDF5 verifies fletcher32."""
        collections: Mapping[str, list[str]] = self.read_description(path)["collections"]
        with h5py.File(path, "r") as file:
            for start in range(0, len(file[JETS]), _READ_ROWS):
                some = slice(start, start + _READ_ROWS)
                jets = file[JETS][some]
                found: dict[str, Column] = {name: jets[name] for name in jets.dtype.names}
                for name, columns in collections.items():
                    rows = file[name][some]
                    offsets = np.concatenate([[0], np.cumsum(rows[VALID].sum(axis=1), dtype=np.int64)])
                    found |= {column: Jagged(rows[column][rows[VALID]], offsets) for column in columns}
                yield {name: found[name] for name in types}


@contextmanager
def _open_for_writing(path: Path) -> Iterator[Any]:
    """A new HDF5 file; an OSError if it could not be written as a whole."""
    with open(path, "w+b", buffering=0) as plain:
        disk = _Disk(plain)
        with h5py.File(disk, "w") as file:
            yield file
        if disk.error is not None:
            raise disk.error


class _Disk(io.RawIOBase):
    """A file for HDF5, which crashes the process where a write fails: it is told that all is well, and we what is not."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.file = file
        self.error: OSError | None = None

    def write(self, content: Any, /) -> int:
        """All of it; nothing more after the first failure."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error
        self.file.seek(len(left), os.SEEK_CUR)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Make it so long."""
        length = self.tell() if size is None else size
        try:
            if self.error is None:
                self.file.truncate(length)
        except OSError as error:
            self.error = error
        return length

    def readinto(self, buffer: Any, /) -> int:
        """Bytes from here on; zeros where they could not be written."""
        view = memoryview(buffer).cast("B")
        content = self.file.read(len(view))
        view[:] = content + bytes(len(view) - len(content))
        return len(view)

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        """Go there."""
        return self.file.seek(place, whence)

    def tell(self) -> int:
        """Where we are."""
        return self.file.tell()


def _collections(table: Table) -> dict[str, list[str]]:
    """Columns of every collection, by its name."""
    members: dict[str, list[str]] = {}
    for column, first in table.collection.items():
        members.setdefault(first, []).append(column)
    named: dict[str, list[str]] = {}
    for first, columns in members.items():
        words = _common_words(columns)
        name = f"{words}s" if words and len(columns) > 1 else first
        named[name if name not in (*named, JETS, _DESCRIPTION) else first] = columns
    return named


def _common_words(names: list[str]) -> str:
    """The words that all names begin with.

    >>> _common_words(["fat_jet_pt", "fat_jet_phi"]), _common_words(["pt", "phi"])
    ('fat_jet', '')
    """
    words = []
    for same in zip(*(name.split("_") for name in names), strict=False):
        if len(set(same)) > 1:
            break
        words.append(same[0])
    return "_".join(words)


def _create(file: Any, name: str, shape: tuple[int, ...], fields: list[tuple[str, str]]) -> Any:
    chunks = (min(_ROWS, max(1, shape[0])), *shape[1:])
    return file.create_dataset(
        name, shape=shape, dtype=np.dtype(fields), chunks=chunks, compression="lzf", fletcher32=True
    )


def _records(part: Columns, names: list[str], some: slice, dtype: Any) -> Any:
    rows = np.zeros(some.stop - some.start, dtype=dtype)
    for name in names:
        rows[name] = part[name][some]
    return rows


def _padded(part: Columns, columns: list[str], some: slice, dataset: Any) -> Any:
    rows = np.zeros((some.stop - some.start, dataset.shape[1]), dtype=dataset.dtype)
    for name in columns:
        column = part[name][some]
        assert isinstance(column, Jagged)
        rows[VALID] = np.arange(dataset.shape[1]) < column.counts[:, None]
        rows[name][rows[VALID]] = column.values
    return rows
