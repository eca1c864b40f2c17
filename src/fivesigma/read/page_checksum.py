"""Checksums of an RNTuple: its envelopes (header, footer, page lists) and its pages. uproot compares few of them.

Each envelope ends with the xxh3 64-bit digest of what stands before; so does the anchor, and, unless its writer chose
otherwise, each page. What uproot checks are `assert` statements, which `python -O` removes; all of it is done here.
Format: https://github.com/root-project/root/blob/master/tree/ntuple/doc/BinaryFormatSpecification.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from uproot.compression import decompress
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

from fivesigma.read.basket import protection_of
from fivesigma.read.record import FileBytes, Place, check_blocks

_ANCHOR = struct.Struct(">HHHHQQQQQQQ")
_ANCHOR_MEMBERS = (
    *("fVersionEpoch", "fVersionMajor", "fVersionMinor", "fVersionPatch"),
    *("fSeekHeader", "fNBytesHeader", "fLenHeader", "fSeekFooter", "fNBytesFooter", "fLenFooter", "fMaxKeySize"),
)
_DIGEST = struct.Struct("<Q")
_HEADER, _FOOTER, _PAGE_LIST = 1, 2, 3  # types of envelopes
_TYPE_BITS = 16  # of the first 64 bits of an envelope; the others are its length
_HEADER_DIGEST_AT = {_FOOTER: 16, _PAGE_LIST: 8}  # byte at which footer and page lists repeat the header's digest

PAGE_DIGEST = "page xxh3"
"""Protection of pages with a checksum of their own."""


@dataclass(frozen=True)
class Page:
    """One page: ``nbytes`` from byte ``seek``, which unpack to ``unpacked``; its digest follows if it has one."""

    seek: int
    nbytes: int
    unpacked: int
    has_digest: bool

    @property
    def stored(self) -> int:
        """Bytes in the file, with the digest."""
        return self.nbytes + (_DIGEST.size if self.has_digest else 0)


@dataclass(frozen=True)
class PageGroup:
    """The pages of one field in one cluster, entries ``start`` to ``stop`` (excluded)."""

    start: int
    stop: int
    pages: tuple[Page, ...]


def check_envelopes(file: FileBytes, place: Place, ntuple: Any) -> None:
    """Anchor, header, footer and page lists are as they were written.

    Raises
    ------
    FileFormatError
        naming the part whose checksum differs.
    """
    members = [int(ntuple.member(name)) for name in _ANCHOR_MEMBERS]
    if xxhash.xxh3_64_intdigest(_ANCHOR.pack(*members)) != ntuple._anchor_checksum:
        raise place.damaged("the checksum of the RNTuple's anchor differs")
    anchor = dict(zip(_ANCHOR_MEMBERS, members, strict=True))
    digest = 0
    for kind, name in ((_HEADER, "Header"), (_FOOTER, "Footer")):
        where = (anchor[f"fSeek{name}"], anchor[f"fNBytes{name}"], anchor[f"fLen{name}"])
        envelope = _envelope(file, place, ntuple, kind, f"the RNTuple's {name.lower()}", where)
        digest = digest or _digest_of(envelope)
        _check_header_digest(place, kind, envelope, digest)
    for i, group in enumerate(ntuple.footer.cluster_group_records):
        locator = group.page_list_link.locator
        where = (int(locator.offset), int(locator.num_bytes), int(group.page_list_link.env_uncomp_size))
        envelope = _envelope(file, place, ntuple, _PAGE_LIST, f"page list {i}", where)
        _check_header_digest(place, _PAGE_LIST, envelope, digest)


def _envelope(file: FileBytes, place: Place, ntuple: Any, kind: int, name: str, where: tuple[int, int, int]) -> bytes:
    seek, nbytes, length = where
    check_blocks(file, place, seek, nbytes, length)
    content = file.read(seek, nbytes)
    if nbytes != length:
        chunk = Chunk.wrap(ntuple.file.source, np.frombuffer(content, np.uint8))
        content = decompress(chunk, Cursor(0), {}, nbytes, length).raw_data.tobytes()
    if len(content) < 2 * _DIGEST.size or xxhash.xxh3_64_intdigest(content[: -_DIGEST.size]) != _digest_of(content):
        raise place.damaged(f"the checksum of {name} differs ({nbytes:,} bytes at byte {seek:,})")
    (head,) = _DIGEST.unpack_from(content)
    if head != kind | len(content) << _TYPE_BITS:
        raise place.damaged(f"{name} has another type or length than expected")
    return content


def _digest_of(envelope: bytes) -> int:
    digest: int = _DIGEST.unpack_from(envelope, len(envelope) - _DIGEST.size)[0]
    return digest


def _check_header_digest(place: Place, kind: int, envelope: bytes, digest: int) -> None:
    """Footer and page lists are those of this header, not of another file."""
    if kind in _HEADER_DIGEST_AT and _DIGEST.unpack_from(envelope, _HEADER_DIGEST_AT[kind])[0] != digest:
        raise place.damaged("footer or page list belong to another header")


class FieldPages:
    """Which pages hold the values of the fields of an RNTuple whose envelopes were checked."""

    def __init__(self, ntuple: Any) -> None:
        self._fields = list(ntuple.field_records)
        self._columns = list(ntuple.column_records)
        self._clusters = list(ntuple.cluster_summaries)
        self._lists = list(ntuple.page_link_list)
        self._children: dict[int, list[int]] = {}
        for i, record in enumerate(self._fields):
            if record.parent_field_id != i:
                self._children.setdefault(record.parent_field_id, []).append(i)
        self._columns_of: dict[int, list[int]] = {}
        for i, column in enumerate(self._columns):
            self._columns_of.setdefault(column.field_id, []).append(i)

    def groups(self, field: int, start: int = 0, stop: int | None = None) -> Iterator[PageGroup]:
        """The pages of a field, cluster by cluster, of clusters with entries from ``start`` to ``stop``.

        Also those of its members, of the lists in which it stands, of every representation of its values, and for a
        projected field those of its source.
        """
        columns = self._all_columns(field)
        for cluster, listed in zip(self._clusters, self._lists, strict=True):
            first, end = int(cluster.num_first_entry), int(cluster.num_first_entry + cluster.num_entries)
            if end <= start or (
                stop is not None and first > stop
            ):  # uproot decodes also the cluster that begins at stop
                continue
            pages = [
                self._page(column, page)
                for column in columns
                if column < len(listed)  # a column that was added later has no pages in earlier clusters
                for page in listed[column].pages
            ]
            yield PageGroup(first, end, tuple(pages))

    def _page(self, column: int, page: Any) -> Page:
        unpacked = -(-int(page.num_elements) * int(self._columns[column].nbits) // 8)
        return Page(int(page.locator.offset), int(page.locator.num_bytes), unpacked, bool(page.has_checksum))

    def _all_columns(self, field: int) -> list[int]:
        wanted = {field}
        pending = [field]
        while pending:  # what is below it, and below what it shows
            i = pending.pop()
            source = self._fields[i].source_field_id
            below = [*self._children.get(i, ()), *([] if source is None else [source])]
            pending += [j for j in below if j not in wanted]
            wanted.update(below)
        for i in tuple(wanted):  # the lists around it
            while self._fields[i].parent_field_id != i:
                i = self._fields[i].parent_field_id
                wanted.add(i)
        sources = {self._fields[i].source_field_id for i in wanted} - {None}
        return sorted(column for i in wanted | sources for column in self._columns_of.get(i, ()))


def check_pages(file: FileBytes, place: Place, group: PageGroup) -> str:
    """What protects these pages, after comparing their checksums and compressed blocks.

    Raises
    ------
    FileFormatError
        naming field, entries and byte of a page that is not as it was written.
    """
    parts = []
    for page in group.pages:
        if page.has_digest:
            content = file.read(page.seek, page.stored)
            if xxhash.xxh3_64_intdigest(content[: page.nbytes]) != _digest_of(content):
                raise place.damaged(
                    f"the checksum of a page of entries {group.start:,} to {group.stop:,} differs "
                    f"({page.nbytes:,} bytes at byte {page.seek:,})"
                )
            parts.append(PAGE_DIGEST)
        else:
            parts.append(check_blocks(file, place, page.seek, page.nbytes, page.unpacked))
    return protection_of(parts)


def field_protection(file: FileBytes, place: Place, groups: Iterator[PageGroup]) -> str:
    """What protects the pages of a field; only those without a digest are looked at."""
    return protection_of(
        PAGE_DIGEST if page.has_digest else check_blocks(file, place, page.seek, page.nbytes, page.unpacked)
        for group in groups
        for page in group.pages
    )
