"""Writing columns into a ROOT file, as a TTree or as an RNTuple."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Columns, Jagged

FileFormat = Literal["ttree", "rntuple"]

_ZLIB_LEVEL = 9


def write_root(path: Path, tree: str, blocks: Iterable[Columns], file_format: FileFormat = "ttree") -> int:
    """Write blocks of columns, one basket (cluster) a block, and return the number of entries.

    Flat columns become branches of their own type. Jagged columns of one group, named ``<group>_<field>``, share the
    branch ``n<group>`` that counts them in a TTree; an RNTuple has collections instead. Everything is compressed with
    ZLIB, whose checksum shows a flipped bit on reading: ZSTD and LZ4 baskets do not, read with uproot 5.7.

    Raises
    ------
    OutputError
        if the file cannot be written.
    """
    import uproot

    entries, writer = 0, None
    with atomic_path(path) as temporary, uproot.recreate(temporary, compression=uproot.ZLIB(_ZLIB_LEVEL)) as file:
        for columns in blocks:
            data = _grouped(columns) if file_format == "ttree" else {n: _array(c) for n, c in columns.items()}
            if writer is None:
                make = file.mktree if file_format == "ttree" else file.mkrntuple
                writer = make(tree, {name: _type(values) for name, values in data.items()})
            writer.extend(data)
            entries += len(next(iter(columns.values())))
    return entries


def _grouped(columns: Columns) -> dict[str, Any]:
    """Flat columns as they are, jagged ones zipped into one record a group."""
    import awkward as ak

    data: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, column in columns.items():
        if isinstance(column, Jagged):
            group, _, field = name.partition("_")
            groups.setdefault(group, {})[field] = _array(column)
        else:
            data[name] = column
    return data | {group: ak.zip(fields) for group, fields in groups.items()}


def _array(column: Any) -> Any:
    import awkward as ak

    if not isinstance(column, Jagged):
        return column
    values = ak.contents.NumpyArray(np.ascontiguousarray(column.values))
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), values))


def _type(values: Any) -> Any:
    return values.dtype if isinstance(values, np.ndarray) else values.type.content
