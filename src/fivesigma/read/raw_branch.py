"""``RawBranch``: a TTree branch of plain numbers, read basket by basket as the bytes stand there.

This is the fast way through most files; whatever else a branch can be is uproot's to read, see `fivesigma.read.root`.
Both give the same values, and tests compare them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged
from fivesigma.read.basket import HEAD, OFFSET_BYTES
from fivesigma.read.record import FileBytes, Place, parse_key
from fivesigma.read.schema import NOTHING
from fivesigma.read.unpack import unpacked


@dataclass(frozen=True)
class Values:
    """What one basket has: ``values`` as they stand there, big-endian; ``offsets`` int64 (entries + 1,) if jagged."""

    values: NDArray[Any]
    offsets: NDArray[np.int64] | None

    def between(self, start: int, stop: int) -> Values:
        """Some of its entries."""
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

    def column(self, file: FileBytes, start: int, stop: int) -> Column:
        """Entries ``start`` to ``stop`` (excluded), in native byte order.

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
        counts = [np.diff(part.offsets) for part in parts if part.offsets is not None]
        offsets = np.zeros(stop - start + 1, dtype=np.int64)
        if counts:
            np.cumsum(np.concatenate(counts), out=offsets[1:])
        return Jagged(values, offsets)

    def baskets(self, file: FileBytes, start: int, stop: int) -> Iterator[Values]:
        """Entries ``start`` to ``stop`` (excluded), basket by basket; raises as `column`."""
        first = int(np.searchsorted(self.edges, start, side="right")) - 1
        for i in range(first, len(self.seeks)):
            begin, end = int(self.edges[i]), int(self.edges[i + 1])
            if begin >= stop:
                return
            try:
                found = self._basket(file, i)
            except ValueError as error:
                raise self.place.damaged(f"cannot read entries {begin:,} to {end:,}: {error}") from error
            low, high = max(start, begin), min(stop, end)
            if self.counter is not None and found.offsets is not None:
                self._check_counts(file, self.counter, low, found.between(low - begin, high - begin))
            yield found.between(low - begin, high - begin)

    def _basket(self, file: FileBytes, i: int) -> Values:
        seek, nbytes = int(self.seeks[i]), int(self.nbytes[i])
        entries = int(self.edges[i + 1] - self.edges[i])
        content = file.read(seek, nbytes)
        record, at, _ = parse_key(self.place, content, 0)
        what = f"the basket at byte {seek:,}"
        if (at, record.nbytes) != (seek, nbytes) or record.keylen > nbytes:
            raise self.place.damaged(f"{what} says that it is at byte {at:,} and has {record.nbytes:,} bytes")
        try:
            _, _, _, events, last, _ = HEAD.unpack_from(content, record.keylen - HEAD.size)
        except struct.error as error:
            raise self.place.damaged(f"{what} has a key that is too short") from error
        packed = np.frombuffer(content, dtype=np.uint8)[record.keylen :]
        whole = packed if len(packed) == record.objlen else unpacked(packed, record.objlen)
        border = last - record.keylen
        if events != entries or not 0 <= border <= len(whole):
            raise self.place.damaged(f"{what}: expected {entries:,} entries, got {events:,} in {border:,} bytes")
        if not self.jagged:
            if border != entries * self.dtype.itemsize:
                raise self.place.damaged(f"{what}: {border:,} bytes of values do not fit its {entries:,} entries")
            return Values(whole[:border].view(self.dtype), None)
        return Values(whole[:border].view(self.dtype), self._offsets(whole[border:], entries, border, record.keylen))

    def _offsets(self, content: NDArray[np.uint8], entries: int, border: int, keylen: int) -> NDArray[np.int64]:
        """First value of each entry and the number of values, from the list of entry offsets behind the values."""
        if len(content) != OFFSET_BYTES * (entries + 2):
            raise ValueError(f"{len(content):,} bytes of entry offsets do not fit {entries:,} entries")
        offsets = content.view(">i4")[1:].astype(np.int32) - np.int32(keylen)
        offsets[-1] = border
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("the entry offsets are not in order")
        width = self.dtype.itemsize  # a power of two
        if np.bitwise_or.reduce(offsets) % width:
            raise ValueError(f"an entry does not begin at a multiple of {width} bytes")
        return (offsets >> (width.bit_length() - 1)).astype(np.int64)

    def _check_counts(self, file: FileBytes, counter: RawBranch, start: int, found: Values) -> None:
        """Lengths of lists that no checksum covers are those that the counting branch (``x[n]``) has."""
        assert found.offsets is not None
        got = np.diff(found.offsets)
        counts = np.asarray(counter.column(file, start, start + len(got)))
        wrong = np.flatnonzero(counts != got)
        if wrong.size:
            i = int(wrong[0])
            raise self.place.damaged(
                f"entry {start + i:,} has {got[i]:,} values, but its counter {counter.place.branch!r} says {counts[i]:,}"
            )


@dataclass(frozen=True)
class Piece:
    """Consecutive entries of several branches: the values of each as stored, and the offsets of each."""

    start: int
    values: tuple[NDArray[Any], ...]
    offsets: tuple[NDArray[np.int64], ...]


def pieces(branches: Sequence[RawBranch], file: FileBytes, start: int, stop: int) -> Iterator[Piece]:
    """Jagged branches together, in pieces that end wherever a basket of one of them does; raises as `RawBranch.column`.

    Lengths of lists are compared with the counter of the first branch only: refuse others than the first has.
    """
    branches = [branches[0], *(replace(branch, counter=None) for branch in branches[1:])]
    readers = [branch.baskets(file, start, stop) for branch in branches]
    left: list[Values] = [Values(np.empty(0), np.zeros(1, np.int64))] * len(branches)
    while start < stop:
        left = [part if _entries(part) else next(reader) for part, reader in zip(left, readers, strict=True)]
        n = min(map(_entries, left))
        now = [part.between(0, n) for part in left]
        yield Piece(start, tuple(p.values for p in now), tuple(p.offsets for p in now if p.offsets is not None))
        left = [part.between(n, _entries(part)) for part in left]
        start += n


def _entries(part: Values) -> int:
    return 0 if part.offsets is None else len(part.offsets) - 1


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
