"""The same events in every codec and container that is read, those of ROOT as TTree, as RNTuple, and with page checksums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import uproot.compression
import xxhash
from uproot.writing import _cascadentuple as ntuple_writer

CODECS: dict[str, Any] = {
    "uncompressed": None,
    "zlib": uproot.ZLIB(4),
    "lzma": uproot.LZMA(4),
    "lz4": uproot.LZ4(4),
    "zstd": uproot.ZSTD(4),
}
CHECKED = "rntuple_checked"
"""An RNTuple as ROOT writes it, with a checksum behind each page; uproot writes none."""
ROOT_KINDS = tuple(f"{container}-{codec}" for container in ("ttree", "rntuple", CHECKED) for codec in CODECS)
OTHER_KINDS = ("parquet-none", "parquet-zstd", "hdf5-none", "hdf5-gzip")
KINDS = ROOT_KINDS + OTHER_KINDS
_SUFFIXES = {"parquet": ".parquet", "hdf5": ".h5"}

Columns = Mapping[str, Any]
"""NumPy arrays, or awkward arrays of lists of numbers; in HDF5 all lists have one length."""


def write_kind(path: Path, kind: str, columns: Columns, parts: int = 1) -> Path:
    """Write columns in so many baskets, clusters, row groups or chunks; the suffix is the kind's."""
    container, codec = kind.split("-")
    path = path.with_suffix(_SUFFIXES.get(container, ".root"))
    n = len(next(iter(columns.values())))
    step = max(-(-n // parts), 1)
    if container == "parquet":
        table = pa.table({name: _arrow(column) for name, column in columns.items()})
        pq.write_table(table, path, compression=codec, row_group_size=step, write_page_checksum=True)
    elif container == "hdf5":
        with h5py.File(path, "w") as file:
            for name, column in columns.items():
                values = ak.to_numpy(column)
                options = {} if codec == "none" else {"compression": codec}
                chunks = (step, *values.shape[1:]) if n else None
                file.create_dataset(name, data=values, chunks=chunks, **(options if n else {}))
    else:
        pieces = [{name: c[i : i + step] for name, c in columns.items()} for i in range(0, n, step)]
        with uproot.recreate(path, compression=CODECS[codec]) as file, _page_checksums(container == CHECKED):
            if container == "ttree":
                tree = file.mktree("events", {name: _type(column) for name, column in columns.items()})
            else:
                first = pieces.pop(0) if pieces else dict(columns)
                tree = file.mkrntuple("events", first)
            for piece in pieces:
                tree.extend(piece)
    return path


def _type(column: Any) -> Any:
    return f"var * {column.type.content.content}" if isinstance(column, ak.Array) else column.dtype


def _arrow(column: Any) -> Any:
    return ak.to_arrow(column, extensionarray=False) if isinstance(column, ak.Array) else pa.array(column)


class _Page(bytes):
    """The bytes of a page, among all that uproot writes."""


@contextmanager
def _page_checksums(wanted: bool) -> Iterator[None]:
    """Let uproot write xxh3 checksums behind the pages of RNTuples, and say so by a negative number of elements."""
    if not wanted:
        yield
        return
    compress, add = uproot.compression.compress, ntuple_writer.NTuple.add_rblob

    def page(*words: Any) -> _Page:
        return _Page(bytes(compress(*words)))

    def add_with_digest(self: Any, sink: Any, content: Any, length: int) -> Any:
        if isinstance(content, _Page):
            content = bytes(content) + xxhash.xxh3_64_intdigest(content).to_bytes(8, "little")
        return add(self, sink, content, length)

    def description(self: Any) -> bytes:
        return bytes(ntuple_writer._rntuple_page_num_elements_format.pack(-self.num_entries) + self.locator.serialize())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uproot.compression, "compress", page)
        patch.setattr(ntuple_writer.NTuple, "add_rblob", add_with_digest)
        patch.setattr(ntuple_writer.NTuple_PageDescription, "serialize", description)
        yield


def events(n: int = 600, **more: Any) -> dict[str, Any]:
    """Columns of ``n`` events: ``event``, ``pt``, ``mass``, ``w``, and ``track_pt`` with two values an event."""
    rng = np.random.default_rng(3)
    columns = {
        "event": np.arange(n),
        "pt": rng.exponential(50.0, n).astype(np.float32),
        "mass": rng.normal(80.0, 5.0, n).astype(np.float32),
        "w": rng.normal(1.0, 0.7, n),
        "track_pt": ak.from_regular(rng.random((n + 1, 2)).astype(np.float32))[:n],
    }
    return {**columns, **more}
