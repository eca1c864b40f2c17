"""``Processes``: tasks in supervised child processes, so that no reader's crash, stall or appetite ends the program."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_objects
from typing import Any, Generic, TypeVar

from fivesigma.core.engine import Outcome, Task, is_out_of_memory, out_of_memory
from fivesigma.core.errors import ConfigError, FivesigmaError, WorkerError

T = TypeVar("T")

_READY, _VALUE, _ERROR, _MEMORY, _BUG, _DEATH = "ready", "value", "error", "memory", "bug", "death"
_REMEDY = "check the file with `fivesigma inspect`, give more time with --deadline, or leave it out"
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2), Linux
_MEGABYTE = 1 << 20
_MEMORY_SIGNALS = (signal.SIGKILL, signal.SIGABRT)  # how the kernel and how C++ end a process without memory
_START_S = 120.0  # seconds to start a process: Python, and the modules of the task
_GRACE_S = 5.0  # seconds that a killed process has to go; one that waits for a dead disk may never do


@dataclass(frozen=True)
class Processes:
    """Supervised child processes, started afresh (never forked), which end with this process even if it is killed.

    Parameters
    ----------
    workers
        processes at a time.
    deadline_s
        seconds that one task may take; then its process is killed. None waits for ever.
    retries
        how often a task is tried again after a crash or a deadline. One that ran out of memory, or was killed as the
        kernel does then, is tried again in smaller pieces (`Task.smaller`).
    memory_limit_mb
        memory that each process may allocate for its data (RLIMIT_DATA, Linux), None for no limit.

    Usage::

        for outcome in Processes(workers=4, deadline_s=60).run(tasks):
            print(outcome.result())

    As for Python's own `multiprocessing`, a script that uses it needs ``if __name__ == "__main__":`` around what it does.
    """

    workers: int = 2
    deadline_s: float | None = 600.0
    retries: int = 2
    memory_limit_mb: int | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.retries < 0 or (self.deadline_s is not None and self.deadline_s <= 0):
            raise ConfigError(
                f"expected at least 1 worker, 0 retries and a deadline above 0 s, got {self.workers} workers, "
                f"{self.retries} retries, {self.deadline_s} s"
            )

    def run(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """Outcomes in the order in which tasks end.

        Raises
        ------
        WorkerError
            if the processes cannot start; what happens to a task is its outcome.
        """
        waiting, again = iter(tasks), deque[_Attempt[T]]()
        children: list[_Child[T]] = []
        try:
            while True:
                self._hand_out(children, again, waiting)
                if not children:
                    return
                for child in _ready(children):
                    attempt, ended = child.attempt, child.collect()
                    if child.gone:
                        children.remove(child)
                    if ended is not None and (outcome := self._judge(attempt, ended, again)) is not None:
                        yield outcome
        finally:
            for child in children:
                child.end()

    def _hand_out(self, children: list[_Child[T]], again: deque[_Attempt[T]], waiting: Iterator[Task[T]]) -> None:
        """Give every worker something to do; those for which there is nothing left go."""
        for child in children[:]:
            if child.attempt is None:
                attempt = _next(again, waiting)
                if attempt is None:
                    child.end()
                    children.remove(child)
                else:
                    child.start(attempt)
        while len(children) < self.workers and (attempt := _next(again, waiting)) is not None:
            children.append(_Child.spawn(attempt, self.memory_limit_mb, self.deadline_s))

    def _judge(self, attempt: _Attempt[T] | None, ended: _Ended, again: deque[_Attempt[T]]) -> Outcome[T] | None:
        """The outcome of a task, or None if it is to be tried again."""
        assert attempt is not None  # children without one are gone before anyone waits for them
        task = attempt.task
        if ended.kind == _VALUE:
            return Outcome(task, ended.content)
        if ended.kind == _ERROR:
            return Outcome(task, error=ended.content)
        if ended.kind == _MEMORY:
            smaller = attempt.form.smaller()
            if smaller is not None:
                again.append(_Attempt(task, smaller, attempt.failures))
                return None
            if ended.content is None:
                return Outcome(task, error=out_of_memory(task.place))
        failures = (*attempt.failures, str(ended.content))
        if len(failures) <= self.retries:
            again.append(_Attempt(task, attempt.form, failures))
            return None
        cause = f"{', then '.join(dict.fromkeys(failures))} ({len(failures)} attempts)"
        return Outcome(task, error=task.place.error(cause, _REMEDY))


@dataclass(frozen=True)
class _Attempt(Generic[T]):
    """One try at a task: in the form it came, or a smaller one; what happened to the tries before."""

    task: Task[T]
    form: Task[T]
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Ended:
    """How an attempt ended: kind and value, error, or the cause of death in words."""

    kind: str
    content: Any


def _next(again: deque[_Attempt[T]], waiting: Iterator[Task[T]]) -> _Attempt[T] | None:
    if again:
        return again.popleft()
    task = next(waiting, None)
    return None if task is None else _Attempt(task, task)


def _ready(children: list[_Child[T]]) -> list[_Child[T]]:
    """The children that have something to say, are dead, or are late; waits until there is one."""
    limits = [child.late_at for child in children if child.late_at is not None]
    timeout = max(min(limits) - time.monotonic(), 0.0) if limits else None
    handles = [handle for child in children for handle in (child.connection, child.process.sentinel)]
    found = wait_for_objects(handles, timeout)
    return [c for c in children if c.connection in found or c.process.sentinel in found or c.is_late()]


@dataclass
class _Child(Generic[T]):
    """A worker process, the pipe to it, and what it is doing."""

    process: Any
    connection: Connection
    deadline_s: float | None
    attempt: _Attempt[T] | None
    late_at: float | None
    started: bool = False
    gone: bool = False

    @classmethod
    def spawn(cls, attempt: _Attempt[T], memory_limit_mb: int | None, deadline_s: float | None) -> _Child[T]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, memory_limit_mb), daemon=True)
        with one_thread_each():
            process.start()
        theirs.close()
        child = cls(process, ours, deadline_s, attempt, time.monotonic() + _START_S)
        child._send(attempt)
        return child

    def start(self, attempt: _Attempt[T]) -> None:
        self.attempt, self.late_at = attempt, self._deadline()
        self._send(attempt)

    def _send(self, attempt: _Attempt[T]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died meanwhile: its sentinel says so
            self.connection.send(attempt.form)

    def _deadline(self) -> float | None:
        return None if self.deadline_s is None else time.monotonic() + self.deadline_s

    def is_late(self) -> bool:
        return self.late_at is not None and time.monotonic() >= self.late_at

    def collect(self) -> _Ended | None:
        """How its attempt ended, None if it only said that it has started."""
        if not self.connection.poll():
            return self._death()
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            return self._death()
        if kind == _READY:
            self.started, self.late_at = True, self._deadline()
            return None
        self.attempt = self.late_at = None
        if kind == _BUG:
            error, text = content
            error.add_note(f"in a worker process:\n{text}")
            raise error
        if kind == _MEMORY:
            self.end()  # what it took for the attempt is not given back to the system
        return _Ended(kind, content)

    def _death(self) -> _Ended:
        late = self.process.exitcode is None and self.is_late()
        self.end(kill=late)
        code = self.process.exitcode
        if not self.started:
            raise WorkerError(
                f"a worker process could not start ({_status(code)}); its own words are above",
                remedy='a script that starts workers needs `if __name__ == "__main__":` around what it does',
            )
        if late:
            return _Ended(_DEATH, f"the reader was not done after {self.deadline_s:g} s")
        return _Ended(
            _MEMORY if code is not None and -code in _MEMORY_SIGNALS else _DEATH, f"the reader {_status(code)}"
        )

    def end(self, kill: bool = True) -> None:
        """See that the process is gone, without waiting for ever for one that the system cannot end."""
        self.gone = True
        self.connection.close()
        if kill:
            self.process.kill()
        self.process.join(_GRACE_S)


def _status(code: int | None) -> str:
    if code is None:
        return "does not end"
    if code >= 0:
        return f"ended with status {code}"
    name = signal.Signals(-code).name
    return "was killed (SIGKILL), as the system does without memory" if name == "SIGKILL" else f"crashed ({name})"


def _serve(connection: Connection, memory_limit_mb: int | None) -> None:
    """What a child does: run tasks until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    end_with_parent()
    if memory_limit_mb is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_mb * _MEGABYTE, memory_limit_mb * _MEGABYTE))
    task = connection.recv()  # loads the task's modules
    connection.send((_READY, None))
    with suppress(EOFError):
        while True:
            connection.send(_answer(task))
            task = connection.recv()


def _answer(task: Task[Any]) -> tuple[str, Any]:
    try:
        return _VALUE, task.run()
    except Exception as error:  # noqa: BLE001  all of them are told to the parent
        if is_out_of_memory(error):
            return _MEMORY, None
        if isinstance(error, FivesigmaError):
            return _ERROR, error
        return _BUG, (_portable(error), traceback.format_exc())


def _portable(error: Exception) -> Exception:
    """The error itself if it can be sent, otherwise one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  whatever a foreign class does when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def end_with_parent() -> None:
    """Let this child process end when its parent does, also if the parent is killed, also inside a call of C code."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _end_after(sentinel: int) -> None:
    wait_for_objects([sentinel])
    os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside read OMP_NUM_THREADS=1 when they load their libraries."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
