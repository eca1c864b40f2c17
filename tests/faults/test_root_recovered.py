"""Fault 3: files of a writer that was killed, recovered by ROOT or not.

``data/killed.root`` was written by ROOT 6.40/00 as below and killed; ``recovered.root`` is a copy that was opened for update,
upon which `TFile::Recover` found the description of the tree that was saved after 200 of 500 entries; ``merged.root`` is
that, copied by `TFileMerger` (`hadd`)::

    f = ROOT.TFile("killed.root", "RECREATE"); t = ROOT.TTree("events", "events")
    t.Branch("n", n, "n/I", 500); t.Branch("pt", pt, "pt[n]/F", 500); t.SetAutoSave(0); t.SetAutoFlush(100)
    for i in range(500):
        n[0] = i % 5 if i % 5 < 4 else 0
        for j in range(n[0]): pt[j] = i + j / 4
        t.Fill()
        if i == 199: t.AutoSave()
    os.kill(os.getpid(), signal.SIGKILL)
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import uproot

from fivesigma.core.errors import FileFormatError
from fivesigma.core.jagged import Jagged
from fivesigma.read import open_events
from fivesigma.read.header import check_header
from fivesigma.read.root import read_range, scan

DATA = Path(__file__).with_name("data")


@pytest.mark.parametrize("name", ["killed", "recovered", "merged"])
def test_the_files_are_of_the_version_that_the_documentation_names(name: str) -> None:
    (version,) = struct.unpack_from(">i", (DATA / f"{name}.root").read_bytes(), 4)
    assert version == 64000  # 6.40/00


def test_a_killed_writers_file_was_not_closed() -> None:
    with pytest.raises(FileFormatError, match="the file was not closed: its free list is missing"):
        scan(DATA / "killed.root")


def test_a_recovered_file_is_told_from_a_complete_one() -> None:
    """Its header is in order, and uproot reads 200 entries from it; but baskets of 200 more stand behind the tree."""
    path = DATA / "recovered.root"
    assert check_header(path).end == path.stat().st_size
    with uproot.open(path) as file:
        assert file["events"].num_entries == 200
    with pytest.raises(FileFormatError, match=r"not closed, but recovered: 6 baskets were written after") as caught:
        open_events(path)
    assert caught.value.remedy is not None
    assert "hadd" in caught.value.remedy


def test_a_copy_of_what_was_left_is_read() -> None:
    file = scan(DATA / "merged.root")
    columns = read_range(file, 0, file.entries, ["n", "pt"])
    i = np.arange(200)
    n = np.where(i % 5 < 4, i % 5, 0)
    assert isinstance(columns["pt"], Jagged)
    np.testing.assert_array_equal(columns["n"], n)
    np.testing.assert_array_equal(columns["pt"].counts, n)
    np.testing.assert_array_equal(
        columns["pt"].values, np.concatenate([k + np.arange(m) / 4 for k, m in zip(i, n, strict=True)])
    )


@pytest.mark.parametrize("folders", [("a/", "b/"), ("", "")])
def test_trees_of_one_name_are_not_taken_for_recovered_ones(folders: tuple[str, str], tmp_path: Path) -> None:
    """In two directories, or as two cycles: the baskets of the other one are its own."""
    path = tmp_path / "two.root"
    first, second = (f"{folder}t" for folder in folders)
    with uproot.recreate(path) as file:
        one = file.mktree(first, {"x": np.float64})
        one.extend({"x": np.arange(10.0)})
        two = file.mktree(second, {"x": np.float64})
        two.extend({"x": np.arange(20.0)})
        one.extend({"x": np.arange(5.0)})
    assert scan(path, second).entries == 20
    if first != second:
        assert scan(path, first).entries == 15
