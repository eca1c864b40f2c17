"""NumPy's ``.npz``: ``numpy.load(path)["jet_pt"]``; a jagged column is ``<name>/values`` and ``<name>/offsets``.

Written without compression in one pass a column; the archive has a CRC-32 of every array, which reading verifies.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.exchange.table import ColumnType, ExchangeFormat, Table

_DESCRIPTION = "fivesigma.json"


class NumpyExchange(ExchangeFormat):
    """An archive of arrays; each must fit into memory when it is read."""

    suffix = ".npz"

    def write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        """Write column by column; the description is a member of the archive."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, kind in table.types.items():
                if not kind.jagged:
                    _write_array(archive, name, kind.dtype, table.rows, (part[name] for part in table.parts()))
                    continue
                columns = [column for part in table.parts() if isinstance(column := part[name], Jagged)]
                n_values = sum(len(column.values) for column in columns)
                _write_array(archive, f"{name}/values", kind.dtype, n_values, (c.values for c in columns))
                _write_array(archive, f"{name}/offsets", "int64", table.rows + 1, _offsets(columns))
            archive.writestr(_DESCRIPTION, json.dumps(finish()))

    def read_description(self, path: Path) -> Mapping[str, Any]:
        """What the archive's description says."""
        with zipfile.ZipFile(path) as archive:
            content: dict[str, Any] = json.loads(archive.read(_DESCRIPTION))
        return content

    def read(self, path: Path, types: Mapping[str, ColumnType]) -> Iterator[dict[str, Column]]:
        """All rows at once."""
        with np.load(path, allow_pickle=False) as arrays:
            yield {
                name: Jagged(arrays[f"{name}/values"], arrays[f"{name}/offsets"]) if kind.jagged else arrays[name]
                for name, kind in types.items()
            }


def _write_array(archive: Any, name: str, dtype: str, n: int, pieces: Any) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        kind = np.dtype(dtype).newbyteorder("<")
        np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": (n,)})
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=kind).tobytes())


def _offsets(columns: list[Jagged]) -> Iterator[NDArray[np.int64]]:
    yield np.zeros(1, dtype=np.int64)
    last = 0
    for column in columns:
        yield column.offsets[1:] + last
        last += len(column.values)
