"""Work done ahead in threads, or at once in this one: the same calls either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Result(Protocol[T_co]):
    """What a job gives, once it is done."""

    def result(self) -> T_co:
        """Wait for it."""


@dataclass(frozen=True)
class _Done(Generic[T]):
    """What was done at once: a `Future` would take locks that nobody else asks for."""

    value: T

    def result(self) -> T:
        return self.value


class ReadAhead:
    """``submit`` as of an executor: jobs begin in the order in which they are handed in, so one may wait for an earlier."""

    windows_ahead = 0
    """Windows that are filled before they are needed."""
    batches_ahead = 0
    """Batches that are gathered before they are asked for."""

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        """Do the job now."""
        return _Done(job(*args, **kwargs))


class _Threads(ReadAhead):
    windows_ahead = 1

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool, self.batches_ahead = pool, 2 * threads

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        return self._pool.submit(job, *args, **kwargs)


@contextmanager
def read_ahead(threads: int) -> Iterator[ReadAhead]:
    """So many threads, or none; work that nobody waits for any more is not begun."""
    if threads == 0:
        yield ReadAhead()
        return
    pool: Any = ThreadPoolExecutor(threads, thread_name_prefix="fivesigma-loader")
    try:
        yield _Threads(pool, threads)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
