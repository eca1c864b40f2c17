"""One file: what is in it, reading ranges of it, and every way in which it can be wrong."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import BranchTypeError, ConfigError, FileFormatError, MissingBranchError
from fivesigma.core.jagged import Jagged
from fivesigma.read.root import read_range, scan, trees_in

Writer = Callable[..., Path]
both_containers = pytest.mark.parametrize("rntuple", [False, True], ids=["TTree", "RNTuple"])


@both_containers
def test_reads_what_was_written(write_tree: Writer, rntuple: bool) -> None:
    file = scan(write_tree(n=25, rntuple=rntuple))
    assert (file.tree, file.entries, file.container) == ("jets", 25, "RNTuple" if rntuple else "TTree")
    columns = read_range(file, 5, 20, ["event_number", "pt", "flag", "constituent_pt"])
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 4, 25)
    pt, flag = rng.uniform(250, 300, 25).astype(np.float32), rng.random(25) < 0.5
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = rng.random(int(counts.sum())).astype(np.float32)
    np.testing.assert_array_equal(columns["event_number"], np.arange(5, 20))
    np.testing.assert_array_equal(columns["pt"], pt[5:20])
    np.testing.assert_array_equal(columns["flag"], flag[5:20])
    jagged = columns["constituent_pt"]
    assert isinstance(jagged, Jagged)
    np.testing.assert_array_equal(jagged.counts, counts[5:20])
    np.testing.assert_array_equal(jagged.values, values[offsets[5] : offsets[20]])
    assert [c.dtype for c in columns.values()] == [np.int64, np.float32, np.bool_, np.float32]
    assert all(c.dtype.isnative for c in columns.values())


@both_containers
def test_a_missing_branch_names_the_nearest(write_tree: Writer, rntuple: bool) -> None:
    path = write_tree(rntuple=rntuple)
    with pytest.raises(MissingBranchError, match="did you mean constituent_pt") as caught:
        read_range(scan(path), 0, 5, ["constituents_pt"])
    assert (caught.value.file, caught.value.tree, caught.value.branch) == (path, "jets", "constituents_pt")


def test_arrays_of_fixed_size_are_lists_of_constant_length(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    with uproot.recreate(path) as file:
        types = {"three": np.dtype((np.float32, (6,))), "matrix": np.dtype((np.float32, (2, 3)))}
        file.mktree("t", types).extend({"three": values, "matrix": values.reshape(4, 2, 3)})
    found = scan(path)
    assert {name: str(branch) for name, branch in found.branches.items()} == {
        "three": "jagged float32",
        "matrix": "jagged float32",
        "matrix.count": "jagged int64",
    }
    columns = read_range(found, 1, 3, ["three", "matrix", "matrix.count"])
    assert all(isinstance(column, Jagged) for column in columns.values())
    for name in ("three", "matrix"):
        assert columns[name].counts.tolist() == [6, 6]  # type: ignore[union-attr]
        np.testing.assert_array_equal(columns[name].values, values[1:3].ravel())  # type: ignore[union-attr]
    assert columns["matrix.count"].values.tolist() == [3, 3, 3, 3]  # type: ignore[union-attr]
    assert columns["matrix.count"].counts.tolist() == [2, 2]  # type: ignore[union-attr]


def test_strings_are_listed_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {"name": "string", "x": np.float64}).extend({"name": ["a", "b"], "x": np.zeros(2)})
    found = scan(path)
    assert found.branches["name"].dtype is None
    with pytest.raises(BranchTypeError, match=r"type '.*' cannot be read"):
        read_range(found, 0, 1, ["name"])


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "branch"),
    [
        ("root-io/uproot-stl_containers.root", "vector_vector_int32"),
        ("root-io/test_stl_containers_rntuple_v1-0-0-0.root", "vector_vector_int32"),
        ("root-io/test_stl_containers_rntuple_v1-0-0-0.root", "array_float"),
    ],
)
def test_lists_of_lists_are_two_branches(shared_data: Path, name: str, branch: str) -> None:
    file = scan(shared_data / name)
    with uproot.open(file.path) as source:
        reference = source[file.tree][branch].array()
    values = read_range(file, 0, file.entries, [branch])[branch]
    assert isinstance(values, Jagged)
    assert values.values.tolist() == ak.flatten(reference, axis=None).to_list()
    if reference.ndim == 2:
        assert values.counts.tolist() == ak.num(reference).to_list()
        return
    counts = read_range(file, 0, file.entries, [f"{branch}.count"])[f"{branch}.count"]
    assert isinstance(counts, Jagged)
    assert values.counts.tolist() == ak.sum(ak.num(reference, axis=2), axis=1).to_list()
    assert [counts[np.array([i])].values.tolist() for i in range(len(counts))] == ak.num(reference, axis=2).to_list()


def test_the_only_tree_is_found_and_several_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("dir/signal", {"x": np.float64}).extend({"x": np.zeros(2)})
    assert scan(path).tree == "dir/signal"
    with uproot.update(path) as file:
        file.mktree("background", {"x": np.float64}).extend({"x": np.zeros(3)})
    assert trees_in(path) == {"dir/signal": "TTree", "background": "TTree"}
    with pytest.raises(ConfigError, match="2 trees: name one of them as `tree`: background, dir/signal"):
        scan(path)
    with pytest.raises(FileFormatError, match="unknown tree 'backgroud'; did you mean 'background'"):
        scan(path, "backgroud")
    assert scan(path, "background").entries == 3


def test_a_file_without_trees(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0, 2.0])
    with pytest.raises(FileFormatError, match="no TTree and no RNTuple"):
        scan(path)


def test_a_file_without_keys_was_not_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path):
        pass
    with pytest.raises(FileFormatError, match="no keys: it was not closed"):
        scan(path)


@both_containers
def test_a_change_after_the_scan_is_noticed(write_tree: Writer, rntuple: bool) -> None:
    path = write_tree(rntuple=rntuple)
    file = scan(path)
    os.utime(path, ns=(0, 0))
    assert len(read_range(file, 0, 5, ["pt"])["pt"]) == 5  # touched, but the same
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileFormatError, match="changed after it was scanned"):
        read_range(file, 0, 5, ["pt"])
    path.unlink()
    with pytest.raises(FileFormatError, match="is gone"):
        read_range(file, 0, 5, ["pt"])


def test_damaged_bytes_are_named_by_branch_and_range(write_tree: Writer) -> None:
    """uproot's ZLIB notices flips; what comes out is its error with our place."""
    path = write_tree(n=2000)
    with uproot.open(path) as file:
        basket = file["jets"]["pt"]
        offset = basket.member("fBasketSeek")[0]
    content = bytearray(path.read_bytes())
    content[offset + 120] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="cannot read entries 0 to 2,000") as caught:
        read_range(scan(path), 0, 2000, ["pt"])
    assert (caught.value.branch, caught.value.tree) == ("pt", "jets")
    assert caught.value.__cause__ is not None


def test_a_flipped_header_is_refused(write_tree: Writer) -> None:
    """A key list that the header places elsewhere must not read as an empty file."""
    path = write_tree()
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack(">i", 100 + 2**20)  # fBEGIN
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="damaged header: the first record is said to be at byte 1,048,676"):
        scan(path)


def test_a_colon_in_a_path_is_not_a_tree(write_tree: Writer) -> None:
    assert scan(write_tree("run:3/a:b.root")).entries == 10


def test_empty_lists_and_ranges(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {"x": "var * float64"}).extend({"x": ak.Array([[], [], []]) * 1.0})
    column = read_range(scan(path), 1, 3, ["x"])["x"]
    assert isinstance(column, Jagged)
    assert column.counts.tolist() == [0, 0]
    assert column.dtype == np.float64
