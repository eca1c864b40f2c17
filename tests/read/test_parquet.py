"""Parquet: the values of other readers, verified checksums, refused nulls."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fivesigma.core.errors import BranchTypeError, FileFormatError, MissingBranchError
from fivesigma.core.jagged import Jagged
from fivesigma.read import open_events
from fivesigma.read.formats import read_range, scan, trees_in

N = 100
MAX_BRANCHES = 15  # of thousands, evenly chosen
RNG = np.random.default_rng(3)
TRACKS = [RNG.random(RNG.integers(0, 5)).astype(np.float32).tolist() for _ in range(N)]
HITS = [[list(range(RNG.integers(0, 3))) for _ in tracks] for tracks in TRACKS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Flat, jagged, nested, records, fixed-size lists; a name with a dot; row groups of 30."""
    table = pa.table(
        {
            "event": pa.array(np.arange(N)),
            "flag": pa.array(RNG.random(N) < 0.5),
            "track_pt": pa.array(TRACKS, pa.list_(pa.float32())),
            "hits": pa.array(HITS, pa.large_list(pa.list_(pa.int32()))),
            "jet": pa.array([[{"pt": x, "n": 1} for x in t] for t in TRACKS]),
            "met": pa.array([{"pt": float(i), "phi": 0.5} for i in range(N)]),
            "a.b": pa.array(RNG.random(N).astype(np.float32)),
            "corner": pa.array([[i, i + 1, i + 2] for i in range(N)], pa.list_(pa.int16(), 3)),
            "name": pa.array(["x"] * N),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30, write_page_checksum=True)
    return tmp_path / "a.parquet"


def test_types_names_and_protection(path: Path) -> None:
    file = scan(path)
    assert (file.entries, file.tree, file.container, trees_in(path)) == (N, "table", "Parquet", {"table": "Parquet"})
    assert {name: str(branch) for name, branch in file.branches.items() if branch.dtype} == {
        "event": "int64",
        "flag": "bool",
        "track_pt": "jagged float32",
        "hits": "jagged int32",
        "hits.count": "jagged int64",
        "jet.pt": "jagged float64",
        "jet.n": "jagged int64",
        "met.pt": "float64",
        "met.phi": "float64",
        "a.b": "float32",
        "corner": "jagged int16",
    }
    assert {branch.protection for branch in file.branches.values()} == {"page CRC"}
    with pytest.raises(BranchTypeError, match="'string' cannot be read"):
        file.branch("name")


@pytest.mark.parametrize(("start", "stop"), [(0, N), (0, 1), (29, 31), (30, 60), (95, N), (10, 10)])
def test_any_range_across_row_groups(path: Path, start: int, stop: int) -> None:
    file = scan(path)
    names = [name for name, branch in file.branches.items() if branch.dtype]
    columns = read_range(file, start, stop, names)
    assert list(columns) == names
    assert columns["event"].tolist() == list(range(start, stop))  # type: ignore[union-attr]
    pt, hits, counts, corner = (columns[name] for name in ("track_pt", "hits", "hits.count", "corner"))
    assert all(isinstance(column, Jagged) for column in (pt, hits, counts, corner))
    np.testing.assert_array_equal(pt.values, [x for t in TRACKS[start:stop] for x in t])  # type: ignore[union-attr]
    np.testing.assert_array_equal(columns["jet.pt"].values, pt.values)  # type: ignore[union-attr]
    np.testing.assert_array_equal(pt.counts, [len(t) for t in TRACKS[start:stop]])  # type: ignore[union-attr]
    np.testing.assert_array_equal(hits.counts, [sum(map(len, h)) for h in HITS[start:stop]])  # type: ignore[union-attr]
    np.testing.assert_array_equal(counts.values, [len(x) for h in HITS[start:stop] for x in h])  # type: ignore[union-attr]
    np.testing.assert_array_equal(hits.values, [x for h in HITS[start:stop] for y in h for x in y])  # type: ignore[union-attr]
    assert corner.values.tolist() == [i + k for i in range(start, stop) for k in range(3)]  # type: ignore[union-attr]


def test_nulls_are_nan_or_refused(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, None, 3.0], "n": [1, None, 3], "v": [[1.0], None, []]})
    pq.write_table(table, tmp_path / "nulls.parquet")
    file = scan(tmp_path / "nulls.parquet")
    assert file.branches["x"].protection == "nothing"
    np.testing.assert_array_equal(read_range(file, 0, 3, ["x"])["x"], [1.0, np.nan, 3.0])
    for name in ("n", "v"):
        with pytest.raises(BranchTypeError, match="1 values are missing"):
            read_range(file, 0, 3, [name])


def test_a_flipped_bit_in_a_page_is_an_error(path: Path) -> None:
    """Where readers elsewhere return other values; see docs/integrity.md."""
    expected = read_range(scan(path), 0, N, ["a.b"])["a.b"]
    with pq.ParquetFile(path) as parquet:
        chunk = parquet.metadata.row_group(0).column(parquet.schema_arrow.names.index("a.b") + 2)
    content = bytearray(path.read_bytes())
    content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 5] ^= 4
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"cannot read entries 0 to 100.*(checksum|CRC)"):
        read_range(scan(path), 0, N, ["a.b"])
    assert len(expected) == N


def test_missing_columns_and_tables(path: Path) -> None:
    with pytest.raises(MissingBranchError, match="did you mean track_pt"):
        scan(path).branch("track_p")
    with pytest.raises(FileFormatError, match=r"unknown tree 'Events'\. Known: table"):
        scan(path, "Events")


def test_truncated_files_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match="cannot read"):
        scan(path)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["nano_dimuon", "nano_dy"])
def test_nanoaod_reads_equal_in_three_formats(shared_data: Path, name: str) -> None:
    """The same events as TTree, RNTuple and Parquet."""
    folder = shared_data / "cms-atlas-events"
    events = [
        open_events(folder / f"{name}{end}", tree)
        for end, tree in ((".root", "Events"), ("_rntuple.root", "Events"), (".parquet", None))
    ]
    shared = [
        n for n, b in events[2].files[0].branches.items() if b.dtype and all(n in e.files[0].branches for e in events)
    ]
    assert len(shared) > 1000
    chosen = shared[:: len(shared) // MAX_BRANCHES]
    first, *others = [e.read(next(e.partitions()), chosen) for e in events]
    for columns in others:
        for branch in chosen:
            a, b = first[branch], columns[branch]
            assert isinstance(a, Jagged) == isinstance(b, Jagged)
            if isinstance(a, Jagged) and isinstance(b, Jagged):
                np.testing.assert_array_equal(a.offsets, b.offsets, err_msg=branch)
                a, b = a.values, b.values
            np.testing.assert_array_equal(a, b, err_msg=branch)


@pytest.mark.shared_data
def test_awkward_reads_the_same(shared_data: Path) -> None:
    path = shared_data / "cms-atlas-events" / "nano_dy.parquet"
    expected = ak.from_parquet(path, columns=["Jet_pt"])["Jet_pt"]
    column = read_range(scan(path), 5, 40, ["Jet_pt"])["Jet_pt"]
    assert isinstance(column, Jagged)
    np.testing.assert_array_equal(column.values, ak.to_numpy(ak.flatten(expected[5:])))
