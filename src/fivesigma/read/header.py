"""The first bytes of a ROOT file, read by ourselves: uproot opens truncated files as long as nothing missing is read.

Layout: https://root.cern/doc/master/classTFile.html (file header).
"""

from __future__ import annotations

import struct
from pathlib import Path

from fivesigma.core.errors import FileFormatError

MAGIC = b"root"
LARGE_FILE_VERSION = 1_000_000  # added to fVersion in files whose seek pointers have 64 bits
HEADER_BYTES = 100  # fBEGIN of every file written by ROOT 3 or later
_SHOWN = 24  # bytes shown of a file that is not a ROOT file


def check_header(path: Path) -> None:
    """Refuse what is not a complete ROOT file.

    Raises
    ------
    FileFormatError
        if the file does not begin with ``root`` (its first bytes are shown), or is shorter than its header says.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEADER_BYTES)
    if not head.startswith(MAGIC):
        raise FileFormatError(f"not a ROOT file: {describe_bytes(head, size)}", file=path, remedy="check what wrote it")
    end = _declared_end(head)
    if end is None or size < HEADER_BYTES:
        raise FileFormatError(f"truncated in its header: {size} bytes", file=path, remedy="copy the file again")
    if size < end:
        raise FileFormatError(
            f"truncated: {size:,} bytes, but its header says {end:,} ({end - size:,} are missing)",
            file=path,
            remedy="copy the file again, or leave it out of the sample",
        )


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


def _declared_end(head: bytes) -> int | None:
    """fEND, the first byte after the last record."""
    if len(head) < 20:
        return None
    (version,) = struct.unpack(">i", head[4:8])
    code, stop = (">q", 20) if version >= LARGE_FILE_VERSION else (">i", 16)
    end: int = struct.unpack(code, head[12:stop])[0]
    return end
