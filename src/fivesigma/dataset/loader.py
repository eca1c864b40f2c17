"""``BatchLoader``: shuffled batches of a dataset that may be larger than memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, DatasetError, ResumeError, WeightError
from fivesigma.core.integrity import content_hash
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.dataset.batch import Batch, Collection, Truncation, joined
from fivesigma.dataset.block_shuffle import EpochOrder
from fivesigma.dataset.dataset import ColumnSchema, Dataset
from fivesigma.dataset.event_source import Book, EventSource, Group, ShardSource, rows_before
from fivesigma.dataset.padding import Padded, Ragged, padded, ragged
from fivesigma.dataset.read_ahead import ReadAhead, Result, read_ahead
from fivesigma.dataset.shuffle_buffer import ShuffleBuffer

BLOCK_ROWS = 1024
"""Rows of a dataset in one block: some 800 kB of constituents, enough for a disk to read at full speed."""
BUFFER_ROWS = 256 * BLOCK_ROWS
"""Rows that are mixed at a time unless told otherwise."""


@dataclass(frozen=True)
class ChosenEvents:
    """What the loader found in the rows it was told to take: events of each block, and their weights."""

    counts: NDArray[np.int64]  # (blocks,)
    signed: tuple[float, float]  # sums of weights of background and signal
    absolute: tuple[float, float]  # sums of |weight|
    class_factors: tuple[float, float] = (1.0, 1.0)

    @property
    def events(self) -> int:
        """How many they are."""
        return int(self.counts.sum())

    @property
    def mean_absolute_weight(self) -> float:
        """Mean of |weight| as the loader gives it, after class balance."""
        return sum(f * a for f, a in zip(self.class_factors, self.absolute, strict=True)) / self.events


class BatchLoader:
    """Shuffled batches of converted shards, or straight from ROOT files, in bounded memory.

    The order is that of `fivesigma.dataset.block_shuffle`: blocks of rows in random order, ``blocks_in_buffer`` of them
    mixed at a time. Every chosen event comes exactly once an epoch; batches differ in size by one event at most. The
    same seed gives the same batches, whatever ``prefetch``, ``rank`` and ``world_size``.

    Parameters
    ----------
    source
        a `Dataset`, or an `EventSource` such as `RootSource`.
    flat
        columns with one number an event, for ``batch.flat``.
    collections
        by name, for ``batch.collections``: `Collection` of columns of equal lengths, padded or ragged; float32.
    columns
        any columns as they are stored, for ``batch.columns``: what `fivesigma.features` are made of.
    folds, mask
        which events: those of these folds, and where the mask of shape (rows,) is True; all if left out.
    weight
        of shape (rows,): instead of the stored ones, after reweighting for instance.
    balance
        scale the weights of each class so that both have the same signed sum, and all together the sum they had.
        No event is drawn more often or left out for it: the loss is that of equal class priors, without bias.
    batch_size
        the largest, over all ranks.
    shuffle
        False: in the order of rows (for validation and prediction).
    seed, block_rows, blocks_in_buffer
        of the order. ``block_rows`` is for a `Dataset` only; ``blocks_in_buffer`` None: 262,144 rows.
    rank, world_size
        of one process among several: each reads only its own blocks, every ``world_size``-th in the order, and gives of
        each batch the events that lie in them. All have the same batches, so the same number; the parts of one batch
        are of size n/world_size but for binomial fluctuations, and can be empty.
    prefetch
        threads that read and gather ahead; 0: in the caller's thread. Memory: two buffers of ``blocks_in_buffer``
        blocks without (a batch may span two windows), with threads up to 3 + ⌈2·prefetch·batch_size / rows of
        a buffer⌉, and 2·prefetch batches; see ``buffer_bytes``.

    Usage::

        loader = BatchLoader(dataset, flat=("jet_mass",), folds=(0, 1, 2),
                             collections={"constituents": Collection(("pt", "eta", "phi"), length=64)})
        for batch in loader:                                # one epoch; the next loop is the next
            batch.collections["constituents"].values        # (event, 64, 3)
            state = loader.state()                          # JSON-like; loader.resume(state) goes on behind this batch

    Raises
    ------
    DatasetError
        for columns that are not there, a shard that cannot be read, or columns that are not of one collection.
    ConfigError
        for jagged columns asked for as flat ones or the other way round, and options that cannot be meant.
    WeightError
        if classes are to be balanced and the weights of one have no positive sum.
    """

    def __init__(
        self,
        source: Dataset | EventSource,
        *,
        flat: Sequence[str] = (),
        collections: Mapping[str, Collection] | None = None,
        columns: Sequence[str] = (),
        folds: Iterable[int] | None = None,
        mask: NDArray[np.bool_] | None = None,
        weight: NDArray[np.floating[Any]] | None = None,
        balance: bool = False,
        batch_size: int = 1024,
        shuffle: bool = True,
        seed: int = 1,
        block_rows: int = BLOCK_ROWS,
        blocks_in_buffer: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 1,
    ) -> None:
        if batch_size < 1 or block_rows < 1 or prefetch < 0 or (blocks_in_buffer is not None and blocks_in_buffer < 1):
            raise ConfigError("a loader needs batch_size, block_rows and blocks_in_buffer ≥ 1, and prefetch ≥ 0")
        if not 0 <= rank < world_size:
            raise ConfigError(f"expected a rank from 0 to {world_size - 1}, got {rank} of {world_size}")
        self.source: EventSource = ShardSource(source, block_rows) if isinstance(source, Dataset) else source
        self.flat, self.columns = tuple(flat), tuple(columns)
        self.collections = dict(collections or {})
        self.folds = None if folds is None else tuple(sorted(set(folds)))
        self._first_rows = rows_before(self.source.block_rows)
        rows = int(self._first_rows[-1])
        self._mask = None if mask is None else _of_rows("mask", np.asarray(mask, dtype=np.bool_), rows)
        self._weight = None if weight is None else _of_rows("weight", np.asarray(weight, dtype=np.float64), rows)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size, self.prefetch = rank, world_size, prefetch
        self._groups = self._groups_of()
        self.chosen = self._choose(balance)
        if blocks_in_buffer is None:
            blocks_in_buffer = max(1, BUFFER_ROWS // int(self.source.block_rows.max()))
        self.blocks_in_buffer = blocks_in_buffer
        self.epoch, self._next = 0, 0
        self.truncation = dict.fromkeys((n for n, c in self.collections.items() if c.length), Truncation())
        """What padding has left out of the batches given so far, by collection."""
        self._buffers: list[ShuffleBuffer] = []
        self._spare: list[ShuffleBuffer] = []

    @property
    def n_events(self) -> int:
        """Chosen events, of all ranks together."""
        return self.chosen.events

    @property
    def n_batches(self) -> int:
        """Batches in an epoch, the same on every rank."""
        return -(-self.n_events // self.batch_size)

    @property
    def buffer_bytes(self) -> int:
        """Memory of the buffers, which are kept from epoch to epoch."""
        return sum(buffer.nbytes for buffer in self._buffers)

    @property
    def fingerprint(self) -> str:
        """Digest of what the batches depend on, apart from epoch and rank."""
        digest = xxhash.xxh3_128()
        for array in (self._mask, self._weight):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).data.cast("B"))
        words = [self.source.fingerprint, digest.hexdigest(), self.folds, self.batch_size, self.shuffle, self.seed]
        asked = [list(self.flat), list(self.columns), {n: [c.columns, c.length] for n, c in self.collections.items()}]
        return content_hash([*words, self.blocks_in_buffer, self.chosen.class_factors, *asked])

    def of_all_ranks(self) -> BatchLoader:
        """The same loader for a single process, with buffers of its own."""
        other = copy(self)
        other.rank, other.world_size, other._buffers, other._spare = 0, 1, [], []
        return other

    def state(self) -> dict[str, Any]:
        """Where the loader is: JSON-like, for `resume`."""
        return {"epoch": self.epoch, "batch": self._next, "fingerprint": self.fingerprint}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken; rank, world size and prefetch may be others.

        Raises
        ------
        ResumeError
            if it was of other events or options.
        """
        if state["fingerprint"] != self.fingerprint:
            raise ResumeError("the state is of a loader with other events or options: begin anew, or restore them")
        self.epoch, self._next = int(state["epoch"]), int(state["batch"])

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch; afterwards the loader stands at the beginning of the next."""
        last = self.n_batches
        for batch in self.batches(self.epoch, self._next):
            self._next = batch.number + 1
            if self._next == last:
                self.epoch, self._next = self.epoch + 1, 0
            yield batch

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``first`` on; leaves `state` as it is."""
        counts = self.chosen.counts
        order = EpochOrder.of(counts, self.blocks_in_buffer, self.batch_size, self.seed, epoch, self.shuffle)
        with read_ahead(self.prefetch) as work:
            yield from self._in_order(order, first, work)

    def _in_order(self, order: EpochOrder, first: int, work: ReadAhead) -> Iterator[Batch]:
        windows: dict[int, Result[_Window]] = {}
        pending: deque[tuple[int, Result[Batch]]] = deque()

        def finished() -> Batch:
            last, future = pending.popleft()
            batch = future.result()
            for number in [k for k in windows if k < last]:  # no batch to come needs them
                self._recycle(windows.pop(number))
            self._count(batch)
            return batch

        for number in range(first, order.n_batches):
            pieces = order.pieces(number)
            for window in range(pieces[0][0], min(pieces[-1][0] + 1 + work.windows_ahead, len(order.window_edges) - 1)):
                if window not in windows:
                    windows[window] = work.submit(self._fill, order, window)
            parts = [(windows[window], start, stop) for window, start, stop in pieces]
            pending.append((pieces[-1][0], work.submit(self._gather, number, parts)))
            if len(pending) > work.batches_ahead:
                yield finished()
        while pending:
            yield finished()
        for future in windows.values():
            self._recycle(future)

    def _recycle(self, window: Result[_Window]) -> None:
        self._spare.append(window.result().buffer)

    def _fill(self, order: EpochOrder, window: int) -> _Window:
        """Read this rank's blocks of a window."""
        try:
            buffer = self._spare.pop()
            buffer.clear()
        except IndexError:
            buffer = ShuffleBuffer(self._groups)
            self._buffers.append(buffer)
        blocks = order.blocks_of(window)
        position = window * self.blocks_in_buffer + np.arange(len(blocks))
        mine = position % self.world_size == self.rank
        for block in blocks[mine].tolist():
            book, rows = self._weighted(block)
            found = self.source.read(block, self._groups, buffer.place)
            buffer.append(book, int(self._first_rows[block]), rows, found)
        events = order.permutation(window)
        if self.world_size == 1:
            return _Window(buffer, events, None)
        own = np.repeat(mine, self.chosen.counts[blocks])
        return _Window(buffer, events, np.where(own, np.cumsum(own) - 1, -1))

    def _gather(self, number: int, parts: Sequence[tuple[Result[_Window], int, int]]) -> Batch:
        made = [self._gather_from(number, future.result(), start, stop) for future, start, stop in parts]
        return made[0] if len(made) == 1 else joined(made)

    def _gather_from(self, number: int, window: _Window, start: int, stop: int) -> Batch:
        buffer, events = window.buffer, window.events(start, stop)
        flat = buffer.flat(0).take(events, axis=0) if self.flat else np.empty((len(events), 0), dtype=np.float32)
        of_collections: dict[str, Padded | Ragged] = {}
        of_columns: dict[str, Column] = {}
        group = 1 if self.flat else 0
        for name, collection in self.collections.items():
            runs = buffer.runs(group)
            of_collections[name] = (
                ragged(runs, events) if collection.length is None else padded(runs, events, collection.length)
            )
            group += 1
        for name in self.columns:
            if self._groups[group].jagged:
                found = ragged(buffer.runs(group), events)
                of_columns[name] = Jagged(found.values[:, 0], found.offsets)
            else:
                of_columns[name] = buffer.flat(group)[:, 0].take(events)
            group += 1
        y, weight, fold = (buffer.book(name).take(events) for name in ("y", "weight", "fold"))
        row = buffer.row.take(events)
        return Batch(number, stop - start, flat, of_collections, of_columns, y, weight, fold, row)

    def _count(self, batch: Batch) -> None:
        for name, before in self.truncation.items():
            found = batch.collections[name]
            assert isinstance(found, Padded)
            self.truncation[name] = before + Truncation(len(batch), found.truncated, found.lost)

    def _weighted(self, block: int) -> tuple[Book, NDArray[np.int64]]:
        """Labels, final weights and folds of a block, and the positions of the chosen rows."""
        book = self.source.book(block)
        first, rows = int(self._first_rows[block]), len(book.y)
        if self._weight is not None:
            book = replace(book, weight=self._weight[first : first + rows])
        if self.chosen.class_factors != (1.0, 1.0):
            book = replace(book, weight=book.weight * np.array(self.chosen.class_factors)[book.y])
        chosen = np.ones(rows, dtype=np.bool_) if self._mask is None else self._mask[first : first + rows]
        if self.folds is not None:
            chosen = chosen & np.isin(book.fold, self.folds)
        return book, np.flatnonzero(chosen)

    def _choose(self, balance: bool) -> ChosenEvents:
        """Count the chosen events of each block and sum their weights: one pass over labels, weights and folds."""
        if self.folds is not None and (wrong := [k for k in self.folds if not 0 <= k < self.source.n_folds]):
            raise ConfigError(f"there is no fold {wrong[0]}: expected 0 to {self.source.n_folds - 1}")
        counts = np.zeros(len(self.source.block_rows), dtype=np.int64)
        sums = np.zeros((2, 2))  # (signed or absolute, class)
        self.chosen = ChosenEvents(counts, (0.0, 0.0), (0.0, 0.0))
        for block in range(len(counts)):
            book, rows = self._weighted(block)
            counts[block] = len(rows)
            for i, weight in enumerate((book.weight[rows], np.abs(book.weight[rows]))):
                sums[i] += np.bincount(book.y[rows], weight, minlength=2)
        if not counts.any():
            raise ConfigError("no event is chosen by folds and mask")
        signed, absolute = ((float(s[0]), float(s[1])) for s in sums)
        chosen = ChosenEvents(counts, signed, absolute)
        return replace(chosen, class_factors=_balancing(signed)) if balance else chosen

    def _groups_of(self) -> list[Group]:
        """What is read, in the order in which it is kept: flat columns, collections, columns as stored."""
        float32 = np.dtype(np.float32)
        groups = [Group(self.flat, False, float32)] if self.flat else []
        groups += [Group(collection.columns, True, float32) for collection in self.collections.values()]
        for group in groups:
            for name in group.names:
                if self._schema(name).jagged != group.jagged:
                    kind, other = ("a flat", "`collections`") if group.jagged else ("a jagged", "`flat`")
                    raise ConfigError(f"{name!r} is {kind} column, it cannot be one of {other}")
        stored = [self._schema(name) for name in self.columns]
        return groups + [Group((column.name,), column.jagged, np.dtype(column.dtype)) for column in stored]

    def _schema(self, name: str) -> ColumnSchema:
        try:
            return self.source.schema[name]
        except KeyError:
            raise DatasetError(unknown_name("column", name, self.source.schema)) from None


@dataclass(frozen=True)
class _Window:
    """A window in memory, the order of its events, and where those are that this rank has read."""

    buffer: ShuffleBuffer
    order: NDArray[np.int64]
    place: NDArray[np.int64] | None  # in the buffer, −1 for events of other ranks; None: all are here

    def events(self, start: int, stop: int) -> NDArray[np.int64]:
        """Places in the buffer of this rank's events among those from ``start`` to ``stop`` of the order."""
        events = self.order[start:stop]
        if self.place is None:
            return events
        places = self.place[events]
        return places[places >= 0]


def _balancing(signed: tuple[float, float]) -> tuple[float, float]:
    if min(signed) <= 0:
        raise WeightError(f"classes cannot be balanced: their sums of weights are {signed[0]:g} and {signed[1]:g}")
    half = sum(signed) / 2
    return half / signed[0], half / signed[1]


def _of_rows(name: str, array: NDArray[Any], rows: int) -> NDArray[Any]:
    if array.shape != (rows,):
        raise ConfigError(f"expected a {name} of shape ({rows},), one for each row, got {array.shape}")
    return array
