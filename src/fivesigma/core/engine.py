"""Engines: where independent pieces of work run, in this process, in supervised child processes, or on a Dask cluster.

A task is a frozen dataclass that says all it depends on, so that it may run anywhere, and twice: what it writes has the
same name and the same bytes. Every task has exactly one outcome, a value or a named error, whatever happened to whoever
ran it; which engine ran it cannot be told from the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from fivesigma.core.errors import FivesigmaError, WorkerError

T = TypeVar("T")

_MEMORY_REMEDY = "give each worker more memory, run fewer workers, or read fewer entries at a time (`step`)"


@dataclass(frozen=True)
class Place:
    """What a task is about, for messages: such as "entries 0 to 100,000" of a tree of a file."""

    what: str
    file: str | None = None
    tree: str | None = None

    def error(self, cause: str, remedy: str) -> WorkerError:
        """The error of a task that nobody could finish."""
        return WorkerError(f"{self.what}: {cause}", file=self.file, tree=self.tree, remedy=remedy)


class Task(ABC, Generic[T]):
    """A piece of work; subclasses are frozen dataclasses of a module that worker processes can import."""

    @property
    @abstractmethod
    def place(self) -> Place:
        """What it is about."""

    @abstractmethod
    def run(self) -> T:
        """Do it and return the result; doing it twice, even at the same time, gives the same."""

    def smaller(self) -> Self | None:
        """The same task in a way that needs less memory, None if there is none."""
        return None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a task ended: with a value, or with an error."""

    task: Task[T]
    value: T | None = None
    error: FivesigmaError | None = None

    def result(self) -> T:
        """The value; what went wrong is raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # a task of no error has a value of type T


class Engine(Protocol):
    """Runs tasks and yields their outcomes, in the order in which they end."""

    def run(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """One outcome for each task; an error that is not a `FivesigmaError` is a fault of ours and is raised."""
        ...


@dataclass(frozen=True)
class InProcess:
    """One task after another in this process: simple, and a debugger sees everything.

    A crash of a reader ends the program, and a stalled read is waited for: see `fivesigma.core.processes.Processes`.
    """

    def run(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """Outcomes in the order of the tasks."""
        for task in tasks:
            yield _attempt(task)


def _attempt(task: Task[T]) -> Outcome[T]:
    attempt: Task[T] | None = task
    while attempt is not None:
        try:
            return Outcome(task, attempt.run())
        except (FivesigmaError, MemoryError) as error:
            if not is_out_of_memory(error):
                return Outcome(task, error=_known(error))
        attempt = attempt.smaller()
    return Outcome(task, error=out_of_memory(task.place))


def _known(error: FivesigmaError | MemoryError) -> FivesigmaError:
    assert isinstance(error, FivesigmaError)
    return error


def out_of_memory(place: Place, cause: str = "not enough memory, not even in the smallest pieces") -> WorkerError:
    """The error of a task that needs more memory than there is."""
    return place.error(cause, _MEMORY_REMEDY)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is a lack of memory.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError())
    (True, False)
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError):
            return True
        found = found.__cause__ or found.__context__
    return False
