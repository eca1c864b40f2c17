"""Peers that cannot share our environment get one of their own, made once in ``$XDG_CACHE_HOME/fivesigma-benchmarks``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WEAVER = ("torch==2.13.0", "weaver-core==0.5.3")
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "passive",
}


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of the peer's environment; network is needed when it is first made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "fivesigma-benchmarks" / name
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"making {folder} with {' '.join(requirements)}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python


class Peer:
    """A running program of a peer: it prints its version, then one number of JSON for each line that it is sent."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.version = str(self._answer())

    def __call__(self) -> float:
        """One more measurement, as the peer's program took it."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the peer ended early: see its error message above")
        return json.loads(line)


@contextmanager
def running(python: Path, program: str, *arguments: str) -> Iterator[Peer]:
    """The peer's program, one thread, ended afterwards."""
    command = [str(python), "-c", program, *arguments]
    environment = {**os.environ, **ONE_THREAD}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Peer(process)
        process.communicate()
