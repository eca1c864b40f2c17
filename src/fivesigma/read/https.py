"""Files on web servers, by range requests over ``https://`` and ``http://``.

Every answer is compared with what was asked for, and with the version that was scanned: a server that does not know
ranges, sends the whole file, cuts it or pads it is refused. Range requests: RFC 9110, section 14.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.remote_source import RequestError, Status, changed, wrong_length

T = TypeVar("T")

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_MAY_PASS = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_REMEDIES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "check the URL",
    HTTPStatus.UNAUTHORIZED: "give user and password in ~/.netrc or in the URL",
    HTTPStatus.FORBIDDEN: "the server does not let you read it: check the URL and your credentials",
}
_NO_RANGES = "copy the file, or ask whoever runs the server to allow range requests"


class HttpSource:
    """One URL. Connections are kept and shared between all files of the same options, on fsspec's event loop."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        self._url, self._options = url, options
        self._filesystem = HTTPFileSystem(get_client=_session, client_kwargs={"ca_bundle": options.ca_bundle})

    def status(self) -> Status:
        """Size and version, by asking for the first byte, which also tells whether the server knows ranges."""
        return self._run(self._ask(0, 1, _status_of))

    def read(self, start: int, stop: int, expected: Status) -> bytes:
        """Bytes ``start`` to ``stop`` (excluded)."""

        async def checked(answer: aiohttp.ClientResponse) -> bytes:
            found = await _status_of(answer)
            if difference := expected.difference(found):
                raise changed(difference)
            return await _body(answer, start, stop)

        return self._run(self._ask(start, stop, checked))

    def close(self) -> None:
        """Nothing to do: connections go back after every answer."""

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._filesystem.loop).result()

    async def _ask(self, start: int, stop: int, use: Callable[[aiohttp.ClientResponse], Coroutine[Any, Any, T]]) -> T:
        session = await self._filesystem.set_session()
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(total=self._options.deadline_s)
        try:
            async with session.get(self._url, headers=headers, timeout=timeout) as answer:
                return await use(answer)
        except TimeoutError:
            raise RequestError(f"no answer within {self._options.deadline_s:g} s", may_pass=True) from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise RequestError(
                f"the server's certificate is not trusted: {_reason(error)}",
                "if it is the right server, name the file of its certificate authority as `ca_bundle`",
            ) from None
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise RequestError(f"{type(error).__name__}", "check the URL") from None
        except (aiohttp.ClientError, OSError) as error:
            raise RequestError(f"the connection failed: {_reason(error)}", may_pass=True) from None


async def _session(loop: Any, ca_bundle: str | None) -> aiohttp.ClientSession:
    """A session that trusts the given authorities, uses the system's proxies and netrc, and changes no byte."""
    del loop  # the one that runs
    try:
        trusted = ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise RequestError(
            f"cannot read the certificate authorities {ca_bundle}: {error}", "check `ca_bundle`"
        ) from None
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), trust_env=True, auto_decompress=False)


async def _status_of(answer: aiohttp.ClientResponse) -> Status:
    """Size and version from the headers of an answer to a range request."""
    headers = answer.headers
    place = _content_range(headers)
    if answer.status == HTTPStatus.PARTIAL_CONTENT and place is not None:
        if place[2] is None:
            raise RequestError("the server does not say how long the file is", _NO_RANGES)
        return Status(place[2], _version(headers))
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and place is not None and place[2] is not None:
        return Status(place[2], _version(headers))  # shorter than was asked: an empty file, or one that changed
    if answer.status == HTTPStatus.OK and headers.get("Content-Length") == "0":
        return Status(0, _version(headers))
    if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RequestError("the server does not support range requests: it would send the whole file", _NO_RANGES)
    raise _refusal(answer.status)


def _refusal(status: int) -> RequestError:
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    return RequestError(f"HTTP {status} {phrase}".rstrip(), _REMEDIES.get(status), may_pass=status in _MAY_PASS)


def _content_range(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """First byte, byte after the last, and length of the file, None if it is not said; None if there is no such header.

    >>> _content_range({"Content-Range": "bytes 0-99/1234"}), _content_range({"Content-Range": "bytes */0"})
    ((0, 100, 1234), (0, 0, 0))
    """
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if match is None:
        return None
    first, last, size = match.groups()
    start, stop = (0, 0) if first is None else (int(first), int(last) + 1)
    return start, stop, None if size == "*" else int(size)


def _version(headers: Mapping[str, str]) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


async def _body(answer: aiohttp.ClientResponse, start: int, stop: int) -> bytes:
    """The bytes of an answer, no more and no less than were asked for."""
    asked, place = stop - start, _content_range(answer.headers)
    if place is None or place[:2] != (start, stop):
        got = "no range" if place is None else f"{place[0]:,} to {place[1]:,}"
        raise RequestError(f"expected bytes {start:,} to {stop:,}, got {got}", _NO_RANGES)
    if (encoding := answer.headers.get("Content-Encoding", "identity")) != "identity":
        raise RequestError(f"the server sends the file in another encoding ({encoding})", _NO_RANGES)
    if answer.content_length not in (None, asked):
        raise wrong_length(asked, int(answer.content_length or 0), may_pass=False)
    try:
        content = await answer.content.readexactly(asked)
        if await answer.content.read(1):
            raise wrong_length(asked, "more", may_pass=False)
    except asyncio.IncompleteReadError as error:
        raise wrong_length(asked, len(error.partial), may_pass=True) from None
    except aiohttp.ClientPayloadError:
        raise wrong_length(asked, "fewer before the connection closed", may_pass=True) from None
    return content


def _reason(error: Exception) -> str:
    """What went wrong in a connection, without the URL."""
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return str(inner.verify_message)
    if isinstance(inner, OSError) and inner.strerror:
        return str(inner.strerror)
    return type(inner).__name__
