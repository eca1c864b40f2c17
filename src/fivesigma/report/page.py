"""The report: one HTML file that needs no network, no server and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import atomic_path
from fivesigma.report.blocks import Cell, Facts, Measured, Section, Table, WorkingPoints
from fivesigma.report.curve import thinned
from fivesigma.report.numbers import NOTHING, number, with_uncertainty
from fivesigma.report.plot import PlotFiles, json_able, save_plots

LARGEST_SVG = 110_000
"""Bytes of an SVG that is embedded as it is; the page shows larger ones as PNG and links to the vector file."""

FIGURES_FOLDER = "figures"
_SYMBOL = re.compile(r"([εσ])_([SB])")


@dataclass(frozen=True)
class TableCell:
    """A cell as it stands in the page."""

    text: str
    numeric: bool


def table_cell(cell: Cell) -> TableCell:
    """Text stays text; numbers are rounded by their uncertainty; None is a dash.

    >>> table_cell(0.5), table_cell(None), table_cell("cnn")
    (TableCell(text='0.5000', numeric=True), TableCell(text='–', numeric=True), TableCell(text='cnn', numeric=False))
    """
    match cell:
        case None:
            return TableCell(NOTHING, True)
        case bool():
            return TableCell("yes" if cell else "no", False)
        case str():
            return TableCell(cell, False)
        case Measured():
            return TableCell(with_uncertainty(cell.value, cell.uncertainty), True)
    return TableCell(number(float(cell)), True)


def table_cells(table: Table) -> list[list[TableCell]]:
    """All rows of a table, as they stand in the page."""
    return [[table_cell(cell) for cell in row] for row in table.rows]


def script_json(content: Any) -> Markup:
    r"""JSON that can stand inside a script element whatever its strings contain.

    >>> script_json({"model": "</script><!--\u2028&"})
    Markup('{"model":"\\u003c/script\\u003e\\u003c!--\\u2028\\u0026"}')
    """
    text = json.dumps(json_able(content), separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 (nothing that could end the element is left)


def symbols(text: object) -> Markup:
    """Escaped text in which the efficiencies and σ_B have real subscripts.

    >>> symbols("1/ε_B <b>")
    Markup('1/ε<sub>B</sub> &lt;b&gt;')
    """
    return Markup(_SYMBOL.sub(r"\1<sub>\2</sub>", str(escape(text))))  # noqa: S704 (escaped before)


def slider_data(block: WorkingPoints) -> dict[str, Any]:
    """What the slider's script reads: for each model its arrays, thinned, rounded to 6 significant digits."""
    curves = [
        {"model": model} | {name: [_rounded(v) for v in array] for name, array in thinned(curve, block.points).items()}
        for model, curve in block.curves.items()
    ]
    return {"curves": curves}


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def write_report(
    path: Path,
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, Any] | None = None,
    *,
    subtitle: str = "",
    figures: Path | None = None,
    workers: int = 1,
) -> Path:
    """Write the page, and each plot as files with its data, and return the page's path.

    The page holds everything it shows. Beside it, a folder holds every plot as ``.svg``, ``.pdf``, ``.png`` and the
    data drawn as ``.json``.

    Parameters
    ----------
    path
        the HTML file
    title, subtitle
        plain text
    sections
        in their order; with ``provenance`` given, a last section with it is added unless there is one already
    figures
        the folder of the plots' files; ``figures/`` beside the page by default
    workers
        plots drawn at the same time, each in a process of its own

    Raises
    ------
    ConfigError
        if two sections have the same anchor, or two plots the same name.
    OutputError
        if a file cannot be written.
    """
    if provenance is not None and all(s.anchor != "provenance" for s in sections):
        sections = [*sections, Section("Provenance", "provenance", (Facts(provenance),))]
    _refuse_duplicates("section anchor", (s.anchor for s in sections))
    _refuse_duplicates("plot name", (p.name for s in sections for p in s.plots))
    figures = figures or path.parent / FIGURES_FOLDER
    files = save_plots([p for s in sections for p in s.plots], figures, workers)
    images = {name: _embedded(f) for name, f in files.items()}
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            subtitle=subtitle,
            sections=sections,
            images=images,
            figures=_relative(figures, path.parent),
            **_inline_assets(),
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fivesigma.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cells": table_cells,
        "script_json": script_json,
        "slider_data": slider_data,
        "symbols": symbols,
        "fact": _fact,
    }
    environment.tests |= {"kind": lambda block, name: type(block).__name__ == name}
    return environment


def _fact(value: str | float | bool | None) -> str:
    """Settings and seeds stand as they were given: neither rounded nor grouped."""
    return NOTHING if value is None else str(value)


def _inline_assets() -> dict[str, Any]:
    """The style sheet and the script with their digests: the page's policy lets nothing else run."""
    folder = Path(__file__).parent / "templates"
    assets: dict[str, Any] = {}
    for name, file in (("style", "report.css"), ("script", "report.js")):
        text = (folder / file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assets[name] = Markup(text)  # noqa: S704 (our own file)
        assets[f"{name}_digest"] = f"sha256-{digest}"
    return assets


def _embedded(files: PlotFiles) -> str:
    svg = files.svg.read_bytes()
    if len(svg) <= LARGEST_SVG:
        return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return f"data:image/png;base64,{base64.b64encode(files.png.read_bytes()).decode()}"


def _relative(folder: Path, start: Path) -> str | None:
    return folder.relative_to(start).as_posix() if folder.is_relative_to(start) else None


def _refuse_duplicates(kind: str, names: Iterator[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"two parts of the report have the {kind} {name!r}")
        seen.add(name)
