"""``RemotePath``: a file on another machine, given by its URL, where a local file has a path.

The functions here do for both what `pathlib.Path` does for local files: say size and version, open, digest, compare.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import xxhash

from fivesigma.core.errors import ConfigError, FileFormatError, OutputError, RemoteError, UnknownNameError
from fivesigma.core.integrity import digest_of, file_digest
from fivesigma.core.registry import unknown_name
from fivesigma.read.ranged_file import MAX_REQUEST, RangedFile
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.remote_source import Source, Status, changed, with_retries

WEB, XROOTD = ("https", "http"), ("root",)
ENDS = "ends:"
"""What the digest of a file begins with of which only the ends were digested."""
_END = 1 << 20  # bytes of each
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CHANGED_REMEDY = "start again with the file as it is now, and let nothing write to it meanwhile"


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path.

    >>> is_url("root://host//a.root"), is_url("data/a.root")
    (True, False)
    """
    return _SCHEME.match(text) is not None


@dataclass(frozen=True, repr=False)
class RemotePath:
    """The URL of a file and how to reach it; with ``known``, its status at the scan, of which it must still be.

    ``str`` and ``repr`` show it without user, password and query, in which tokens may stand: a query is shown as a
    digest of it.

    >>> print(RemotePath("https://me:secret@example.org/data/a.root?token=abc"))
    https://***@example.org/data/a.root?***44af4d

    Raises
    ------
    UnknownNameError
        for a URL of another kind than ``https``, ``http`` and ``root``.
    ConfigError
        if there is no host or no path in it.
    """

    url: str
    options: RemoteOptions = field(default_factory=RemoteOptions)
    known: Status | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.scheme not in (*WEB, *XROOTD):
            raise UnknownNameError(f"{self}: {unknown_name('kind of URL', self.scheme, (*WEB, *XROOTD))}")
        if not urlsplit(self.url).hostname or not self.path.strip("/"):
            raise ConfigError(f"{self}: expected {self.scheme}://host/path")

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        hidden = f"?***{xxhash.xxh3_128(parts.query.encode()).hexdigest()[:6]}" if parts.query else ""
        return f"{self.scheme}://{'***@' if user else ''}{host}{parts.path}{hidden}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    @property
    def scheme(self) -> str:
        """Which protocol: https, http or root."""
        match = _SCHEME.match(self.url)
        return match[1].lower() if match else ""

    @property
    def path(self) -> str:
        """The path on the server."""
        return urlsplit(self.url).path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(unquote(self.path)).name

    @property
    def suffix(self) -> str:
        """The ending of the name, such as ".root"."""
        return PurePosixPath(self.name).suffix

    def status(self) -> Status:
        """Size and version: as known, otherwise as of now.

        Raises
        ------
        RemoteError
            if the server does not say; the reason of every attempt is given.
        """
        return self.known or self.now()

    def now(self) -> Status:
        """Size and version as of now; raises as `status`."""
        source = self._source()
        return with_retries(source.status, str(self), self.options)

    def pinned(self) -> RemotePath:
        """The same file, of which from now on only this content is read; raises as `status`."""
        return replace(self, known=self.status())

    def open(self) -> IO[bytes]:
        """The file for reading, block by block as needed; every answer is compared with its status.

        Raises
        ------
        RemoteError
            now or when it is read: if the server does not answer in time, refuses, sends fewer or more bytes than it
            was asked for or another content than was scanned, or does not support range requests.
        """
        status, source = self.status(), self._source()

        def read_range(start: int, stop: int) -> bytes:
            return with_retries(lambda: source.read(start, stop, status), str(self), self.options)

        return cast(IO[bytes], RangedFile(str(self), status.size, read_range, (self.url, status), source.close))

    def _source(self) -> Source:
        if self.scheme in WEB:
            from fivesigma.read.https import HttpSource

            return HttpSource(self.url, self.options)
        from fivesigma.read.xrootd import XRootDSource

        return XRootDSource(self.url, self.options)


@dataclass(frozen=True, repr=False)
class FetchedPath(RemotePath):
    """A remote file of which a whole copy is here, as an open file without a name, with its digest."""

    descriptor: int = field(default=-1, compare=False)
    xxh3: str = field(default="", compare=False)

    def away(self) -> RemotePath:
        """The file where it came from."""
        return RemotePath(self.url, self.options, self.known)

    def open(self) -> IO[bytes]:
        """The copy."""
        size = self.status().size

        def read_range(start: int, stop: int) -> bytes:
            return os.pread(self.descriptor, stop - start, start)

        return cast(IO[bytes], RangedFile(str(self), size, read_range))


FilePath: TypeAlias = Path | RemotePath
"""What an input file is given by."""


@contextmanager
def fetched(path: RemotePath) -> Iterator[FetchedPath]:
    """A copy of the whole file in the folder for temporary files, digested on the way, gone afterwards.

    Raises
    ------
    RemoteError
        see `RemotePath.open`.
    OutputError
        if there is no room for it.
    """
    path = path.pinned()
    found = xxhash.xxh3_128()
    with _temporary_file(path) as copy:
        with path.open() as file:
            while content := file.read(MAX_REQUEST):
                found.update(content)
                try:
                    left = memoryview(content)
                    while left:
                        left = left[copy.write(left) :]
                except OSError as error:
                    raise _no_room(path, error) from error
        yield FetchedPath(path.url, path.options, path.known, copy.fileno(), found.hexdigest())


def _temporary_file(path: RemotePath) -> IO[bytes]:
    """A file without a name, so that nothing is left of it even if the process is killed."""
    try:
        return tempfile.TemporaryFile(prefix="fivesigma-", buffering=0)
    except OSError as error:
        raise _no_room(path, error) from error


def _no_room(path: RemotePath, error: OSError) -> OutputError:
    return OutputError(
        f"cannot keep a temporary copy of {path} in {tempfile.gettempdir()}: {error.strerror or error}; "
        "name a folder with room in the environment variable TMPDIR, or digest only the files' ends"
    )


@contextmanager
def at_hand(path: FilePath) -> Iterator[FilePath]:
    """The file as it is best scanned: a remote one as of now, a copy of it where all of it is digested anyway.

    Raises
    ------
    RemoteError, OutputError
        see `fetched`.
    """
    if not isinstance(path, RemotePath) or isinstance(path, FetchedPath):
        yield path
    elif path.options.digest == "full":
        with fetched(path) as copy:
            yield copy
    else:
        yield path.pinned()


def open_binary(path: FilePath) -> IO[bytes]:
    """A file for reading at any place."""
    return path.open() if isinstance(path, RemotePath) else open(path, "rb")


def status_of(path: FilePath) -> Status:
    """Size and version of a file: of a remote one as known, of a local one as of now."""
    if isinstance(path, RemotePath):
        return path.status()
    found = path.stat()
    return Status(found.st_size, f"mtime_ns {found.st_mtime_ns}")


def digest(path: FilePath) -> str:
    """The xxh3 128-bit digest of a file; of its ends (and so marked) if the options of a remote file say so."""
    if isinstance(path, FetchedPath):
        return path.xxh3
    if not isinstance(path, RemotePath):
        return file_digest(path)
    with path.open() as file:
        return digest_of(file) if path.options.digest == "full" else _digest_of_ends(file, path.status())


def _digest_of_ends(file: IO[bytes], status: Status) -> str:
    found = xxhash.xxh3_128(f"{status.size} {status.version}\n".encode())
    found.update(file.read(_END))
    file.seek(max(status.size - _END, min(_END, status.size)))
    found.update(file.read(_END))
    return ENDS + found.hexdigest()


def refuse_change(path: FilePath, scanned: Status, xxh3: str) -> None:
    """Refuse a file that is not as it was when it was scanned; a local one that was touched but is equal passes.

    Raises
    ------
    FileFormatError
        if it is gone or its content differs.
    RemoteError
        if its server says so, or does not answer.
    """
    if isinstance(path, RemotePath):
        if difference := scanned.difference(path.now()):
            raise RemoteError(changed(difference).reason, file=str(path), remedy=_CHANGED_REMEDY)
        return
    try:
        now = status_of(path)
    except OSError as error:
        raise FileFormatError(
            "the file was there when scanned and is gone", file=path, remedy=_CHANGED_REMEDY
        ) from error
    if now != scanned and (now.size != scanned.size or file_digest(path) != xxh3):
        raise FileFormatError("the file changed after it was scanned", file=path, remedy=_CHANGED_REMEDY)
