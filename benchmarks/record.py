"""The record of one benchmark: ours against a named peer, measured in the same run on the same machine."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fivesigma.core.integrity import write_json
from fivesigma.core.provenance import provenance

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Record:
    """One line of ``benchmarks/results.json``; ``ratio`` > 1 where we are better."""

    name: str
    """The job in words."""
    ours: float
    peer: float
    peer_name: str
    peer_version: str
    unit: str
    ratio: float
    goal: float | None
    machine: str

    def __str__(self) -> str:
        met = self.goal is None or self.ratio >= self.goal
        goal = "" if self.goal is None else f" (goal {self.goal:g}: {'met' if met else 'NOT met'})"
        return (
            f"{self.name}: {self.ours:.4g} {self.unit}, "
            f"{f'{self.peer_name} {self.peer_version}'.strip()} {self.peer:.4g} {self.unit}; ratio {self.ratio:.3g}{goal}"
        )


def record(
    name: str,
    *,
    ours: float,
    peer: float,
    peer_name: str,
    peer_version: str,
    unit: str,
    goal: float | None = None,
    ratio: float | None = None,
    more_is_better: bool = False,
    results: Path | None = RESULTS,
) -> Record:
    """Print a record, and put it into ``results`` in the place of an earlier one of the same name.

    ``ratio`` is the peer's time over ours, or our rate over the peer's if ``more_is_better``; give it where it was
    measured better than from the two numbers (as the median of interleaved pairs).
    """
    if ratio is None:
        ratio = ours / peer if more_is_better else peer / ours
    made = Record(name, ours, peer, peer_name, peer_version, unit, ratio, goal, machine())
    print(made, flush=True)
    if results is not None:
        known = {entry["name"]: entry for entry in _read(results)}
        known[name] = asdict(made)
        write_json(results, [known[key] for key in sorted(known)])
    return made


def against_rate(name: str, ours: float, asked: float) -> Record:
    """A rate in events/s against the one that was asked for."""
    return record(
        f"{name}, against the rate asked for",
        ours=ours,
        peer=asked,
        peer_name="asked for",
        peer_version="",
        unit="events/s",
        goal=1.0,
        more_is_better=True,
    )


def machine() -> str:
    """Processor and Python, in one line."""
    return f"{provenance()['machine']['processor']}, Python {platform.python_version()}"


def _read(results: Path) -> list[dict[str, Any]]:
    if not results.exists():
        return []
    content: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))
    return content
