"""What every simulation is: a public function with a name, and the result it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fivesigma.core.registry import Registry


@dataclass(frozen=True)
class SimulatedClass:
    """One class of a sample: how many jets or events, from which cross-section, and what was counted on the way.

    ``cross_section`` and its statistical error are in pb, before the selection; ``accepted_cross_section`` after it.
    """

    name: str
    label: int
    entries: int
    cross_section: float
    cross_section_error: float
    accepted_cross_section: float
    ledger: dict[str, int]


@dataclass(frozen=True)
class SimulationResult:
    """A finished sample: its file, the metadata beside it, its classes, and how many parts an earlier run had made."""

    simulation: str
    path: Path
    metadata_path: Path
    classes: tuple[SimulatedClass, ...]
    parts: int
    parts_resumed: int

    def to_json(self) -> dict[str, Any]:
        """The same, JSON-like."""
        return {**asdict(self), "path": str(self.path), "metadata_path": str(self.metadata_path)}


Simulation: TypeAlias = Callable[..., SimulationResult]
"""Called with the output path, and the options of that simulation by name."""

SIMULATIONS: Registry[Simulation] = Registry("simulation")
"""All simulations by name, as in ``fivesigma simulate NAME``."""
