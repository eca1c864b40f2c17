"""Records of a ROOT file: the key before each object, and the compressed blocks behind it.

uproot believes the lengths that stand there; here they are compared with each other and with the file, before anything
is allocated. Layout: https://root.cern/doc/master/classTFile.html and https://root.cern/doc/master/classTKey.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FileFormatError
from fivesigma.read.header import NOT_CLOSED_REMEDY
from fivesigma.read.remote import FilePath, open_binary, status_of
from fivesigma.read.schema import DAMAGED_REMEDY, NOTHING
from fivesigma.read.unpack import Room

_KEY = struct.Struct(">ihiIhh")  # fNbytes, fVersion, fObjlen, fDatime, fKeylen, fCycle
_POINTERS = (struct.Struct(">ii"), struct.Struct(">qq"))  # fSeekKey, fSeekPdir
_MOST_KEYS = 256  # bytes: most are shorter
_LARGE_VERSION = 1000  # added to fVersion of keys whose seek pointers have 64 bits
_BLOCK_BYTES = 9  # two letters of the codec, its method, compressed and uncompressed length of 3 bytes each
_CODECS = {b"ZL": "ZLIB", b"XZ": "LZMA", b"L4": "LZ4", b"ZS": "ZSTD"}
_XZ_CHECK = 7  # byte of an xz stream that names its check: 0 is none
_ZSTD_FLAGS, _ZSTD_CHECKSUM = 4, 0x04  # byte of a zstd frame, and its flag that a checksum follows the content


@dataclass(frozen=True)
class Place:
    """Where in the input something is: a file, a tree, a branch."""

    file: FilePath
    tree: str | None = None
    branch: str | None = None

    def of_branch(self, branch: str) -> Place:
        """A branch of this tree."""
        return replace(self, branch=branch)

    def damaged(self, cause: str, remedy: str = DAMAGED_REMEDY) -> FileFormatError:
        """The error to raise for bytes that contradict each other or their checksum."""
        return FileFormatError(
            cause,
            file=self.file,
            tree=self.tree,
            branch=self.branch,
            remedy=remedy,
        )

    def not_closed(self, cause: str) -> FileFormatError:
        """The error to raise for a file without what ROOT writes when it closes it."""
        return self.damaged(cause, NOT_CLOSED_REMEDY)


@dataclass(frozen=True)
class FileBytes:
    """The bytes of an open file by their place; nothing outside of it is ever asked for.

    ``descriptor`` is that of a local file, whose bytes can be put where they are to go.
    """

    place: Place
    size: int
    file: IO[bytes]
    descriptor: int | None = None

    def read(self, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``.

        Raises
        ------
        FileFormatError
            if they are not all in the file.
        """
        self._refuse_outside(start, length)
        self.file.seek(start)
        content = self.file.read(length)
        self._refuse_fewer(start, length, len(content))
        return content

    def read_into(self, room: Room, start: int, length: int) -> NDArray[np.uint8]:
        """``length`` bytes from ``start``, which may stand in ``room``; raises as `read`."""
        self._refuse_outside(start, length)
        if self.descriptor is None:
            return np.frombuffer(self.read(start, length), dtype=np.uint8)
        found, got = room.of(length), 0
        while got < length and (n := os.preadv(self.descriptor, [found.data[got:]], start + got)):
            got += n
        self._refuse_fewer(start, length, got)
        return found

    def _refuse_outside(self, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > self.size:
            raise self.place.damaged(
                f"{length:,} bytes are said to stand at byte {start:,}, but the file has {self.size:,}"
            )

    def _refuse_fewer(self, start: int, length: int, got: int) -> None:
        if got != length:
            raise self.place.damaged(f"expected {length:,} bytes at byte {start:,}, got {got:,}")


@contextmanager
def open_bytes(place: Place) -> Iterator[FileBytes]:
    """Open a file for reading at any place."""
    with open_binary(place.file) as file:
        descriptor = file.fileno() if isinstance(place.file, Path) else None
        yield FileBytes(place, status_of(place.file).size, file, descriptor)


@dataclass(frozen=True)
class Record:
    """One record: ``seek`` its first byte, ``nbytes`` its length with the key, ``objlen`` that of the object unpacked."""

    seek: int
    nbytes: int
    objlen: int
    keylen: int
    cycle: int
    class_name: bytes
    name: bytes
    title: bytes = field(default=b"", compare=False)
    directory: int = field(default=0, compare=False)  # first byte of that in which it is

    @property
    def stored(self) -> int:
        """Bytes of the object as they stand in the file."""
        return self.nbytes - self.keylen


def read_record(file: FileBytes, place: Place, seek: int) -> Record:
    """The record at byte ``seek``.

    Raises
    ------
    FileFormatError
        if its lengths contradict each other or the file.
    """
    head = file.read(seek, max(_KEY.size, min(_MOST_KEYS, file.size - seek)))
    keylen = max(_KEY.unpack_from(head)[4], _KEY.size)
    record, at, _ = parse_key(place, head[:keylen] if keylen <= len(head) else file.read(seek, keylen), 0)
    if at != seek:
        raise place.damaged(f"the record at byte {seek:,} says that it is at byte {at:,}")
    if record.nbytes < record.keylen or seek + record.nbytes > file.size:
        raise place.damaged(
            f"the record at byte {seek:,} says that it has {record.nbytes:,} bytes, of them {record.keylen:,} in its "
            f"key; the file has {file.size:,}"
        )
    return record


def parse_key(place: Place, content: Any, start: int) -> tuple[Record, int, int]:
    """A key in bytes, or a view of them, from byte ``start``: what it says, fSeekKey, and the byte after its strings."""
    try:
        nbytes, version, objlen, _, keylen, cycle = _KEY.unpack_from(content, start)
        pointers = _POINTERS[version > _LARGE_VERSION]
        seek, directory = pointers.unpack_from(content, start + _KEY.size)
        end = start + _KEY.size + pointers.size
        strings = []
        for _ in range(3):  # class, name, title
            text, end = _string(content, end)
            strings.append(text)
    except (struct.error, IndexError) as error:
        raise place.damaged("a key is longer than the bytes in which it stands") from error
    class_name, name, title = strings
    if keylen < end - start or objlen < 0 or nbytes < 0:
        raise place.damaged(
            f"the key of {name!r} has impossible lengths: key {keylen:,}, object {objlen:,}, record {nbytes:,}"
        )
    return Record(seek, nbytes, objlen, keylen, cycle, class_name, name, title, directory), seek, end


def _string(content: Any, start: int) -> tuple[bytes, int]:
    """A TString and the byte after it: length in one byte, or 255 and four more."""
    length, start = content[start], start + 1
    if length == 255:
        (length,) = struct.unpack_from(">i", content, start)
        start += 4
    if not 0 <= length <= len(content) - start:
        raise IndexError(f"string of {length} bytes")
    return bytes(content[start : start + length]), start + length


def check_blocks(file: FileBytes, place: Place, start: int, stored: int, unpacked: int) -> str:
    """What protects the ``stored`` bytes from ``start`` that unpack to ``unpacked``: "LZ4 xxh64", …, or `NOTHING`.

    Raises
    ------
    FileFormatError
        if the compressed blocks do not fill exactly these bytes, or do not unpack to exactly so many.
    """
    if stored == unpacked:
        return NOTHING  # not compressed
    compressed, total, found = 0, 0, set[str]()
    while compressed < stored:
        head = file.read(start + compressed, _BLOCK_BYTES)
        if head[:2] not in _CODECS:
            raise place.damaged(
                f"the {stored:,} bytes at byte {start:,} should unpack to {unpacked:,}, but no codec begins with "
                f"{head[:2]!r}"
            )
        length = int.from_bytes(head[3:6], "little")
        if compressed + _BLOCK_BYTES + length > stored:
            raise place.damaged(f"a compressed block at byte {start + compressed:,} is longer than its record")
        if not found:
            found.add(_protection(head, file.read(start + compressed + _BLOCK_BYTES, min(length, 16))))
        compressed += _BLOCK_BYTES + length
        total += int.from_bytes(head[6:9], "little")
    if compressed != stored or total != unpacked:
        raise place.damaged(
            f"{stored:,} bytes at byte {start:,} should unpack to {unpacked:,}, but their blocks unpack to {total:,}"
        )
    return found.pop() if found else NOTHING


def _protection(head: bytes, content: bytes) -> str:
    """Checksum of a compressed block, of those that uproot compares."""
    codec = _CODECS[head[:2]]
    if codec == "ZLIB":
        return "ZLIB adler32"
    if codec == "LZ4":
        return "LZ4 xxh64"
    if codec == "LZMA":
        return "LZMA crc" if content[_XZ_CHECK : _XZ_CHECK + 1] != b"\0" else NOTHING
    return "ZSTD xxh64" if len(content) > _ZSTD_FLAGS and content[_ZSTD_FLAGS] & _ZSTD_CHECKSUM else NOTHING
