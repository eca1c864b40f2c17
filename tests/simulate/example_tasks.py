"""Tasks without a generator, for tests of productions: random numbers, failures, and deaths."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import SimulationError
from fivesigma.core.jagged import Jagged
from fivesigma.simulate.production import Part, Task


@dataclass(frozen=True)
class RandomTask(Task):
    """Random columns that depend on the task alone."""

    def generate(self) -> Part:
        rng = np.random.default_rng(self.index)
        counts = rng.integers(0, 4, self.n_entries)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns: dict[str, NDArray[Any] | Jagged] = {
            "jet_pt": rng.normal(size=self.n_entries).astype(np.float32),
            "constituent_pt": Jagged(rng.normal(size=offsets[-1]).astype(np.float32), offsets),
        }
        return Part(columns, {"threads": os.environ.get("OMP_NUM_THREADS"), "ledger": {"jets": self.n_entries}})


@dataclass(frozen=True)
class FailingTask(Task):
    """A generator that fails."""

    def generate(self) -> Part:
        raise SimulationError(f"no jet in part {self.index}")


@dataclass(frozen=True)
class DyingTask(Task):
    """A process that is killed, as by the kernel when memory runs out."""

    def generate(self) -> Part:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
