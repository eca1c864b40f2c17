"""Which files, in which order, each once; entry ranges that cover every entry exactly once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    DuplicateInputError,
    FileFormatError,
    MissingBranchError,
    NoEventsError,
)
from fivesigma.read import Events, InputFile, open_events
from fivesigma.read.files import find_files

Writer = Callable[..., Path]


def test_natural_order_of_globs_and_folders(write_tree: Writer, tmp_path: Path) -> None:
    for seed, number in enumerate((10, 2, 1)):
        write_tree(f"data/run{number}.root", n=number, seed=seed)
    write_tree("data/deep/run3.root", n=3, seed=9)
    (tmp_path / "data" / "notes.txt").write_text("not data")
    assert [f.entries for f in open_events(tmp_path / "data" / "run*.root").files] == [1, 2, 10]
    assert open_events([str(tmp_path / "data")]).entries == 16
    ordered = open_events([tmp_path / "data" / "run2.root", tmp_path / "data" / "run[0-1]*.root"])
    assert [f.entries for f in ordered.files] == [2, 1, 10]
    assert open_events(str(tmp_path / "**" / "run3.root")).entries == 3


def test_relative_globs(write_tree: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree("data/a.root")
    monkeypatch.chdir(tmp_path)
    assert open_events("data/*.root").entries == 10


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("data/a.rot", "no such file(.|\n)*there is: a.root"),
        ("dta/a.root", "no such file(.|\n)*dta does not exist"),
        ("data/b*.root", "no file matches this pattern"),
        ("empty", r"no \*.root, \*.parquet, \*.h5, \*.hdf5 files here"),
    ],
)
def test_missing_files_are_named(write_tree: Writer, tmp_path: Path, pattern: str, message: str) -> None:
    write_tree("data/a.root")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=message) as caught:
        open_events(tmp_path / pattern)
    assert caught.value.file == tmp_path / pattern


def test_no_files_at_all() -> None:
    with pytest.raises(ConfigError, match="no input files"):
        find_files([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a, b: None, "is the same path as"),
        (lambda a, b: b.symlink_to(a), "is the same path as"),
        (lambda a, b: os.link(a, b), "is a link to it"),
        (lambda a, b: shutil.copy(a, b), "is a copy of equal content as"),
    ],
    ids=["path", "symbolic link", "hard link", "copy"],
)
def test_the_same_file_twice(write_tree: Writer, make: Callable[[Path, Path], object], message: str) -> None:
    first = write_tree("a.root")
    second = first.with_name("b.root")
    make(first, second)
    second = second if second.exists() else first
    with pytest.raises(DuplicateInputError, match=message) as caught:
        open_events([first, second])
    assert str(first) in str(caught.value)
    assert caught.value.file == second


def test_an_empty_tree(write_tree: Writer) -> None:
    empty, full = write_tree("empty.root", n=0), write_tree("full.root", n=4)
    with pytest.raises(NoEventsError, match="the tree has no entries") as caught:
        open_events(empty)
    assert caught.value.tree == "jets"
    events = open_events([empty, full])
    assert [f.entries for f in events.files] == [0, 4]
    assert [(p.file.path, p.start, p.stop) for p in events.partitions(3)] == [(full, 0, 3), (full, 3, 4)]


def test_branches_must_agree_between_files(write_tree: Writer) -> None:
    ones = {"x": np.ones(10, np.float32)}
    a, b = write_tree("a.root", **ones), write_tree("b.root", seed=2, **ones)
    assert open_events([a, b]).require(["x", "constituent_pt"])["x"].dtype == "float32"
    double = write_tree("double.root", x=np.ones(10))
    with pytest.raises(BranchTypeError, match=r"float64 here, but float32 in .*a.root") as caught:
        open_events([a, b, double]).require(["x"])
    assert (caught.value.file, caught.value.branch) == (double, "x")
    assert open_events([a, double]).require(["pt"])  # what is not asked for does not matter
    with pytest.raises(MissingBranchError, match="no such branch") as missing:
        open_events([a, write_tree("none.root", seed=3)]).require(["x"])
    assert missing.value.file == a.with_name("none.root")


def test_flat_against_jagged(tmp_path: Path) -> None:
    for name, kind, values in (("a", "f4", np.ones(3, "f4")), ("b", "var * float32", [[1.0], [], [2.0]])):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file.mktree("t", {"x": kind}).extend({"x": values})
    with pytest.raises(BranchTypeError, match=r"jagged float32 here, but float32 in"):
        open_events(tmp_path).require(["x"])


@settings(deadline=None, max_examples=100)
@given(entries=st.lists(st.integers(0, 50), min_size=1, max_size=5), step=st.integers(1, 20))
def test_partitions_cover_every_entry_once(entries: list[int], step: int) -> None:
    files = tuple(InputFile(Path(f"{i}.root"), "t", "TTree", n, 1, "", {}) for i, n in enumerate(entries))
    covered = [(p.file.path, e) for p in Events(files).partitions(step) for e in range(p.start, p.stop)]
    assert covered == [(f.path, e) for f in files for e in range(f.entries)]
    assert all(0 < len(p) <= step for p in Events(files).partitions(step))
