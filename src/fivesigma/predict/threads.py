"""``Threads``: entry ranges read and scored side by side in this process, in their order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

from fivesigma.core.engine import InProcess, Outcome, Task
from fivesigma.core.errors import ConfigError
from fivesigma.dataset.read_ahead import Result, read_ahead

T = TypeVar("T")


@dataclass(frozen=True)
class Threads:
    """So many threads, each with a task of its own; one thread is this one, without any overhead.

    Unpacking, generated C, LightGBM and torch let go of Python's lock, so that one task is read while another is scored:
    two threads take half of reading and evaluating together, which is never more than the slower of the two. At most
    ``threads`` + 1 tasks are begun and not yet handed on. A crash of a reader ends the program, as with `InProcess`.
    """

    threads: int = 2

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ConfigError(f"expected at least one thread, got {self.threads}")

    def run(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """Outcomes in the order of the tasks."""
        with read_ahead(self.threads if self.threads > 1 else 0) as ahead:
            begun: deque[Result[Outcome[T]]] = deque()
            for task in tasks:
                begun.append(ahead.submit(_outcome, task))
                if self.threads == 1 or len(begun) > self.threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()


def _outcome(task: Task[T]) -> Outcome[T]:
    return next(InProcess().run([task]))
