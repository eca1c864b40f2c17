"""``RunDirectory``: everything that one run of a study leaves behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fivesigma.core.errors import OutputError


@dataclass(frozen=True)
class RunDirectory:
    """A folder such as ``runs/w-tagging``.

    The dataset and every fit in it are kept under the hash of all that made them (see `fivesigma.dataset.scan_inputs` and
    `fivesigma.learn.cross_validate`): change one cut and only what depends on it is done again.
    """

    path: Path

    @classmethod
    def create(cls, path: str | Path) -> RunDirectory:
        """Make the folder if need be.

        Raises
        ------
        OutputError
            if it cannot be made or written to.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the run directory {folder}: {error.strerror}; choose another with --output"
            ) from error
        if not os.access(folder, os.W_OK):
            raise OutputError(f"the run directory {folder} is not writable; choose another with --output")
        return cls(folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: a second run in it at the same time is refused."""
        with open(self.path / ".lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(
                    f"another run is using {self.path}; wait for it, or choose another --output"
                ) from error
            yield
