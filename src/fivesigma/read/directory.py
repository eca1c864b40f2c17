"""The directories of a ROOT file: what their lists of keys say, compared with the records that they point to.

Layout: https://root.cern/doc/master/classTDirectoryFile.html and https://root.cern/doc/master/classTKey.html.
"""

from __future__ import annotations

import struct

from fivesigma.read.header import Header, check_header
from fivesigma.read.record import FileBytes, Place, check_blocks, open_bytes, parse_key, read_record
from fivesigma.read.remote import FilePath

_LARGE_VERSION = 1000  # added to the version of directories whose seek pointers have 64 bits
_HEAD = struct.Struct(">hiiii")  # version, fDatimeC, fDatimeM, fNbytesKeys, fNbytesName
_DIRECTORIES = (b"TDirectory", b"TDirectoryFile")
_MAX_DEPTH = 64  # of directories in directories; more is a loop of damaged pointers


def check_directories(path: FilePath) -> dict[str, str]:
    """What protects each object of a file by its name (with folders, newest cycle), after checking every key.

    Raises
    ------
    FileFormatError
        if the file is not a complete ROOT file (see `check_header`), was not closed, or a list of keys does not agree
        with the records that it points to: their place, length, class, name and compressed blocks.
    """
    header = check_header(path)
    place = Place(path)
    found: dict[str, str] = {}
    with open_bytes(place) as file:
        record = read_record(file, place, header.begin)
        if record.keylen + record.objlen > record.nbytes or header.nbytes_name < record.keylen:
            raise place.damaged("the record of the file itself has impossible lengths")
        _check_directory(file, header, header.begin, header.begin + header.nbytes_name, "", found, 0)
    return found


def _check_directory(
    file: FileBytes, header: Header, seek: int, start: int, folder: str, found: dict[str, str], depth: int
) -> None:
    """The directory whose record is at byte ``seek`` and whose own data are at byte ``start``."""
    place = file.place
    where = f"directory {folder!r}" if folder else "the file's directory"
    version, _, _, nbytes_keys, nbytes_name = _HEAD.unpack(file.read(start, _HEAD.size))
    pointers = struct.Struct(">qqq" if version > _LARGE_VERSION else ">iii")
    seek_self, _, seek_keys = pointers.unpack(file.read(start + _HEAD.size, pointers.size))
    if seek_keys == 0:
        raise place.not_closed(
            f"the file has no keys: it was not closed when it was written, or nothing was written ({where})"
        )
    if seek_self != seek or nbytes_name != start - seek or depth > _MAX_DEPTH:
        raise place.damaged(f"{where} says that it is at byte {seek_self:,}, but it is at byte {seek:,}")
    listed = read_record(file, place, seek_keys)
    if listed.nbytes != nbytes_keys or listed.stored != listed.objlen or seek_keys + listed.nbytes > header.end:
        raise place.damaged(f"{where} says that its list of keys has {nbytes_keys:,} bytes, not {listed.nbytes:,}")
    content = file.read(seek_keys + listed.keylen, listed.objlen)
    (count,) = struct.unpack_from(">i", content) if len(content) >= 4 else (0,)
    at, keys = 4, 0
    while at < len(content) and keys < count:
        key, key_seek, at = parse_key(place, content, at)
        keys += 1
        name = folder + key.name.decode("utf-8", "surrogateescape")
        record = read_record(file, place, key_seek)
        if record != key:
            raise place.damaged(f"the key of {name!r} differs from its record: {key}, not {record}")
        if key.class_name in _DIRECTORIES:
            _check_directory(file, header, key_seek, key_seek + key.keylen, name + "/", found, depth + 1)
        else:
            protection = check_blocks(file, place, key_seek + key.keylen, key.stored, key.objlen)
            found.setdefault(name, protection)
    if keys != count or content[at:].strip(b"\0"):  # uproot leaves room for more keys
        raise place.damaged(f"{where} says that it has {count:,} keys, but its list does not end after {keys:,}")
