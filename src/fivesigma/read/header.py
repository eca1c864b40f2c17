"""The first bytes of a ROOT file, read by ourselves: uproot opens truncated files as long as nothing missing is read.

Layout: https://root.cern/doc/master/classTFile.html (file header).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fivesigma.core.errors import FileFormatError
from fivesigma.read.remote import FilePath, open_binary, status_of

MAGIC = b"root"
LARGE_FILE_VERSION = 1_000_000  # added to fVersion in files whose seek pointers have 64 bits
HEADER_BYTES = 100  # fBEGIN of every file written by ROOT 3 or later
_SHOWN = 24  # bytes shown of a file that is not a ROOT file
_SMALL = struct.Struct(">4siiiiiii")  # magic, fVersion, fBEGIN, fEND, fSeekFree, fNbytesFree, nfree, fNbytesName
_LARGE = struct.Struct(">4siiqqiii")
NOT_CLOSED_REMEDY = (
    "write it again; or recover it with ROOT's `TFile::Recover`, copy what is left to a new file with `hadd`, and check "
    "the number of events"
)


@dataclass(frozen=True)
class Header:
    """What the first bytes of a ROOT file say: where its records begin and end, and where its free list is."""

    version: int
    begin: int
    end: int
    seek_free: int
    nbytes_name: int


def check_header(path: FilePath) -> Header:
    """Refuse what is not a complete ROOT file.

    Raises
    ------
    FileFormatError
        if the file does not begin with ``root`` (its first bytes are shown), is shorter than its header says, or was
        not closed: it has no free list, or goes on after the end that its header says.
    """
    size = status_of(path).size
    with open_binary(path) as file:
        head = file.read(HEADER_BYTES)
    if not head.startswith(MAGIC):
        raise FileFormatError(f"not a ROOT file: {describe_bytes(head, size)}", file=path, remedy="check what wrote it")
    header = _parse(head)
    if header is None or size < HEADER_BYTES:
        raise FileFormatError(f"truncated in its header: {size} bytes", file=path, remedy="copy the file again")
    if size < header.end:
        raise FileFormatError(
            f"truncated: {size:,} bytes, but its header says {header.end:,} ({header.end - size:,} are missing)",
            file=path,
            remedy="copy the file again, or leave it out of the sample",
        )
    if header.begin != HEADER_BYTES:
        raise FileFormatError(
            f"damaged header: the first record is said to be at byte {header.begin:,}, expected {HEADER_BYTES}",
            file=path,
            remedy="copy the file again from its source",
        )
    if header.seek_free <= header.begin:
        raise FileFormatError("the file was not closed: its free list is missing", file=path, remedy=NOT_CLOSED_REMEDY)
    if size > header.end:
        raise FileFormatError(
            f"the file was not closed, or something was appended: {size:,} bytes, but its header says {header.end:,}",
            file=path,
            remedy=NOT_CLOSED_REMEDY,
        )
    return header


def describe_bytes(head: bytes, size: int) -> str:
    """What a wrong file begins with, in words.

    >>> describe_bytes(b"<!DOCTYPE html><html>", 500)
    "an HTML page: b'<!DOCTYPE html><html>'"
    """
    if size == 0:
        return "it has zero bytes"
    shown = repr(head[:_SHOWN])
    if not head.strip(b"\0"):
        return f"it begins with zero bytes: {shown}"
    if head.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return f"an HTML page: {shown}"
    return f"it begins with {shown}"


def _parse(head: bytes) -> Header | None:
    """None if the bytes end too early."""
    if len(head) < _SMALL.size:
        return None
    (version,) = struct.unpack_from(">i", head, len(MAGIC))
    layout = _LARGE if version >= LARGE_FILE_VERSION else _SMALL
    if len(head) < layout.size:
        return None
    _, version, begin, end, seek_free, _, _, nbytes_name = layout.unpack_from(head)
    return Header(version, begin, end, seek_free, nbytes_name)
