"""The baskets of a TTree branch: where they are, which entries they hold, and which checksum covers their values.

The list of baskets in the tree, the key of each basket, its own header and its compressed blocks say the same things
independently; they are compared. Layout: https://root.cern/doc/master/classTBasket.html (TBasket::Streamer).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fivesigma.read.record import FileBytes, Place, Record, check_blocks, read_record
from fivesigma.read.schema import NOTHING

HEAD = struct.Struct(">Hiiii?")  # at the end of the key: version, fBufferSize, fNevBufSize, fNevBuf, fLast, flag
OFFSET_BYTES = 4  # of each entry offset; the list begins with their number and ends with one more


@dataclass(frozen=True)
class Basket:
    """Entries ``start`` to ``stop`` (excluded) of one branch, in ``nbytes`` bytes from byte ``seek``."""

    start: int
    stop: int
    seek: int
    nbytes: int
    protection: str


def baskets_of(file: FileBytes, place: Place, branch: Any, tree_protection: str) -> list[Basket]:
    """The baskets of a branch as uproot found it, after checking all that is said about them.

    Baskets that stand in the tree's own record (``seek`` 0) have the protection of that record.

    Raises
    ------
    FileFormatError
        if they do not hold every entry once, or tree, key, header and blocks contradict each other.
    """
    entries = int(branch.tree.num_entries)
    edges = [int(e) for e in branch.member("fBasketEntry")[: branch.member("fWriteBasket") + 1]]
    n = len(free_baskets(branch))
    embedded = list(branch.embedded_baskets)
    if not n and not embedded:
        if entries and branch.num_entries and not len(branch.branches):
            raise place.damaged(f"{branch.num_entries:,} entries, but no baskets")
        return []
    found: list[Basket] = []
    total, stored, name = 0, 0, str(branch.member("fName"))
    for i, (seek, nbytes) in enumerate(free_baskets(branch)):
        if i + 1 >= len(edges) or edges[i] > edges[i + 1]:
            raise place.damaged(f"the list of baskets is not in order at basket {i}")
        basket, record = _read_basket(file, place, name, seek, nbytes, (edges[i], edges[i + 1]))
        found.append(basket)
        total += record.keylen + record.objlen
        stored += record.nbytes
    stop = found[-1].stop if found else 0
    for inside in embedded:
        found.append(Basket(stop, stop + int(inside.num_entries), 0, 0, tree_protection))
        stop += int(inside.num_entries)
    if edges[:1] != [0] or stop != entries:
        raise place.damaged(f"its baskets end at entry {stop:,}, but the tree has {entries:,} entries")
    if not embedded and (total, stored) != (branch.member("fTotBytes"), branch.member("fZipBytes")):
        raise place.damaged(
            f"its baskets have {stored:,} bytes ({total:,} unpacked), but the branch says "
            f"{branch.member('fZipBytes'):,} ({branch.member('fTotBytes'):,})"
        )
    return found


def free_baskets(branch: Any) -> list[tuple[int, int]]:
    """Place and length of each basket that has a record of its own, as the tree has them."""
    seeks, nbytes = branch.member("fBasketSeek"), branch.member("fBasketBytes")
    found = []
    for seek, length in zip(seeks[: branch.member("fWriteBasket")], nbytes, strict=False):
        if not seek:
            break
        found.append((int(seek), int(length)))
    return found


def _read_basket(
    file: FileBytes, place: Place, name: str, seek: int, nbytes: int, entries: tuple[int, int]
) -> tuple[Basket, Record]:
    start, stop = entries
    what = f"the basket of entries {start:,} to {stop:,} at byte {seek:,}"
    record = read_record(file, place, seek)
    if record.class_name != b"TBasket" or record.nbytes != nbytes:
        raise place.damaged(
            f"{what}: expected a TBasket of {nbytes:,} bytes, got {record.class_name!r} of {record.nbytes:,}"
        )
    if record.name.decode("utf-8", "surrogateescape") != name:
        raise place.damaged(f"{what} is of another branch: {record.name!r}")
    head = file.read(seek + record.keylen - HEAD.size, HEAD.size)
    _, _, entry_bytes, events, last, _ = HEAD.unpack(head)
    border = last - record.keylen  # bytes of values; entry offsets follow
    if events != stop - start or not 0 <= border <= record.objlen:
        raise place.damaged(f"{what} says that it has {events:,} entries in {border:,} of its {record.objlen:,} bytes")
    if border == record.objlen:
        consistent = entry_bytes * events == border
    else:
        consistent = record.objlen - border == OFFSET_BYTES * (events + 2)
    if not consistent:
        raise place.damaged(f"{what}: {border:,} bytes of values do not fit its {events:,} entries")
    protection = check_blocks(file, place, seek + record.keylen, record.stored, record.objlen)
    return Basket(start, stop, seek, nbytes, protection), record


def protection_of(parts: Iterable[str]) -> str:
    """What protects a branch, from what protects its baskets or pages.

    >>> protection_of(["LZ4 xxh64", "LZ4 xxh64"]), protection_of(["LZ4 xxh64", "nothing"]), protection_of([])
    ('LZ4 xxh64', 'LZ4 xxh64, but nothing in 1 of 2', '')
    """
    parts = list(parts)
    bare = parts.count(NOTHING)
    words = ", ".join(dict.fromkeys(part for part in parts if part != NOTHING))
    if not words:
        return NOTHING if parts else ""
    return f"{words}, but {NOTHING} in {bare:,} of {len(parts):,}" if bare else words
