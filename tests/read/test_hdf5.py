"""HDF5: structured arrays as ATLAS and KM3NeT write them, padded constituents, checksums."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fivesigma.core.errors import BranchTypeError, ConfigError, FileFormatError
from fivesigma.core.jagged import Jagged
from fivesigma.read.formats import read_range, scan, trees_in

N, LENGTH = 50, 4
RNG = np.random.default_rng(5)
COUNTS = RNG.integers(0, LENGTH + 1, N)
PT = RNG.random((N, LENGTH)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """``jets`` and padded ``tracks`` with ``valid``; ``eventwise`` of another length; strings and three dimensions."""
    jets = np.zeros(N, dtype=[("pt", "f4"), ("label", "i4"), ("big", ">f8"), ("name", "S4"), ("xyz", "f4", (3,))])
    jets["pt"], jets["label"], jets["big"] = np.arange(N), np.arange(N) % 2, np.arange(N) / 8
    tracks = np.zeros((N, LENGTH), dtype=[("pt", "f4"), ("valid", "?")])
    tracks["pt"], tracks["valid"] = PT, np.arange(LENGTH) < COUNTS[:, None]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("jets", data=jets, chunks=(10,), compression="gzip", fletcher32=True)
        file.create_dataset("tracks", data=tracks)
        file.create_dataset("matrix", data=np.arange(3 * N).reshape(N, 3))
        file.create_dataset("cube", data=np.zeros((N, 2, 2)))
        file.create_dataset("eventwise", data=np.zeros(7, dtype=[("mu", "f4")]))
        file.create_dataset("nested/deep/x", data=np.arange(5.0))
    return tmp_path / "a.h5"


def test_datasets_of_one_length_are_one_tree(path: Path) -> None:
    assert trees_in(path) == dict.fromkeys(["jets", "eventwise", "nested/deep/x"], "HDF5")
    file = scan(path, "jets")
    assert file.entries == N
    assert {name: str(b) for name, b in file.branches.items() if b.dtype} == {
        "jets.pt": "float32",
        "jets.label": "int32",
        "jets.big": "float64",
        "tracks.pt": "jagged float32",
        "matrix": "jagged int64",
    }
    assert file.branches["jets.pt"].protection == "fletcher32"
    assert file.branches["tracks.pt"].protection == "nothing"
    for name in ("jets.name", "jets.xyz", "cube"):
        with pytest.raises(BranchTypeError, match="cannot be read"):
            file.branch(name)
    assert list(scan(path, "eventwise").branches) == ["mu"]
    assert list(scan(path, "nested/deep/x").branches) == ["x"]
    with pytest.raises(ConfigError, match="has 3 trees"):
        scan(path)


@pytest.mark.parametrize(("start", "stop"), [(0, N), (9, 11), (49, N), (7, 7)])
def test_ranges(path: Path, start: int, stop: int) -> None:
    columns = read_range(scan(path, "jets"), start, stop, ["tracks.pt", "jets.big", "matrix", "jets.pt"])
    assert list(columns) == ["tracks.pt", "jets.big", "matrix", "jets.pt"]
    assert columns["jets.pt"].tolist() == list(range(start, stop))  # type: ignore[union-attr]
    assert columns["jets.big"].dtype == np.dtype("f8")
    np.testing.assert_array_equal(columns["jets.big"], np.arange(start, stop) / 8)
    tracks, matrix = columns["tracks.pt"], columns["matrix"]
    assert isinstance(tracks, Jagged)
    assert isinstance(matrix, Jagged)
    np.testing.assert_array_equal(tracks.counts, COUNTS[start:stop])
    np.testing.assert_array_equal(tracks.values, PT[start:stop][np.arange(LENGTH) < COUNTS[start:stop, None]])
    np.testing.assert_array_equal(matrix.values, np.arange(3 * start, 3 * stop))


def test_a_flipped_bit_under_fletcher32_is_an_error(path: Path) -> None:
    with h5py.File(path) as file:
        place = file["jets"].id.get_chunk_info(2).byte_offset + 20
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="cannot read entries 0 to 50 of jets"):
        read_range(scan(path, "jets"), 0, N, ["jets.pt"])


def test_truncated_files_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(FileFormatError, match="truncated"):
        scan(path, "jets")


def test_a_file_without_arrays(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.attrs["x"] = 1
    with pytest.raises(FileFormatError, match="no array of numbers"):
        scan(tmp_path / "empty.h5")


@pytest.mark.shared_data
def test_km3net_and_liquido(shared_data: Path) -> None:
    """Against h5py's own reading."""
    path = shared_data / "km3net" / "basic_analysis_sample.h5"
    assert {"event_info", "mc_tracks"} <= set(trees_in(path))
    assert not any(name.startswith("_i_") for name in trees_in(path))
    file = scan(path, "event_info")
    assert (file.entries, file.branches["weight_w2"].protection) == (3484, "fletcher32")
    with h5py.File(path) as source:
        expected = source["event_info"]["weight_w2"][1000:2000]
    np.testing.assert_array_equal(read_range(file, 1000, 2000, ["weight_w2"])["weight_w2"], expected)
    hits = scan(shared_data / "neutrino-telescope" / "liquido_electrons.h5", "HitData")
    assert (hits.entries, str(hits.branches["HitData"])) == (121_096, "jagged float32")
