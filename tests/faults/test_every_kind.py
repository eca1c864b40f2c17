"""Faults 1, 4, 7, 12 to 20 and 29 in real files of every codec and container: the right counts, or a named error."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from tests.faults.kinds import KINDS, events, write_kind

from fivesigma.core.errors import (
    BranchTypeError,
    DuplicateInputError,
    FileFormatError,
    InputError,
    MissingBranchError,
    NoEventsError,
    SplitError,
)
from fivesigma.dataset import Conversion, Dataset, Sample, convert, scan_inputs
from fivesigma.dataset.ledger import FileLedger
from fivesigma.read import formats, write_manifest
from fivesigma.read.schema import InputFile

N, STEP = 600, 40
FLOATS = ("pt", "mass")

Write = Callable[..., Path]
"""Of a name, a number of events and columns in place of others (None: none): a file of the kind that is tested."""

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(name="write")
def _write(kind: str, tmp_path: Path) -> Write:
    def write(name: str = "a", n: int = N, **columns: Any) -> Path:
        kept = {name: column for name, column in events(n, **columns).items() if column is not None}
        return write_kind(tmp_path / name, kind, kept, parts=3)

    return write


def conversion(*files: Path, **words: Any) -> Conversion:
    """Even events are background; one sample of all files, in shards of 40 entries."""
    entries = words.pop("entries", None)
    sample = Sample(name="jets", files=tuple(map(str, files)), label="event % 2", entries=entries)
    fixed = {"columns": ("pt", "mass", "track_pt"), "identity": ("event",), "step": STEP}
    return Conversion(samples=(sample,), **{**fixed, **words})


def converted(folder: Path, *files: Path, **words: Any) -> Dataset:
    """Into a folder of its own."""
    return convert(conversion(*files, **words), folder / f"out{len(list(folder.iterdir()))}")


def only_ledger(dataset: Dataset) -> FileLedger:
    (ledger,) = dataset.ledger.files
    dataset.ledger.check()
    return ledger


def test_a_file_cut_short_is_refused_at_the_scan(write: Write) -> None:
    """Fault 1: by a byte, by a page, by half, to its first bytes."""
    path = write()
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) - 500, len(content) // 2, 101):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match=r"truncated|cannot read the footer|cannot read: ") as caught:
            scan_inputs(conversion(path))
        assert caught.value.file == path
        assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404", b"\0" * 4096], ids=["empty", "HTML", "zeros"])
def test_what_is_something_else_is_shown(write: Write, content: bytes) -> None:
    """Fault 2, under the name of each kind."""
    path = write()
    path.write_bytes(content)
    expected = r"not a (ROOT|Parquet|HDF5) file: (it has zero bytes|an HTML page|it begins with zero)"
    with pytest.raises(FileFormatError, match=expected):
        scan_inputs(conversion(path))


def test_a_valid_file_of_other_entries_is_refused_if_they_are_stated(write: Write, tmp_path: Path) -> None:
    """Fault 4: by the study, and by a manifest."""
    short, whole = write("short", N - STEP), write()
    with pytest.raises(FileFormatError, match=rf"expected 600 entries, got 560 \({short.name} has 560\)"):
        converted(tmp_path, short, entries=N)
    assert len(converted(tmp_path, whole, entries=N)) == N
    write_manifest(whole, tmp_path / "manifest.json")
    os.replace(short, whole)
    with pytest.raises(FileFormatError, match="differs from its manifest"):
        converted(tmp_path, whole, manifest=str(tmp_path / "manifest.json"))


def test_an_input_that_changed_after_the_scan_is_refused(write: Write, tmp_path: Path) -> None:
    """Fault 7; a file that was only touched is the same."""
    path = write()
    asked = conversion(path)
    inputs = scan_inputs(asked)
    os.utime(path, (1_000_000, 1_000_000))
    assert len(convert(asked, tmp_path / "touched", inputs)) == N
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="the file changed after it was scanned") as caught:
        convert(asked, tmp_path / "out", inputs)
    assert caught.value.file == path
    assert not (tmp_path / "out").exists()


def test_an_input_that_changes_while_it_is_read_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a file that is read in one go."""
    path = write()

    def meddling(known: formats.Format) -> formats.Format:
        def read_range(file: InputFile, *words: Any) -> Any:
            columns = known.read_range(file, *words)
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            os.utime(path, (2_000_000, 2_000_000))
            return columns

        return replace(known, read_range=read_range)

    monkeypatch.setattr(formats, "FORMATS", tuple(map(meddling, formats.FORMATS)))
    with pytest.raises(FileFormatError, match="the file changed after it was scanned"):
        converted(tmp_path, path, step=10 * N)


def test_a_branch_renamed_in_one_file_names_that_file_and_the_nearest(write: Write, tmp_path: Path) -> None:
    """Fault 12."""
    first = write("first")
    second = write("second", mass=None, jet_mass=np.zeros(N, np.float32), event=np.arange(N, 2 * N))
    with pytest.raises(MissingBranchError, match="did you mean jet_mass") as caught:
        converted(tmp_path, first, second)
    assert (caught.value.file, caught.value.branch) == (second, "mass")


def test_a_list_and_a_single_value_never_mix(write: Write, tmp_path: Path) -> None:
    """Fault 13: in either order, declared or not."""
    flat = write("flat")
    jagged = write("jagged", mass=ak.from_regular(np.ones((N, 2), np.float32)), event=np.arange(N, 2 * N))
    for files, found in (
        ((flat, jagged), "jagged float32 here, but float32"),
        ((jagged, flat), "float32 here, but jagged"),
    ):
        for words in ({}, {"dtypes": {"mass": "float32"}}):
            with pytest.raises(BranchTypeError, match=found) as caught:
                converted(tmp_path, *files, **words)
            assert (caught.value.file, caught.value.branch) == (files[1], "mass")


@pytest.mark.parametrize("other", ["float64", "int32"])
def test_mixed_numbers_need_a_declared_type_and_what_is_rounded_is_counted(
    write: Write, tmp_path: Path, other: str
) -> None:
    """Fault 14."""
    numbers = np.arange(N) / 7 if other == "float64" else np.arange(N) + 2**24
    files = write("first"), write("second", mass=numbers.astype(other), event=np.arange(N, 2 * N))
    with pytest.raises(BranchTypeError, match=f"{other} here, but float32") as caught:
        converted(tmp_path, *files)
    assert (caught.value.file, caught.value.branch) == (files[1], "mass")
    dataset = converted(tmp_path, *files, dtypes={"mass": "float32"})
    changed = int((numbers.astype(np.float32).astype(np.float64) != numbers).sum())
    assert changed > N / 3
    assert [ledger.rounded["mass"] for ledger in dataset.ledger.files] == [0, changed]
    with pytest.raises(BranchTypeError, match="have a fraction: they do not fit into int32"):
        converted(tmp_path, *files, dtypes={"mass": "int32"})


@pytest.mark.parametrize("n", [1, STEP, STEP + 1, 3 * STEP + 1])
def test_every_entry_is_counted_once(write: Write, tmp_path: Path, n: int) -> None:
    """Fault 15: also the last of n = k · step + 1, and exactly one."""
    dataset = converted(tmp_path, write("n", n), write("whole", event=np.arange(n, n + N)))
    assert [(f.entries, f.read.events, f.selected.events) for f in dataset.ledger.files] == [(n, n, n), (N, N, N)]
    np.testing.assert_array_equal(dataset.column("event"), np.arange(n + N))


def test_nothing_in_it_and_nothing_left(write: Write, tmp_path: Path) -> None:
    """Fault 15: alone each is an error; beside others, no entries and nothing after the cuts are two lines of zeros."""
    none, whole = write("none", 0), write("whole")
    with pytest.raises(NoEventsError, match="the tree has no entries"):
        converted(tmp_path, none)
    with pytest.raises(NoEventsError, match=r"(?s)no events are left.*rejected by 'never': 600 events"):
        converted(tmp_path, whole, selection={"never": "pt < 0"})
    low = write("low", pt=np.zeros(N, np.float32), event=np.arange(N, 2 * N))
    dataset = converted(tmp_path, none, low, whole, selection={"some": "pt > 0"})
    assert [(f.entries, f.selected.events) for f in dataset.ledger.files] == [(0, 0), (N, 0), (N, N)]


def test_the_same_content_twice(write: Write, kind: str, tmp_path: Path) -> None:
    """Fault 16: a copy of the bytes, and the same events written once more in another codec."""
    path = write()
    copy = path.with_name(f"copy{path.suffix}")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(DuplicateInputError, match="is a copy of equal content as") as caught:
        converted(tmp_path, path, copy)
    assert caught.value.file == copy
    other = write_kind(tmp_path / "other", KINDS[KINDS.index(kind) - 1], events())
    with pytest.raises(SplitError, match=r"(?s)the same row occurs twice \(event=\d+\).*entry") as repeated:
        converted(tmp_path, path, other, tree=None)
    assert str(path) in str(repeated.value)
    assert str(other) in str(repeated.value)


def test_an_event_under_two_numbers_would_be_in_two_folds(write: Write, tmp_path: Path) -> None:
    """Fault 17: numbers given anew after a skim, so that fold and number differ and the values are equal."""
    words = {"columns": (*FLOATS, "w", "track_pt")}
    files = write("first"), write("second", event=np.arange(N, 2 * N))
    with pytest.raises(SplitError, match=rf"{N} rows repeat the values of another event"):
        converted(tmp_path, *files, **words)
    assert len(converted(tmp_path, *files, **words, duplicates="allow")) == 2 * N


def test_a_selection_is_applied(write: Write, tmp_path: Path) -> None:
    """Fault 18: uproot ignores `cut` for RNTuples."""
    pt = events()["pt"]
    dataset = converted(tmp_path, write(), selection={"high pt": "pt > 60"})
    assert only_ledger(dataset).rejected["high pt"].events == int((pt <= 60).sum())
    np.testing.assert_array_equal(dataset.column("pt"), pt[pt > 60])


def test_values_that_are_not_finite_or_not_measured_are_counted_by_branch(write: Write, tmp_path: Path) -> None:
    """Fault 19."""
    pt, mass, tracks = (np.array(events()[name]) for name in ("pt", "mass", "track_pt"))
    pt[[1, 2, 3]], mass[[3, 50]] = (np.nan, np.inf, -np.inf), -999
    tracks[7] = np.nan, -np.inf
    path = write(pt=pt, mass=mass, track_pt=ak.from_regular(tracks))
    expected = {"pt": (1, 2, 0), "mass": (0, 0, 2), "track_pt": (1, 1, 0)}
    with pytest.raises(InputError, match="values that are not finite") as caught:
        converted(tmp_path, path)
    assert (caught.value.file, caught.value.branch, caught.value.entry) == (path, "pt", 1)
    for words, left in (
        ({"nan": "drop"}, N - 4),
        ({"nan": "keep"}, N),
        ({"nan": "drop", "missing_policy": "drop"}, N - 5),
    ):
        ledger = only_ledger(converted(tmp_path, path, **words))
        assert {name: (c.nan, c.inf, c.missing) for name, c in ledger.not_finite.items() if c.any} == expected
        assert (ledger.dropped.events, ledger.selected.events) == (N - left, left)
    with pytest.raises(InputError, match="declared as missing") as missing:
        converted(tmp_path, path, nan="keep", missing_policy="error")
    assert (missing.value.branch, missing.value.entry) == ("mass", 3)


def test_weights_that_are_negative_zero_or_not_finite_are_counted(write: Write, tmp_path: Path) -> None:
    """Fault 20."""
    w = np.ones(N)
    w[:6] = -2.0, -1.0, 0.0, np.nan, np.inf, -np.inf
    path = write(w=w)
    for policy in ("error", "keep"):
        with pytest.raises(InputError, match="3 weights are not finite, first nan from") as caught:
            converted(tmp_path, path, weight="w", nan=policy)
        assert (caught.value.file, caught.value.entry) == (path, 3)
    dataset = converted(tmp_path, path, weight="w", nan="drop")
    ledger = only_ledger(dataset)
    assert (ledger.selected.negative, ledger.selected.zero, ledger.selected.sumw) == (2, 1, N - 9.0)
    assert (ledger.not_finite["event weight"].nan, ledger.not_finite["event weight"].inf) == (1, 2)
    assert (ledger.dropped.events, len(dataset)) == (3, N - 3)
    assert np.isfinite(dataset.weight).all()


def test_the_events_are_the_same_in_every_kind(write: Write, kind: str, tmp_path: Path) -> None:
    """Fault 29: shards do not depend on how their events were stored."""
    ours = converted(tmp_path, write())
    other = converted(tmp_path, write_kind(tmp_path / "other", KINDS[0] if kind != KINDS[0] else KINDS[1], events()))
    assert [shard.xxh3 for shard in ours.shards] == [shard.xxh3 for shard in other.shards]
    assert len(ours.shards) == N // STEP
