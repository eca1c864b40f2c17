"""Checksums, and files that appear under their final name only when they are complete."""

from __future__ import annotations

import json
import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import xxhash

from fivesigma.core.errors import OutputError

_CHUNK = 1 << 22  # bytes read at a time
CACHED = 1 << 18  # bytes of local files taken at a time: they stay in the processor's cache until they are digested


def file_digest(path: Path) -> str:
    """The xxh3 128-bit digest of a file's bytes, as 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()
    # Begins with a page: some processors copy from the begin of a page to just behind that of another four times slower.
    with open(path, "rb", buffering=0) as file, mmap.mmap(-1, CACHED) as room, memoryview(room) as chunk:
        while n := file.readinto(chunk):
            with chunk[:n] as content:
                digest.update(content)
    return digest.hexdigest()


def digest_of(file: IO[bytes]) -> str:
    """The xxh3 128-bit digest of what is left to read of a file, with bounded memory."""
    digest = xxhash.xxh3_128()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def content_hash(content: Any) -> str:
    """A digest of JSON-like content, independent of the order of keys.

    >>> content_hash({"a": 1, "b": [2.5]}) == content_hash({"b": [2.5], "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return xxhash.xxh3_128(text.encode()).hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name on success, after fsync, and is removed on failure.

    Raises
    ------
    OutputError
        if the folder cannot be written to, the disk is full or the quota is used up.
    """
    # Random, not the process's number: processes of two machines may write the same path on a shared disk.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _fsync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another output folder") from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically: indented unless told otherwise, keys in the order given, NaN and infinity refused."""
    text = json.dumps(content, indent=indent, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
