"""``RunDirectory``: everything that one run of a study leaves behind, each stage kept by the hash of what made it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivesigma.core.errors import OutputError
from fivesigma.core.integrity import write_json


@dataclass(frozen=True)
class RunDirectory:
    """A folder such as ``runs/w-tagging``.

    A stage is *current* when ``stages/<stage>.json`` holds the key that it would be made with now: a change of one cut
    changes the keys of all that depends on it, and of nothing else.
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
            (folder / "stages").mkdir(parents=True, exist_ok=True)
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

    def is_current(self, stage: str, key: str) -> bool:
        """Whether the stage was finished with this very key."""
        return self._record(stage).get("key") == key

    @contextmanager
    def stage(self, stage: str, key: str) -> Iterator[None]:
        """Mark the stage finished with ``key`` and its cost when the block ends without an error."""
        record = self._stage_file(stage)
        record.unlink(missing_ok=True)
        start, cpu = time.monotonic(), time.process_time()
        yield
        cost = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
        write_json(record, {"stage": stage, "key": key, **cost})

    def stages(self) -> dict[str, dict[str, Any]]:
        """The finished stages: key, seconds, CPU-seconds of the main process."""
        return {path.stem: self._record(path.stem) for path in sorted((self.path / "stages").glob("*.json"))}

    def _stage_file(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def _record(self, stage: str) -> dict[str, Any]:
        path = self._stage_file(stage)
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return record
