"""``padded_batches``: constituents of every entry of ROOT files, in order, as the padded arrays that networks take.

For reading once, without labels, weights and cuts; for training see `fivesigma.dataset.BatchLoader`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fivesigma.core.errors import BranchTypeError, ConfigError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset.event_source import refuse_other_counts, together
from fivesigma.dataset.interleave import raw_constituents, swapped, words
from fivesigma.dataset.padding import Padded, Runs, padded
from fivesigma.read.events import Events
from fivesigma.read.raw_branch import Piece, RawBranch, pieces
from fivesigma.read.record import open_bytes
from fivesigma.read.root import check_unchanged
from fivesigma.read.schema import InputFile

_compiled: Final = njit(nogil=True, cache=True, error_model="numpy")


def padded_batches(events: Events, columns: Sequence[str], length: int, batch_size: int = 1024) -> Iterator[Padded]:
    """Jagged branches of one collection, float32, padded to ``length``; the last batch of a file may be smaller.

    Every basket is unpacked once, and its bytes go to their place in the batch in one pass if the branches are float32
    lists of a TTree; other types take a way that is several times longer. Memory: one basket of each branch.

    Usage::

        for batch in padded_batches(open_events(["data/*.root"]), ("pt", "eta", "phi"), length=64):
            batch.values, batch.mask  # (event, 64, 3), (event, 64)

    Raises
    ------
    MissingBranchError, BranchTypeError, FileFormatError
        as `Events.read`, and for a branch with one value an entry.
    DatasetError
        if an entry has not as many values in each branch.
    """
    if length < 1 or batch_size < 1 or not columns:
        raise ConfigError(f"expected columns, and length and batch_size of at least 1, got {length} and {batch_size}")
    for name, branch in events.require(columns).items():
        if not branch.jagged:
            raise BranchTypeError(
                f"expected a list of values in each entry, got {branch}",
                file=events.files[0].path,
                tree=events.files[0].tree,
                branch=name,
                remedy="read branches with one value an entry with `Events.read`",
            )
    for file in events.files:
        check_unchanged(file)
        raw = raw_constituents(file, columns)
        if raw is None:
            yield from _through_columns(Events((file,)), columns, length, batch_size)
        else:
            yield from _through_bytes(file, raw, length, batch_size)


def _through_bytes(file: InputFile, branches: Sequence[RawBranch], length: int, batch_size: int) -> Iterator[Padded]:
    names = [str(branch.place.branch) for branch in branches]
    left = file.entries
    batch = _Filling(min(batch_size, left), length, len(names))
    with open_bytes(branches[0].place) as content:
        for piece in pieces(branches, content, 0, file.entries, keep=False):
            for name, offsets in zip(names[1:], piece.offsets[1:], strict=True):
                if not np.array_equal(piece.offsets[0], offsets):
                    refuse_other_counts(names[0], np.diff(piece.offsets[0]), name, np.diff(offsets), piece.start)
            begin, entries = 0, len(piece.offsets[0]) - 1
            while begin < entries:
                begin += batch.fill(piece, begin)
                if batch.full:
                    yield batch.padded()
                    left -= len(batch.mask)
                    batch = _Filling(min(batch_size, left), length, len(names))
    check_unchanged(file)


def _through_columns(events: Events, names: Sequence[str], length: int, batch_size: int) -> Iterator[Padded]:
    for part in events.partitions(step=20 * batch_size):
        found = events.read(part, names)
        jagged = [column for name in names if isinstance(column := found[name], Jagged)]
        counts = jagged[0].counts
        for name, column in zip(names[1:], jagged[1:], strict=True):
            refuse_other_counts(names[0], counts, name, column.counts, part.start)
        values = together([column.values for column in jagged], np.dtype(np.float32))
        runs = Runs(values, jagged[0].offsets[:-1], counts)
        for begin in range(0, len(part), batch_size):
            yield padded(runs, np.arange(begin, min(begin + batch_size, len(part))), length)


class _Filling:
    """A batch, of which the first ``used`` events are there."""

    def __init__(self, events: int, length: int, features: int) -> None:
        self.values = np.empty((events, length, features), dtype=np.float32)
        self.mask = np.empty((events, length), dtype=np.bool_)
        self.used = self.truncated = self.lost = 0

    @property
    def full(self) -> bool:
        return self.used == len(self.mask)

    def fill(self, piece: Piece, begin: int) -> int:
        """Events of a piece from ``begin`` on, as many as there is room for; returns how many."""
        offsets = piece.offsets[0][begin : begin + len(self.mask) - self.used + 1]
        some = slice(self.used, self.used + len(offsets) - 1)
        truncated, lost = _pad(words(piece), offsets, self.values[some].view(np.uint32), self.mask[some])
        self.used, self.truncated, self.lost = some.stop, self.truncated + truncated, self.lost + lost
        return len(offsets) - 1

    def padded(self) -> Padded:
        return Padded(self.values, self.mask, self.truncated, self.lost)


@_compiled
def _pad(
    columns: tuple[NDArray[np.uint32], ...],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint32],
    mask: NDArray[np.bool_],
) -> tuple[int, int]:
    """Big-endian values of consecutive events, into native ones of shape (event, length, column)."""
    length = mask.shape[1]
    truncated = lost = 0
    for i in range(len(mask)):
        count = offsets[i + 1] - offsets[i]
        if count > length:
            truncated += 1
            lost += count - length
            count = length
        begin, used, event, marks = np.uint64(offsets[i]), np.uint64(count), out[i], mask[i]
        for k in range(used):
            row = event[k]
            for j in range(len(columns)):
                row[j] = swapped(columns[j][begin + k])
        rest = event[count:].reshape(-1)
        for k in range(np.uint64(len(rest))):
            rest[k] = np.uint32(0)
        for k in range(used):
            marks[k] = True
        for k in range(used, np.uint64(length)):
            marks[k] = False
    return truncated, lost
