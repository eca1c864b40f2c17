"""What a report is made of: sections of text, tables, facts, plots and the working-point slider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from fivesigma.core.errors import ConfigError
from fivesigma.report.curve import Curve, curve_data
from fivesigma.report.plot import Plot

SECTIONS: Mapping[str, str] = {
    "summary": "Summary",
    "inputs": "Input variables",
    "correlations": "Linear correlation coefficients",
    "reweighting": "Reweighting closure",
    "overtraining": "Classifier output and overtraining check",
    "rejection": "Background rejection against signal efficiency",
    "cuts": "Cut efficiencies and optimal cut",
    "bins": "Rejection in bins of pt",
    "restricted": "Restricted phase space",
    "calibration": "Calibration",
    "significance": "Discovery significance",
    "robustness": "Robustness",
    "data-simulation": "Data and simulation",
    "convergence": "Convergence",
    "jet-images": "Jet images",
    "learned": "What the network learned",
    "ledger": "Ledger",
    "cost": "Cost",
    "provenance": "Provenance",
}
"""Anchors and titles of the sections that every classification report has, in their order."""

_ANCHOR = re.compile(r"[a-z][a-z0-9-]*")


@runtime_checkable
class Measured(Protocol):
    """A number with its uncertainty: `fivesigma.evaluate.Measurement`, or anything shaped like it."""

    @property
    def value(self) -> float:
        """The value; not finite where the sample cannot give it."""
        ...

    @property
    def uncertainty(self) -> float | None:
        """One standard deviation, if it is known."""
        ...


@dataclass(frozen=True)
class Number:
    """A number with an optional uncertainty, for tables that are not built from evaluate's measurements."""

    value: float
    uncertainty: float | None = None


Cell: TypeAlias = str | int | float | bool | Measured | None


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text (never HTML), then references as links: ``(label, https address)``."""

    text: str
    references: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for label, address in self.references:
            if not address.startswith("https://"):
                raise ConfigError(f"the reference {label!r} must be an https:// address, got {address!r}")

    @property
    def paragraphs(self) -> list[str]:
        """The text split at blank lines."""
        return [p.strip() for p in self.text.split("\n\n") if p.strip()]


@dataclass(frozen=True)
class Table:
    """A table: a caption, column names, rows of cells. The first cell of a row is its heading.

    A `Measured` cell is written as value ± uncertainty, rounded as the Particle Data Group does; None as a dash.
    ``notes`` are sentences under the table, such as how the uncertainties were made.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigError(f"table {self.caption!r}: expected {len(self.columns)} cells in a row, got {row!r}")

    @classmethod
    def of_rows(cls, caption: str, rows: Sequence[Mapping[str, Any]], notes: tuple[str, ...] = ()) -> Table:
        """A table from mappings: columns in the order in which keys first appear, dashes where a key is missing.

        >>> Table.of_rows("cuts", [{"cut": "all", "events": 9}, {"cut": "mass", "kept": 0.5}]).columns
        ('cut', 'events', 'kept')
        """
        columns = tuple(dict.fromkeys(key for row in rows for key in row))
        return cls(caption, columns, tuple(tuple(row.get(c) for c in columns) for row in rows), notes)


@dataclass(frozen=True)
class Facts:
    """Names and values, nested mappings and sequences included: provenance, settings, a configuration."""

    content: Mapping[str, Any]
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Several plots side by side, as many in a row as there is room for."""

    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class WorkingPoints:
    """The slider: efficiency, rejection and S/√(B + σ_B²B²) live as the threshold moves.

    ``curves`` has the working points of each model. ``signal`` and ``background`` are the expected yields before the
    cut, ``background_uncertainty`` is the relative systematic uncertainty σ_B; the reader can change all three.
    """

    curves: Mapping[str, Curve]
    signal: float = 100.0
    background: float = 1000.0
    background_uncertainty: float = 0.1
    points: int = 401

    def __post_init__(self) -> None:
        if not self.curves:
            raise ConfigError("the working-point slider needs at least one model's curve")
        for model, curve in self.curves.items():
            shapes = {name: array.shape for name, array in curve_data(curve).items()}
            if len(set(shapes.values())) != 1 or len(shapes["threshold"]) != 1 or 0 in shapes["threshold"]:
                raise ConfigError(f"working points of {model!r}: expected arrays of one shape (point,), got {shapes}")


Block: TypeAlias = Text | Table | Facts | Plot | Gallery | WorkingPoints


@dataclass(frozen=True)
class Section:
    """A titled part of the report; ``anchor`` is its address in the page (lower-case letters, digits, ``-``)."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not _ANCHOR.fullmatch(self.anchor):
            raise ConfigError(f"{self.anchor!r} cannot be a section's anchor: use lower-case letters, digits and '-'")

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All plots of the section, in order."""
        found: list[Plot] = []
        for block in self.blocks:
            if isinstance(block, Plot):
                found.append(block)
            elif isinstance(block, Gallery):
                found.extend(block.plots)
        return tuple(found)


def section(anchor: str, *blocks: Block) -> Section:
    """One of the sections in `SECTIONS`, under its own title.

    Raises
    ------
    ConfigError
        if there is no such section.
    """
    if anchor not in SECTIONS:
        raise ConfigError(f"no section {anchor!r}; known: {', '.join(SECTIONS)}")
    return Section(SECTIONS[anchor], anchor, blocks)
