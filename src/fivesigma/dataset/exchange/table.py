"""What is exchanged: a table of columns in parts, its description, and digests that prove two tables equal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from fivesigma.core.jagged import Column, Columns, Jagged


@dataclass(frozen=True)
class ColumnType:
    """NumPy's name of the type of one value, and whether there is a list of them per event."""

    dtype: str
    jagged: bool


@dataclass(frozen=True)
class Table:
    """A table to be written: types by name, number of rows, parts in order (readable several times), description.

    ``longest`` gives the largest number of values in an event and ``collection`` the first column of equal lengths
    in all events, for every jagged column. ``description`` is JSON-like and goes into the file.
    """

    types: Mapping[str, ColumnType]
    rows: int
    parts: Callable[[], Iterable[Columns]]
    longest: Mapping[str, int]
    collection: Mapping[str, str]
    description: Mapping[str, Any]


@dataclass
class Digests:
    """xxh3 digests of columns, independent of how rows are divided into parts.

    >>> whole, halves = Digests(), Digests()
    >>> whole.add({"x": np.arange(4.0)})
    >>> halves.add({"x": np.arange(2.0)}); halves.add({"x": np.arange(2.0, 4.0)})
    >>> whole.by_column() == halves.by_column()
    True
    """

    rows: int = 0
    _hashes: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def add(self, part: Columns) -> None:
        """Take in the next rows."""
        self.rows += len(next(iter(part.values())))
        for name, column in part.items():
            values, counts = self._hashes.setdefault(name, (xxhash.xxh3_128(), xxhash.xxh3_128()))
            if isinstance(column, Jagged):
                counts.update(np.ascontiguousarray(column.counts, dtype="<i8"))
            numbers = column.values if isinstance(column, Jagged) else column
            numbers = np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<"))
            if numbers.size:
                values.update(numbers.view(np.uint8))

    def by_column(self) -> dict[str, str]:
        """Digest of values and lengths, and of each column's bytes, as 64 hexadecimal digits."""
        return {name: values.hexdigest() + counts.hexdigest() for name, (values, counts) in self._hashes.items()}


class ExchangeFormat(ABC):
    """A file format for exchange: ``write`` a table, ``read`` its description and its parts.

    ``write`` calls ``finish`` after the last part and stores what it returns, the description, in the file.
    """

    suffix: str

    @abstractmethod
    def write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        """Write the table to ``path``."""

    @abstractmethod
    def read_description(self, path: Path) -> Mapping[str, Any]:
        """The description that ``finish`` gave."""

    @abstractmethod
    def read(self, path: Path, types: Mapping[str, ColumnType]) -> Iterator[dict[str, Column]]:
        """The table's parts, in order."""
