"""Files on XRootD servers, over ``root://``, through fsspec-xrootd (extra ``xrootd``)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from fivesigma.core.errors import MissingDependencyError
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.remote_source import RequestError, Status, changed, with_retries, wrong_length

ANY_FOLDERS = "**"
_CODE = re.compile(r"\[(\d{4})\]\s*(.*)")  # number of a server's error and its words, in a client's message
_SEVERITY = re.compile(r".*?\[(?:ERROR|FATAL)\]\s*")
_FINAL = {  # https://xrootd.slac.stanford.edu/doc/dev56/XRdv520.htm, table of error codes
    3000: "check the URL",  # kXR_ArgInvalid
    3002: "check the URL",  # kXR_ArgTooLong
    3010: "the server does not let you read it: check your proxy certificate or token",  # kXR_NotAuthorized
    3011: "check the URL",  # kXR_NotFound
    3013: None,  # kXR_Unsupported
    3016: "for all files below a folder, end the URL with a slash",  # kXR_isDirectory
    3030: "check your proxy certificate or token",  # kXR_AuthFailed
}
_NEVER_PASSES = ("Auth failed", "Invalid arguments", "Protocol", "TLS error")
_CLOSING_S = 5  # seconds to say goodbye
_FILE, _FOLDER = "file", "directory"


class XRootDSource:
    """One file; it is opened for the first read and stays open until `close`."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        self._url, self._options = url, options
        self._filesystem, self._path = _connect(url, options)
        self._file: Any = None

    def status(self) -> Status:
        """Size and time of modification (whole seconds)."""
        try:
            found = self._filesystem.info(self._path)
        except OSError as error:
            raise _failed(error, self._url) from None
        if found["type"] != _FILE:
            raise RequestError(f"it is a {found['type']}, not a file", _FINAL[3016])
        return Status(int(found["size"]), f"mtime {found['mtime']}")

    def read(self, start: int, stop: int, expected: Status) -> bytes:
        """Bytes ``start`` to ``stop`` (excluded)."""
        try:
            if self._file is None:
                # What is opened is what it was before and is after.
                self._file = self._filesystem.open(self._path, "rb", cache_type="none")
                self._compare(expected)
            self._file.seek(start)
            content: bytes = self._file.read(stop - start)
        except OSError as error:
            raise _failed(error, self._url) from None
        except ValueError:  # how the client says that it gave the file up when the server went away
            self._file = None
            raise RequestError("the server closed the file", may_pass=True) from None
        if len(content) != stop - start:
            self._compare(expected)
            raise wrong_length(stop - start, len(content), may_pass=True)
        return content

    def _compare(self, expected: Status) -> None:
        if difference := expected.difference(self.status()):
            raise changed(difference)

    def close(self) -> None:
        """Close the file on the server, if it still answers."""
        if self._file is not None:
            self._file.timeout = _CLOSING_S
            with suppress(OSError):
                self._file.close()


def files_matching(url: str, options: RemoteOptions, patterns: list[str]) -> Iterator[str]:
    """Paths of the files below the folder ``url`` that match one name pattern per level; ``**`` is any folders.

    Raises
    ------
    RemoteError
        if the server does not answer, or the folder is not there.
    """
    filesystem, folder = _connect(url, options)

    def listed(path: str) -> list[tuple[str, str]]:
        def request() -> list[tuple[str, str]]:
            try:
                return [(item["name"].rpartition("/")[2], item["type"]) for item in filesystem.ls(path, detail=True)]
            except OSError as error:
                raise _failed(error, url) from None

        return with_retries(request, f"root://{filesystem.hostid}/{path}", options)

    def matching(path: str, levels: list[str]) -> Iterator[str]:
        wanted, rest = levels[0], levels[1:]
        if wanted == ANY_FOLDERS and rest:
            yield from matching(path, rest)
        for name, kind in listed(path):
            below = f"{path.rstrip('/') or '/'}/{name}"
            if wanted == ANY_FOLDERS:
                if kind == _FOLDER:
                    yield from matching(below, levels)
            elif fnmatchcase(name, wanted):
                if kind == _FOLDER and rest:
                    yield from matching(below, rest)
                elif kind == _FILE and not rest:
                    yield below

    yield from matching(folder, patterns)


def _connect(url: str, options: RemoteOptions) -> tuple[Any, str]:
    """The server's file system, and the path on it that the URL names.

    Raises
    ------
    MissingDependencyError
        if the extra is not installed.
    """
    try:
        from fsspec_xrootd import XRootDFileSystem
        from XRootD.client.env import EnvPutInt
    except ImportError as error:
        raise MissingDependencyError(
            "reading root:// needs XRootD: install it with `pip install 'fivesigma[xrootd]'`"
        ) from error
    seconds = max(1, math.ceil(options.deadline_s))
    # By default the client waits 2 minutes for a server that is down and then refuses to ask it for half an hour, so
    # that neither deadlines nor retries would be ours. What the user set as XRD_… stays.
    EnvPutInt("ConnectionWindow", seconds)
    EnvPutInt("ConnectionRetry", 1)
    EnvPutInt("StreamErrorWindow", 0)
    EnvPutInt("TimeoutResolution", 1)
    where = XRootDFileSystem._get_kwargs_from_urls(url)
    # No cache of listings: it would say what files were. One server: locating all has no deadline.
    filesystem = XRootDFileSystem(**where, timeout=seconds, use_listings_cache=False, locate_all_sources=False)
    return filesystem, XRootDFileSystem._strip_protocol(url)


def _failed(error: OSError, url: str) -> RequestError:
    """A failure of the client: its words without the URL's secrets, and whether it may pass.

    >>> fault = _failed(OSError("Failed: [ERROR] Server responded with an error: [3011] Unable to open /a"), "")
    >>> fault.reason, fault.may_pass
    ('Unable to open /a', False)
    """
    text = " ".join(str(error).split())
    if query := urlsplit(url).query:
        text = text.replace(query, "…")
    if code := _CODE.search(text):
        number = int(code[1])
        return RequestError(code[2], _FINAL.get(number), may_pass=number not in _FINAL)
    words = _SEVERITY.sub("", text)
    return RequestError(words, may_pass=not words.startswith(_NEVER_PASSES))
