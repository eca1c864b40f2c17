"""Baskets that no tree lists: what is left in a TTree's file of entries that were written, but lost when its writer died.

ROOT saves the description of a tree now and then; `TFile::Recover` goes back to the last one and says so in memory only.
Opened for update, such a file is closed properly, and nothing in its header differs from a file that is complete: its
free list, list of keys and streamers are all there. But the baskets behind that last description still stand in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from fivesigma.core.errors import FileFormatError
from fivesigma.read.basket import free_baskets
from fivesigma.read.header import check_header
from fivesigma.read.record import FileBytes, Place, Record, read_record

_NBYTES = struct.Struct(">i")  # of a record; negative where it was deleted
_FREE = (struct.Struct(">hii"), struct.Struct(">hqq"))  # version, first and last byte of a free segment
_LARGE_VERSION = 1000  # added to the version of segments beyond 2 GB
_COPIED = "write it again; or, if the entries that are left are enough, copy them to a new file with ROOT's `hadd`"


def refuse_orphans(file: FileBytes, place: Place, directory: Any, tree: Any) -> None:
    """Refuse a tree that does not list all of its baskets: its file was recovered.

    ``directory`` is the open file as uproot has it, ``tree`` the one of ``place`` in it. Only baskets behind the tree's own
    record are looked for: those before it may be of an earlier tree of this name that was written over. They are not looked
    for where the records of the file cannot be followed from one to the next.

    Raises
    ------
    FileFormatError
        with the branch and the byte of the first such basket.
    """
    name = str(place.tree)
    own = read_record(file, place, int(directory.key(name).fSeekKey))
    orphans = [
        r for r in _records(file, place, own, _listed(tree)) if r.class_name == b"TBasket" and _same_tree(r, own)
    ]
    if orphans:  # rarely: do other cycles of the tree list them?
        others = (key for key in directory.iterkeys(cycle=True, recursive=True) if key.rpartition(";")[0] == name)
        known: dict[int, int] = {}
        for key in others:
            known |= _listed(directory[key])
        orphans = [record for record in orphans if record.seek not in known]
    if orphans:
        first = orphans[0]
        raise place.damaged(
            f"the file was not closed, but recovered: {len(orphans):,} baskets were written after the description of the "
            f"tree was saved, and their entries are lost (the first, of branch "
            f"{first.name.decode('utf-8', 'replace')!r}, is at byte {first.seek:,})",
            _COPIED,
        )


def _same_tree(basket: Record, tree: Record) -> bool:
    return basket.title == tree.name and basket.directory == tree.directory


def _listed(tree: Any) -> dict[int, int]:
    """Place and length of each basket of a tree."""
    return {seek: nbytes for _, branch in tree.iteritems(recursive=True) for seek, nbytes in free_baskets(branch)}


def _records(file: FileBytes, place: Place, after: Record, listed: dict[int, int]) -> Iterator[Record]:
    """The records behind one of them that are not listed, up to the first byte that is not the begin of a record."""
    at, header = after.seek + after.nbytes, check_header(place.file)
    free = _free_segments(file, place, header.seek_free)
    while at < min(header.end, file.size - _NBYTES.size):
        if at in listed:
            at += listed[at]
            continue
        if at in free:
            at = free[at] + 1
            continue
        (nbytes,) = _NBYTES.unpack(file.read(at, _NBYTES.size))
        if nbytes > 0:
            try:
                record = read_record(file, place, at)
            except FileFormatError:
                return
            yield record
        elif nbytes == 0:
            return
        at += abs(nbytes)


def _free_segments(file: FileBytes, place: Place, seek: int) -> dict[int, int]:
    """First and last byte of each segment in the list of free ones."""
    record = read_record(file, place, seek)
    content, at, found = file.read(seek + record.keylen, record.stored), 0, {}
    while at + _FREE[0].size <= len(content):
        layout = _FREE[_NBYTES.unpack_from(b"\0\0" + content[at : at + 2])[0] > _LARGE_VERSION]
        if at + layout.size > len(content):
            break
        _, first, last = layout.unpack_from(content, at)
        found[first] = last
        at += layout.size
    return found
