"""``fivesigma predict`` in a process of its own on one core, with what the operating system says that it took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fivesigma.core.errors import WorkerError

BYTES_PER_KIB = 1024


@dataclass(frozen=True)
class Use:
    """Processor time and the largest resident memory of a finished process."""

    cpu_seconds: float
    peak_bytes: int


def predict_on_one_core(source: Path, model: str | None, tree: str, file: Path, output: Path) -> Use:
    """Score ``file`` with ``source``, by the command, as a job on a grid node would.

    Raises
    ------
    WorkerError
        if the command fails, with the last of what it said.
    """
    core = min(os.sched_getaffinity(0))
    chosen = ["--model", model] if model else []
    command = [
        sys.executable, "-m", "fivesigma", "predict", str(source), str(file), "--tree", tree,
        "--output", str(output), "--threads", "1", "--quiet", *chosen,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env=environment, stdout=said, stderr=said, preexec_fn=lambda: os.sched_setaffinity(0, {core})
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise WorkerError(f"{' '.join(command)} ended with {process.returncode}: {' | '.join(last)}", file=file)
    return Use(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * BYTES_PER_KIB)
