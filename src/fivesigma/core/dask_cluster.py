"""``DaskCluster``: tasks on the workers of a Dask cluster, wherever its scheduler is reached (extra `dask`).

Dask runs a task at least once: when a worker dies, its tasks run again elsewhere, and one whose worker was only cut off
may run twice. Ours may (see `fivesigma.core.engine`). Workers need the same fivesigma, and see the same files under the
same paths. https://distributed.dask.org/en/stable/resilience.html
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from fivesigma.core.engine import Outcome, Task, is_out_of_memory, out_of_memory
from fivesigma.core.errors import ConfigError, FivesigmaError, MissingDependencyError

T = TypeVar("T")

_IN_FLIGHT = 512  # tasks that the scheduler knows of at a time
_CONNECT_S = 30  # seconds to reach the scheduler
_LOOK_S = 2.0  # seconds between looks for workers while nothing ends
_VALUE, _ERROR, _MEMORY, _KILLED = "value", "error", "memory", "killed"
_LATE = 75  # exit status of a worker whose task took longer than allowed


@dataclass(frozen=True)
class DaskCluster:
    """Workers of a running Dask cluster.

    Parameters
    ----------
    address
        of the scheduler, such as "tcp://node1:8786"; of a cluster made in the same program, ``cluster.scheduler_address``.
    deadline_s
        seconds that one task may take; then its worker ends itself (its nanny starts another), and the task runs again
        elsewhere. Give workers one thread each, or neighbours go with it. None waits for ever.
    workers_within_s
        seconds for which there may be no worker at all: at the start a batch system may let its jobs wait, later all
        may have died. None waits for ever.

    A task whose workers die again and again is given up after the scheduler's ``allowed-failures`` (3 by default), and
    after it was tried once more when all others were done.

    Usage::

        with SLURMCluster(cores=1, memory="4GB") as cluster:
            cluster.scale(100)
            convert(conversion, "dataset", engine=DaskCluster(cluster.scheduler_address))
    """

    address: str
    deadline_s: float | None = None
    workers_within_s: float | None = 3600.0

    def run(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """Outcomes in the order in which tasks end.

        Raises
        ------
        MissingDependencyError
            without the extra `dask`.
        ConfigError
            if there is no scheduler at the address, or it goes away, or no worker comes.
        """
        distributed = _import_distributed()
        suspects: list[Task[T]] = []
        with self._client(distributed) as client:
            for task, kind, content in self._ended(distributed, client, iter(tasks)):
                if kind == _KILLED:  # Dask blames all tasks that waited for a worker that died
                    suspects.append(task)
                else:
                    yield _outcome(task, kind, content)
            for suspect in suspects:
                for task, kind, content in self._ended(distributed, client, iter([suspect])):
                    yield _outcome(task, kind, content)

    def _ended(self, distributed: Any, client: Any, waiting: Iterator[Task[T]]) -> Iterator[tuple[Task[T], str, Any]]:
        """Tasks, and how they ended; those that ran out of memory are submitted again in smaller pieces."""
        running: dict[Any, tuple[Task[T], Task[T]]] = {}  # future → the task, and the form in which it runs

        def submit(task: Task[T], form: Task[T]) -> None:
            running[client.submit(_run, form, self.deadline_s, pure=False)] = task, form

        for task in islice(waiting, _IN_FLIGHT):
            submit(task, task)
        while running:
            for future in self._next(distributed, client, list(running)):
                task, form = running.pop(future)
                kind, content = self._collect(distributed, future)
                smaller = form.smaller() if kind == _MEMORY else None
                if smaller is not None:
                    submit(task, smaller)
                    continue
                if (following := next(waiting, None)) is not None:
                    submit(following, following)
                yield task, kind, content

    def _next(self, distributed: Any, client: Any, futures: list[Any]) -> set[Any]:
        """Those that ended, at least one; an error if there is no worker for too long."""
        limit = self.workers_within_s
        alone_since = time.monotonic()
        while True:
            try:
                with client.as_current():
                    return set(distributed.wait(futures, timeout=_LOOK_S, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                if client.nthreads():
                    alone_since = time.monotonic()
                elif limit is not None and time.monotonic() - alone_since > limit:
                    raise ConfigError(
                        f"the Dask scheduler at {self.address} has had no worker for {limit:g} s; start workers (or look "
                        "why the batch system does not) and run the same command again: what is finished is kept"
                    ) from None
            except (distributed.CancelledError, distributed.comm.CommClosedError) as error:
                raise self._lost() from error

    @contextmanager
    def _client(self, distributed: Any) -> Iterator[Any]:
        try:
            client = distributed.Client(self.address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"no Dask scheduler at {self.address!r}: {error}") from error
        with client:
            yield client

    def _collect(self, distributed: Any, future: Any) -> tuple[str, Any]:
        try:
            answer: tuple[str, Any] = future.result()
        except distributed.scheduler.KilledWorker as error:
            return _KILLED, str(error.last_worker.address)
        except (distributed.CancelledError, distributed.comm.CommClosedError) as error:
            raise self._lost() from error
        return answer

    def _lost(self) -> ConfigError:
        return ConfigError(
            f"the Dask scheduler at {self.address} went away; start it and run the same command again: what is "
            "finished is kept"
        )


def _outcome(task: Task[T], kind: str, content: Any) -> Outcome[T]:
    if kind == _VALUE:
        return Outcome(task, content)
    if kind == _ERROR:
        return Outcome(task, error=content)
    if kind == _MEMORY:
        return Outcome(task, error=out_of_memory(task.place))
    cause = "the workers that ran it died one after another (crash, deadline, or out of memory), last " + content
    return Outcome(
        task, error=task.place.error(cause, "see the workers' logs; give them more memory, or leave the file out")
    )


def _import_distributed() -> Any:
    try:
        import distributed
        import distributed.comm
        import distributed.scheduler
    except ImportError as error:
        raise MissingDependencyError("a Dask cluster needs the extra `dask`: pip install 'fivesigma[dask]'") from error
    return distributed


def _run(task: Task[Any], deadline_s: float | None) -> tuple[str, Any]:
    """What a worker does; errors of ours are values, others are raised where the outcome is waited for."""
    watch = threading.Timer(deadline_s, os._exit, [_LATE]) if deadline_s is not None else None
    if watch is not None:
        watch.daemon = True
        watch.start()
    try:
        return _VALUE, task.run()
    except (FivesigmaError, MemoryError) as error:
        return (_MEMORY, None) if is_out_of_memory(error) else (_ERROR, error)
    finally:
        if watch is not None:
            watch.cancel()
