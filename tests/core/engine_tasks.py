"""Tasks that worker processes can import: they count, crash, stall, eat memory, and fail."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from fivesigma.core.engine import Place, Task
from fivesigma.core.errors import FileFormatError

FOREVER_S = 3600.0


@dataclass(frozen=True)
class Numbered(Task[int]):
    """A task of a file and an entry range; what it did is one line in a log."""

    number: int
    log: Path

    @property
    def place(self) -> Place:
        return Place(f"entries {self.number} to {self.number + 1}", "a.root", "jets")

    def run(self) -> int:
        with open(self.log, "a") as log:
            log.write(f"{self.number} {os.getpid()}\n")
        self.act(len([line for line in self.log.read_text().split("\n") if line.split(" ")[0] == str(self.number)]))
        return self.number**2

    def act(self, times: int) -> None:
        """What else happens when it runs for the ``times``-th time."""


@dataclass(frozen=True)
class Dying(Numbered):
    """Dies by a signal, the first ``deaths`` times."""

    signal: int = signal.SIGSEGV
    deaths: int = 1

    def act(self, times: int) -> None:
        if times <= self.deaths:
            os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Stalling(Numbered):
    """Does not come back, the first ``stalls`` times."""

    stalls: int = 1

    def act(self, times: int) -> None:
        if times <= self.stalls:
            time.sleep(FOREVER_S)


@dataclass(frozen=True)
class Hungry(Numbered):
    """Needs an amount of memory that is shared among its pieces."""

    megabytes: int = 4096
    pieces: int = 1
    most_pieces: int = 64

    def act(self, times: int) -> None:
        bytearray((self.megabytes << 20) // self.pieces)

    def smaller(self) -> Hungry | None:
        return replace(self, pieces=4 * self.pieces) if 4 * self.pieces <= self.most_pieces else None


@dataclass(frozen=True)
class Failing(Numbered):
    """Raises an error of ours, or one of Python's."""

    bug: bool = False

    def act(self, times: int) -> None:
        if self.bug:
            raise ZeroDivisionError("a fault of ours")
        raise FileFormatError("damaged", file="a.root", tree="jets", branch="pt", remedy="copy it again")


@dataclass(frozen=True)
class WrappedMemoryError(Numbered):
    """Runs out of memory inside a reader that wraps whatever it meets."""

    def act(self, times: int) -> None:
        try:
            bytearray(1 << 62)
        except MemoryError as error:
            raise FileFormatError("cannot read: MemoryError", file="a.root") from error
