"""What made a result: versions, machine, commit, time, seeds."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "fivesigma",
    "numpy",
    "numba",
    "awkward",
    "uproot",
    "torch",
    "lightgbm",
    "scikit-learn",
    "scipy",
    "matplotlib",
    "pythia8mc",
    "fastjet",
)
"""Packages whose versions can change a result."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result; packages not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path | None = None) -> str | None:
    """The commit of the source tree, ``+changes`` appended if it is not clean; None outside a git checkout."""
    folder = folder or Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


def provenance(seed: int | None = None, command: str | None = None) -> dict[str, Any]:
    """What to write beside every result: command, seed, commit, versions, processor, time (UTC)."""
    return {
        "command": command,
        "seed": seed,
        "commit": git_commit(),
        "versions": versions(),
        "machine": {"processor": _processor(), "system": platform.platform(terse=True)},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()
