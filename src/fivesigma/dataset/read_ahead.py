"""Work done ahead in threads, or at once in this one: the same calls either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ReadAhead:
    """``submit`` as of an executor: jobs begin in the order in which they are handed in, so one may wait for an earlier."""

    windows_ahead = 0
    """Windows that are filled before they are needed."""
    batches_ahead = 0
    """Batches that are gathered before they are asked for."""

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do the job now."""
        future: Future[T] = Future()
        future.set_result(job(*args, **kwargs))
        return future


class _Threads(ReadAhead):
    windows_ahead = 1

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool, self.batches_ahead = pool, 2 * threads

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
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
