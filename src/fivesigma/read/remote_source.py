"""What every kind of remote file can do: say its size and version, and give a range of its bytes, or say why not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fivesigma.core.errors import RemoteError
from fivesigma.read.remote_options import RemoteOptions

T = TypeVar("T")

_LONGEST_BACK_OFF_S = 60.0


@dataclass(frozen=True)
class Status:
    """Size of a file in bytes, and what changes when its content does: time of modification or ETag; may be empty."""

    size: int
    version: str

    def difference(self, other: Status) -> str | None:
        """What another status of the same file says about its content: None if nothing changed."""
        if self.size != other.size:
            return f"it had {self.size:,} bytes, now {other.size:,}"
        return None if self.version == other.version else f"it was of {self.version}, now of {other.version}"


class RequestError(Exception):
    """Why one request failed, and whether the next may succeed; becomes a `RemoteError` when no more are made."""

    def __init__(self, reason: str, remedy: str | None = None, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.may_pass = reason, remedy, may_pass


class Source(Protocol):
    """One file on one server; every method makes single requests and raises `RequestError`."""

    def status(self) -> Status:
        """Size and version as of now."""
        ...

    def read(self, start: int, stop: int, expected: Status) -> bytes:
        """Bytes ``start`` to ``stop`` (excluded), all of them, of a file of the expected size and version."""
        ...

    def close(self) -> None:
        """Give connections back; raises nothing."""
        ...


def changed(difference: str) -> RequestError:
    """The fault of a file that is not the one that was scanned."""
    return RequestError(
        f"the file changed after it was scanned: {difference}",
        "start again with the file as it is now, and let nothing write to it meanwhile",
    )


def wrong_length(expected: int, got: int | str, *, may_pass: bool) -> RequestError:
    """The fault of an answer with fewer or more bytes than were asked for."""
    return RequestError(
        f"expected {expected:,} bytes, got {got if isinstance(got, str) else format(got, ',')}",
        "the server or a proxy before it cuts answers: ask whoever runs it, or copy the file",
        may_pass=may_pass,
    )


def with_retries(request: Callable[[], T], file: str, options: RemoteOptions) -> T:
    """What ``request`` gives, tried again with exponential back-off while its faults may pass.

    Raises
    ------
    RemoteError
        with every reason and the number of attempts.
    """
    reasons: list[str] = []
    while True:
        try:
            return request()
        except RequestError as fault:
            reasons.append(fault.reason)
            if fault.may_pass and len(reasons) <= options.retries:
                time.sleep(back_off(len(reasons), options))
                continue
            attempts = f" ({len(reasons)} attempts)" if len(reasons) > 1 else ""
            remedy = fault.remedy or (
                "try later, or with a longer deadline or more retries" if fault.may_pass else None
            )
            # Not chained: the libraries' own messages have the whole URL in them, with what is secret in it.
            raise RemoteError(f"{', then '.join(dict.fromkeys(reasons))}{attempts}", file=file, remedy=remedy) from None


def back_off(failures: int, options: RemoteOptions) -> float:
    """Seconds to wait after so many failures: doubled each time, at random so that many clients do not come at once.

    >>> 0.5 <= back_off(1, RemoteOptions()) <= 1.5, 4 <= back_off(4, RemoteOptions()) <= 12
    (True, True)
    """
    return min(options.back_off_s * 2.0 ** (failures - 1), _LONGEST_BACK_OFF_S) * random.uniform(0.5, 1.5)
