"""``RootSource``: a loader's events straight from ROOT files that were never converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import NoEventsError, SplitError
from fivesigma.core.integrity import content_hash
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.dataset import ColumnSchema, Role
from fivesigma.dataset.duplicates import identity_columns
from fivesigma.dataset.event_source import Book, Group, Place, refuse_other_counts, together
from fivesigma.dataset.inputs import scan_inputs
from fivesigma.dataset.interleave import interleaved, raw_constituents
from fivesigma.dataset.padding import Runs, ragged
from fivesigma.dataset.rows import select_rows
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.dataset.shuffle_buffer import GrowingArray
from fivesigma.dataset.split import event_hash
from fivesigma.read.events import Events, Partition
from fivesigma.read.raw_branch import RawBranch
from fivesigma.read.root import check_unchanged, check_unchanged_meanwhile
from fivesigma.read.schema import InputFile

STEP = 20_000
"""Entries of a ROOT file in one block: fewer would decompress its baskets many times over."""


class RootSource:
    """Entry ranges of ROOT files as a conversion would select them, without converting.

    Opening it reads once the branches that selection, label, weight and identity need, and keeps labels, weights, folds
    and row identities: 18 bytes an event. Rows, weights and folds are those of the dataset that the conversion would
    make; the same row twice is refused as there, but equal content under another identity is not looked for. A block is
    ``step`` entries, read again each epoch.

    Usage::

        loader = BatchLoader(RootSource(conversion), flat=("jet_mass", "tau21"), batch_size=1024)

    Raises
    ------
    InputError, ExpressionError, SplitError
        as `fivesigma.dataset.convert`.
    """

    def __init__(self, conversion: Conversion, step: int = STEP) -> None:
        inputs = scan_inputs(conversion)
        self.conversion = conversion
        self.n_folds = conversion.n_folds
        self.fingerprint = content_hash([inputs.config_hash, step])
        self._ranges: list[tuple[int, Sample, Events, Partition]] = [
            (index, sample, events, partition)
            for index, (sample, events) in enumerate(zip(conversion.samples, inputs.events, strict=True))
            for partition in events.partitions(step)
        ]
        self.schema = self._schema_of_first()
        self._passing: list[NDArray[np.int64] | None] = []
        self._raw: dict[tuple[str, tuple[str, ...]], list[RawBranch] | None] = {}
        self._books, rows = self._keep_books()
        self.block_rows = np.array([len(book.y) for book in self._books], dtype=np.int64)
        for label, name in ((0, "background"), (1, "signal")):
            if not any((book.y == label).any() for book in self._books):
                raise NoEventsError(
                    f"no event has label {label} ({name}) after the cuts",
                    remedy="add a sample of this label, or loosen the cuts on it",
                )
        _refuse_repeated(rows)

    def book(self, block: int) -> Book:
        """See `EventSource`."""
        return self._books[block]

    def read(self, block: int, groups: Sequence[Group], place: Place) -> list[NDArray[Any]]:
        """See `EventSource`."""
        found = {i: self._straight(block, group, partial(place, i)) for i, group in enumerate(groups) if group.jagged}
        wanted = {name for i, group in enumerate(groups) if found.get(i) is None for name in group.names}
        rows = self._select(block, [name for name in self.conversion.kept if name in wanted]) if wanted else {}
        return [
            _by_way_of_rows([rows[f"column:{name}"] for name in group.names], group, partial(place, i))
            if (offsets := found.get(i)) is None
            else offsets
            for i, group in enumerate(groups)
        ]

    def _straight(self, block: int, group: Group, place: Callable[[int], NDArray[Any]]) -> NDArray[np.int64] | None:
        """A jagged group from the bytes of the file, see `interleaved`; None if it must come by way of rows."""
        partition = self._ranges[block][3]
        raw = self._raw_branches(partition.file, group)
        if raw is None:
            return None
        check_unchanged(partition.file)
        passing, finite = self._passing[block], self.conversion.nan != "keep"
        if passing is None:
            offsets = interleaved(raw, partition.start, partition.stop, place, finite)
            check_unchanged_meanwhile(partition.file)
            return offsets
        every = GrowingArray(group.dtype, len(group.names))
        offsets = interleaved(raw, partition.start, partition.stop, every.room, finite)
        check_unchanged_meanwhile(partition.file)
        if offsets is None:
            return None
        every.claim(int(offsets[-1]))
        chosen = ragged(Runs(every.rows, offsets[:-1], np.diff(offsets)), passing)
        place(len(chosen.values))[:] = chosen.values
        return chosen.offsets

    def _raw_branches(self, file: InputFile, group: Group) -> list[RawBranch] | None:
        """The branches of a group, if they are float32 in the file and nothing is done to them; looked up once a file."""
        key = (str(file.path), group.names)
        if key not in self._raw:
            changed = self.conversion.new_variables.keys() | self.conversion.dtypes.keys()
            plain = group.dtype == np.float32 and self.conversion.missing_policy == "keep"
            self._raw[key] = raw_constituents(file, group.names) if plain and not changed & set(group.names) else None
        return self._raw[key]

    def _select(self, block: int, names: Sequence[str]) -> dict[str, Column]:
        """Rows of one block that pass, with some of the columns; whether they pass never depends on which."""
        _, sample, events, partition = self._ranges[block]
        conversion = self.conversion
        if "drop" not in {conversion.nan, conversion.missing_policy}:  # there, a value in any kept column decides
            fewer = conversion.model_copy(update={"columns": tuple(names), "observers": ()})
            dtypes = {name: dtype for name, dtype in conversion.dtypes.items() if name in fewer.kept}
            conversion = fewer.model_copy(update={"dtypes": dtypes})
        columns = events.read(partition, conversion.branches_of(sample))
        return select_rows(conversion, sample, partition, columns)[0]

    def _keep_books(self) -> tuple[list[Book], NDArray[np.uint64]]:
        books, rows = [], []
        for block, (index, *_) in enumerate(self._ranges):
            found = self._select(block, ())
            y, weight, fold = (np.asarray(found[name]) for name in ("y", "weight", "fold"))
            books.append(Book(y, weight, fold))
            partition = self._ranges[block][3]
            every = len(y) == len(partition)
            self._passing.append(None if every else np.asarray(found["entry"]) - partition.start)
            columns = {name.removeprefix("column:"): column for name, column in found.items()}
            sample = np.full(len(y), index, dtype=np.int16)
            names = self.conversion.row or self.conversion.identity
            rows.append(event_hash(identity_columns(names, columns, y, sample)))
        return books, np.concatenate(rows)

    def _schema_of_first(self) -> Mapping[str, ColumnSchema]:
        """Type and kind of each kept column, from the first entry that there is."""
        _, sample, events, partition = self._ranges[0]
        few = Partition(partition.file, partition.start, min(partition.start + 1, partition.stop))
        conversion = self.conversion.model_copy(update={"nan": "keep", "missing_policy": "keep"})
        rows = select_rows(conversion, sample, few, events.read(few, conversion.branches_of(sample)))[0]
        columns = {name: rows[f"column:{name}"] for name in conversion.kept}
        roles: dict[str, Role] = dict.fromkeys(conversion.kept, "identity")
        roles.update(dict.fromkeys(conversion.observers, "observer"))
        roles.update(dict.fromkeys(conversion.columns, "input"))
        return {
            name: ColumnSchema(name, column.dtype.name, isinstance(column, Jagged), roles[name])
            for name, column in columns.items()
        }


def _refuse_repeated(rows: NDArray[np.uint64]) -> None:
    rows.sort()
    same = int((rows[1:] == rows[:-1]).sum())
    if same:
        raise SplitError(
            f"{same:,} rows have the identity of another row; `fivesigma convert` names both places.\n"
            "  remedy: leave out the copy, or add to `row` (and `identity`) what tells them apart, such as `sample`"
        )


def _by_way_of_rows(columns: Sequence[Column], group: Group, place: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
    if not group.jagged:
        return together([np.asarray(column) for column in columns], group.dtype)
    jagged = [column for column in columns if isinstance(column, Jagged)]
    for name, column in zip(group.names[1:], jagged[1:], strict=True):
        refuse_other_counts(group.names[0], jagged[0].counts, name, column.counts, 0)
    values = place(len(jagged[0].values))
    for i, column in enumerate(jagged):
        values[:, i] = column.values
    return jagged[0].offsets
