"""``RawBranch``: a TTree branch of plain numbers, read basket by basket as the bytes stand there.

This is the fast way through most files; whatever else a branch can be is uproot's to read, see `fivesigma.read.root`.
Both give the same values, and tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged
from fivesigma.read.basket import HEAD, OFFSET_BYTES
from fivesigma.read.record import FileBytes, Place, Record, read_record
from fivesigma.read.schema import NOTHING
from fivesigma.read.unpack import Room, unpacked

_AT_A_TIME = 1 << 19  # bytes of values that are stored as they are: those of a few branches stay in the cache


@dataclass(frozen=True)
class Values:
    """What one basket has: ``values`` as they stand there, big-endian; ``offsets`` int64 (entries + 1,) if jagged."""

    values: NDArray[Any]
    offsets: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def between(self, start: int, stop: int) -> Values:
        """Some of its entries."""
        if start == 0 and stop == len(self):
            return self
        if self.offsets is None:
            return Values(self.values[start:stop], None)
        offsets = self.offsets[start : stop + 1]
        return Values(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


@dataclass(frozen=True)
class RawBranch:
    """Where the baskets of a branch are, and what is in them.

    ``edges`` are the first entries of its baskets and the number of entries, shape (baskets + 1,); ``seeks`` and
    ``nbytes`` where each basket stands in the file. ``counter`` is the branch with the lengths of its lists, if no
    checksum covers them.
    """

    place: Place
    dtype: np.dtype[Any]  # as stored
    jagged: bool
    edges: NDArray[np.int64]
    seeks: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    counter: RawBranch | None = None

    @classmethod
    def of(cls, place: Place, branch: Any, protection: str) -> RawBranch | None:
        """A branch as uproot found it and the scan checked it; None if it is not one of plain numbers in baskets."""
        dtype, jagged = _plain(branch.interpretation)
        n = int(branch.member("fWriteBasket"))
        if dtype is None or len(branch.embedded_baskets) or branch.num_baskets != n or (jagged and _no_offsets(branch)):
            return None
        counter = None
        if jagged and NOTHING in protection:
            counted = branch.count_branch
            if counted is None:
                return None
            counter = cls.of(place.of_branch(counted.name), counted, protection)
            if counter is None or counter.jagged:
                return None
        members = [
            np.asarray(branch.member(name), np.int64) for name in ("fBasketEntry", "fBasketSeek", "fBasketBytes")
        ]
        edges, seeks, nbytes = members[0][: n + 1], members[1][:n], members[2][:n]
        return cls(place, dtype, jagged, edges, seeks, nbytes, counter)

    def column(self, file: FileBytes, start: int, stop: int, compared: list[NDArray[np.int64]] | None = None) -> Column:
        """Entries ``start`` to ``stop`` (excluded), in native byte order.

        ``compared`` are offsets of these entries in other branches that agree with their counters: a branch with the
        same needs no other witness. Its own are added.

        Raises
        ------
        FileFormatError
            if the bytes contradict each other or their checksum.
        """
        parts = list(self.baskets(file, start, stop))
        values = np.empty(sum(len(part.values) for part in parts), dtype=self.dtype.newbyteorder("="))
        begin = 0
        for part in parts:
            values[begin : begin + len(part.values)] = part.values
            begin += len(part.values)
        if not self.jagged:
            return values
        lengths = [np.diff(part.offsets) for part in parts if part.offsets is not None]
        offsets = np.zeros(stop - start + 1, dtype=np.int64)
        if lengths:
            np.cumsum(np.concatenate(lengths), out=offsets[1:])
        if self.counter is not None:
            self._compare_offsets(file, start, offsets, [] if compared is None else compared)
        return Jagged(values, offsets)

    def baskets(self, file: FileBytes, start: int, stop: int, packed: Room | None = None) -> Iterator[Values]:
        """Entries ``start`` to ``stop`` (excluded), basket by basket; raises as `column`, but counts are not compared.

        With ``packed``, memory for what has to be unpacked, values are overwritten by those that come next.
        """
        first, whole = int(np.searchsorted(self.edges, start, side="right")) - 1, Room()
        for i in range(first, len(self.seeks)):
            begin, end = int(self.edges[i]), int(self.edges[i + 1])
            if begin >= stop:
                return
            try:
                yield from self._basket(file, i, (max(start, begin) - begin, min(stop, end) - begin), packed, whole)
            except ValueError as error:
                raise self.place.damaged(f"cannot read entries {begin:,} to {end:,}: {error}") from error
            if packed is None:
                whole = Room()

    def _basket(
        self, file: FileBytes, i: int, some: tuple[int, int], packed: Room | None, whole: Room
    ) -> Iterator[Values]:
        """Some entries of a basket: a few at a time if they are stored as they are and need not be kept."""
        record, border = self._head(file, i)
        seek, (low, high) = record.seek + record.keylen, some
        if record.stored != record.objlen:
            content = unpacked(file.read_into(packed or Room(), seek, record.stored), record.objlen, whole)
            offsets = self._offsets(content[border:], i, border, record.keylen) if self.jagged else None
            yield Values(content[:border].view(self.dtype), offsets).between(low, high)
            return
        offsets, width, step = None, self.dtype.itemsize, high - low
        if self.jagged:
            behind = np.frombuffer(file.read(seek + border, record.objlen - border), dtype=np.uint8)
            offsets = self._offsets(behind, i, border, record.keylen)
        if packed is not None:
            step = max(1, _AT_A_TIME * self._entries(i) // max(border, 1))
        for begin in range(low, high, step):
            end = min(begin + step, high)
            a, b = (begin, end) if offsets is None else (int(offsets[begin]), int(offsets[end]))
            values = file.read_into(whole, seek + a * width, (b - a) * width).view(self.dtype)
            yield Values(values, None if offsets is None else offsets[begin : end + 1] - a)

    def _entries(self, i: int) -> int:
        return int(self.edges[i + 1] - self.edges[i])

    def _head(self, file: FileBytes, i: int) -> tuple[Record, int]:
        """The key of a basket, and how many bytes of values it has, compared with what the tree says."""
        seek, nbytes, entries = int(self.seeks[i]), int(self.nbytes[i]), self._entries(i)
        record = read_record(file, self.place, seek)
        what = f"the basket at byte {seek:,}"
        if record.nbytes != nbytes or record.keylen < HEAD.size:
            raise self.place.damaged(
                f"{what} says that it has {record.nbytes:,} bytes, of them {record.keylen:,} in its key"
            )
        _, _, _, events, last, _ = HEAD.unpack(file.read(seek + record.keylen - HEAD.size, HEAD.size))
        border = last - record.keylen
        if events != entries or not 0 <= border <= record.objlen:
            raise self.place.damaged(f"{what}: expected {entries:,} entries, got {events:,} in {border:,} bytes")
        if not self.jagged and border != entries * self.dtype.itemsize:
            raise self.place.damaged(f"{what}: {border:,} bytes of values do not fit its {entries:,} entries")
        return record, border

    def _offsets(self, content: NDArray[np.uint8], i: int, border: int, keylen: int) -> NDArray[np.int64]:
        """First value of each entry and the number of values, from the list of entry offsets behind the values."""
        entries = self._entries(i)
        if len(content) != OFFSET_BYTES * (entries + 2):
            raise ValueError(f"{len(content):,} bytes of entry offsets do not fit {entries:,} entries")
        offsets = content.view(">i4")[1:].astype(np.int32)
        offsets -= np.int32(keylen)
        offsets[-1] = border
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("the entry offsets are not in order")
        width = self.dtype.itemsize  # a power of two
        if np.bitwise_or.reduce(offsets) % width:
            raise ValueError(f"an entry does not begin at a multiple of {width} bytes")
        offsets >>= width.bit_length() - 1
        return offsets.astype(np.int64)

    def _compare_offsets(
        self, file: FileBytes, start: int, offsets: NDArray[np.int64], compared: list[NDArray[np.int64]]
    ) -> None:
        if self.counter is not None and not any(np.array_equal(offsets, known) for known in compared):
            self.compare_counts(start, offsets, self.counter.column(file, start, start + len(offsets) - 1))
            compared.append(offsets)

    def compare_counts(self, start: int, offsets: NDArray[np.int64], counts: Column) -> None:
        """Lengths of lists that no checksum covers are those that the counting branch (``x[n]``) has.

        Raises
        ------
        FileFormatError
            naming the first entry (the first of them is ``start``) where they are not.
        """
        got, expected = np.diff(offsets), np.asarray(counts)
        if np.array_equal(got, expected):
            return
        i = int(np.argmax(got != expected))
        counter = None if self.counter is None else self.counter.place.branch
        raise self.place.damaged(
            f"entry {start + i:,} has {got[i]:,} values, but its counter {counter!r} says {expected[i]:,}"
        )


@dataclass(frozen=True)
class Piece:
    """Consecutive entries of several branches: the values of each as stored, and the offsets of each."""

    start: int
    values: tuple[NDArray[Any], ...]
    offsets: tuple[NDArray[np.int64], ...]


def pieces(
    branches: Sequence[RawBranch], file: FileBytes, start: int, stop: int, *, keep: bool = True
) -> Iterator[Piece]:
    """Jagged branches together, in pieces that end wherever a basket of one of them does; raises as `RawBranch.column`.

    A piece that is not to be kept is smaller, and overwritten by the next one. Lengths of lists are compared with the
    counter of the first branch only: refuse others than the first has.
    """
    first = branches[0]
    packed = None if keep else Room()
    read = [*branches, *([] if first.counter is None else [first.counter])]
    readers = [branch.baskets(file, start, stop, packed) for branch in read]
    left: list[Values] = [Values(np.empty(0), None)] * len(read)
    while start < stop:
        left = [part if len(part) else next(reader) for part, reader in zip(left, readers, strict=True)]
        n = min(map(len, left))
        now = [part.between(0, n) for part in left]
        offsets = tuple(part.offsets for part in now if part.offsets is not None)
        if first.counter is not None:
            first.compare_counts(start, offsets[0], now.pop().values)
        yield Piece(start, tuple(part.values for part in now), offsets)
        left = [part.between(n, len(part)) for part in left]
        start += n


def _plain(interpretation: Any) -> tuple[np.dtype[Any] | None, bool]:
    """Type of the values as stored, None for all that is more than numbers; and whether each entry has a list of them."""
    jagged = type(interpretation) is uproot.AsJagged
    content = interpretation.content if jagged else interpretation
    if type(content) is not uproot.AsDtype or (jagged and interpretation.header_bytes):
        return None, jagged
    stored, made = content.from_dtype, content.to_dtype
    same = stored.shape == () and stored.names is None and made == stored.newbyteorder("=")
    return (stored if same else None), jagged


def _no_offsets(branch: Any) -> bool:
    """Whether the baskets have no entry offsets, so that only the counter says where each list begins."""
    features = branch.member("fIOFeatures", none_if_missing=True)
    return branch.member("fEntryOffsetLen") == 0 or (features is not None and features.member("fIOBits") != 0)
