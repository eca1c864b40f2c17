"""``EventColumns``: events as named columns, some of them jagged, where a table (event, input) does not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from fivesigma.core.jagged import Column, Columns, Jagged

_COUNTS = ":counts"


class Event(tuple[Any, ...]):
    """One event: a number or a list of numbers for each column."""

    __slots__ = ()

    def tolist(self) -> list[Any]:
        """As a row of an array gives it."""
        return list(self)


@dataclass(frozen=True)
class EventColumns:
    """Columns of the same number of events, in the order of a model's inputs.

    >>> two = EventColumns({"mass": np.array([80.0, 90.0]), "pt": Jagged.from_lists([[1.0], []])})
    >>> len(two), two[1].tolist(), two[:1].columns["pt"].values.tolist()
    (2, [90.0, []], [1.0])
    """

    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[Event]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, which: int | np.integer[Any]) -> Event: ...
    @overload
    def __getitem__(self, which: slice) -> EventColumns: ...
    @overload
    def __getitem__(self, which: np.ndarray[Any, Any]) -> EventColumns: ...
    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, int | np.integer):
            one = slice(int(which), int(which) + 1)
            return Event(
                c[one].values.tolist() if isinstance(c, Jagged) else float(c[which]) for c in self.columns.values()
            )
        return EventColumns({name: column[which] for name, column in self.columns.items()})

    @classmethod
    def concatenate(cls, parts: Sequence[EventColumns]) -> EventColumns:
        """The events of several, one after another."""

        def joined(columns: list[Column]) -> Column:
            jagged = [c for c in columns if isinstance(c, Jagged)]
            return Jagged.concatenate(jagged) if jagged else np.concatenate([np.asarray(c) for c in columns])

        return cls({name: joined([part.columns[name] for part in parts]) for name in parts[0].columns})

    def save(self, path: Path) -> None:
        """Write them as NumPy's plain arrays."""
        arrays: dict[str, Any] = {}
        for name, column in self.columns.items():
            arrays[name] = column.values if isinstance(column, Jagged) else column
            if isinstance(column, Jagged):
                arrays[name + _COUNTS] = column.counts
        with open(path, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> EventColumns:
        """What ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            columns: dict[str, Column] = {}
            for name in arrays.files:
                if name.endswith(_COUNTS):
                    continue
                values = arrays[name]
                if name + _COUNTS in arrays.files:
                    offsets = np.concatenate([[0], np.cumsum(arrays[name + _COUNTS])]).astype(np.int64)
                    columns[name] = Jagged(values, offsets)
                else:
                    columns[name] = values
        return cls(columns)
