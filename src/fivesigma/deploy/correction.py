"""A table as correctionlib's JSON (schema 2): one MultiBinning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, MissingDependencyError
from fivesigma.core.integrity import write_json
from fivesigma.deploy.binning import Axis
from fivesigma.deploy.lookup_table import Table
from fivesigma.deploy.trained_model import Float64

CORRECTIONLIB = "correctionlib"
READING = 1e-15
"""By how much correctionlib may read a number wrongly, relative to its size: its JSON reader rounds in the last place."""
NEAR = 3.0
"""Units in the last place around an edge where correctionlib's own reading of the edge decides."""
MOST_CELLS = 1_000_000
"""JSON of more cells would take minutes and gigabytes to read."""


def write_correction(path: Path, table: Table, name: str, source: str) -> None:
    """Write the table with a JSON number for each cell.

    correctionlib's bins hold their lower edge, ours their upper one: each edge is written as the next larger number, which
    no value lies below. Outer edges are infinite; +∞ itself is clamped into the last bin.

    Raises
    ------
    ConfigError
        if the table is too large for JSON.
    """
    if len(table.cells) > MOST_CELLS:
        raise ConfigError(
            f"a table of {len(table.cells):,} cells is too large for correctionlib's JSON (at most {MOST_CELLS:,}); "
            "prune it with most_cells"
        )
    edges = [["-inf", *np.nextafter(axis.edges, np.inf).tolist(), "inf"] for axis in table.axes]
    correction = {
        "name": name,
        "description": source,
        "version": 1,
        "inputs": [{"name": axis.name, "type": "real"} for axis in table.axes],
        "output": {"name": "score", "type": "real"},
        "data": {
            "nodetype": "multibinning",
            "inputs": [axis.name for axis in table.axes],
            "edges": edges,
            "content": table.code.decode(np.asarray(table.cells)).tolist(),
            "flow": "clamp",
        },
    }
    write_json(path, {"schema_version": 2, "corrections": [correction]}, indent=None)


class Correction:
    """The JSON file, read by correctionlib."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            from correctionlib import CorrectionSet
        except ImportError as error:
            raise MissingDependencyError(
                "correctionlib's JSON is proved with correctionlib; install it: pip install 'fivesigma[deploy]'"
            ) from error
        self._correction = CorrectionSet.from_file(str(path))[name]

    def __call__(self, table: Table, values: NDArray[Any]) -> Float64:
        """Of events (event, input), of shape (event,).

        correctionlib puts a NaN above all edges, the table below; and it reads one edge in ten off by one unit in the last
        place. So a NaN, and what lies within ``NEAR`` units of an edge, is asked for inside its bin of the table.
        """
        asked = [_off_edges(axis, x) for axis, x in zip(table.axes, np.asarray(values, np.float64).T, strict=True)]
        return np.asarray(self._correction.evaluate(*asked), dtype=np.float64)


def _off_edges(axis: Axis, x: Float64) -> Float64:
    near = np.isnan(x)
    for edge in axis.edges:
        near |= np.abs(x - edge) <= NEAR * np.spacing(edge)
    return np.where(near, axis.points[axis.bin(x)], x)
