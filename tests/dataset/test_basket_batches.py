"""Padded batches straight from files: equal to padding by hand, in every codec and across baskets and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

from fivesigma.core.errors import BranchTypeError, ConfigError, DatasetError, FileFormatError, InputError
from fivesigma.dataset import BatchLoader, Collection, Conversion, RootSource, Sample, convert, padded_batches
from fivesigma.dataset.interleave import interleaved, raw_constituents
from fivesigma.dataset.padding import Padded, Runs, padded_by_hand
from fivesigma.read import open_events
from fivesigma.read.root import read_range, scan

NAMES = ("pt", "eta", "phi", "energy")
N = 700
CODECS = {"raw": None, "LZ4": uproot.LZ4(4), "ZSTD": uproot.ZSTD(3), "ZLIB": uproot.ZLIB(1), "LZMA": uproot.LZMA(1)}


def write(path: Path, codec: str = "LZ4", dtype: str = "float32", first: int = 0, **replaced: Any) -> Path:
    """Jets with 0 to 14 constituents, in baskets of 150 entries."""
    rng = np.random.default_rng(first)
    counts = rng.integers(0, 15, N)
    columns: dict[str, Any] = {
        name: ak.unflatten(rng.integers(-99, 99, int(counts.sum())).astype(dtype) / 8, counts) for name in NAMES
    }
    columns |= {"event": np.arange(first, first + N), "label": rng.integers(0, 2, N)} | replaced
    types = {k: f"var * {v.type.content.content}" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        tree = file.mktree("t", types)
        for begin in range(0, N, 150):
            tree.extend({name: column[begin : begin + 150] for name, column in columns.items()})
    return path


def by_hand(path: Path, length: int) -> Padded:
    with uproot.open(path) as file:
        arrays = [file["t"][name].array() for name in NAMES]
    counts = ak.to_numpy(ak.num(arrays[0])).astype(np.int64)
    values = np.stack([ak.to_numpy(ak.flatten(array)) for array in arrays], axis=1).astype(np.float32)
    return padded_by_hand(Runs(values, np.cumsum(counts) - counts, counts), np.arange(len(counts)), length)


def assert_same(batches: list[Padded], expected: Padded) -> None:
    np.testing.assert_array_equal(np.concatenate([batch.values for batch in batches]), expected.values)
    np.testing.assert_array_equal(np.concatenate([batch.mask for batch in batches]), expected.mask)
    assert sum(batch.truncated for batch in batches) == expected.truncated
    assert sum(batch.lost for batch in batches) == expected.lost


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("length", "batch_size"), [(8, 64), (20, 1000), (1, 150)])
def test_batches_are_those_by_hand(codec: str, length: int, batch_size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", codec)
    assert raw_constituents(scan(path), NAMES) is not None
    batches = list(padded_batches(open_events(path), NAMES, length, batch_size))
    assert_same(batches, by_hand(path, length))
    assert [len(batch.mask) for batch in batches[:-1]] == [batch_size] * (N // batch_size - (N % batch_size == 0))


def test_other_types_and_several_files_take_the_long_way(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.root"), write(tmp_path / "b.root", dtype="float64", first=N)]
    assert raw_constituents(scan(paths[1]), NAMES) is None
    for path in paths:
        assert_same(list(padded_batches(open_events(path), NAMES, 9, 128)), by_hand(path, 9))
    more = write(tmp_path / "c.root", "ZSTD", first=2 * N)
    both = list(padded_batches(open_events([paths[0], more]), NAMES, 9, 128))
    assert [len(batch.mask) for batch in both] == 2 * [128, 128, 128, 128, 128, 60]


@pytest.mark.parametrize(("start", "stop"), [(0, N), (149, 151), (300, 450), (699, 700)])
def test_interleaved_values_are_the_columns_side_by_side(start: int, stop: int, tmp_path: Path) -> None:
    file = scan(write(tmp_path / "a.root"))
    raw = raw_constituents(file, NAMES[:3])
    assert raw is not None
    made: list[NDArray[np.float32]] = []

    def place(n: int) -> NDArray[np.float32]:
        made.append(np.empty((n, 3), np.float32))
        return made[-1]

    offsets = interleaved(raw, start, stop, place, finite=True)
    columns = read_range(file, start, stop, NAMES[:3])
    np.testing.assert_array_equal(offsets, columns["pt"].offsets)  # type: ignore[union-attr]
    np.testing.assert_array_equal(made[0], np.stack([columns[n].values for n in NAMES[:3]], axis=1))  # type: ignore[union-attr]


def test_lists_of_unequal_lengths_and_single_values_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", pt=ak.Array([[1.0] * (3 + (i == 200)) for i in range(N)]), dtype="float32")
    with pytest.raises(DatasetError, match="'pt' and 'eta' are not of one collection: 3 and"):
        list(padded_batches(open_events(path), ("pt", "eta"), 8))
    with pytest.raises(BranchTypeError, match="expected a list of values in each entry, got int64"):
        next(padded_batches(open_events(path), ("event",), 8))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        next(padded_batches(open_events(path), ("pt",), 0))


@pytest.mark.parametrize("codec", ["LZ4", "ZLIB"])
def test_a_flipped_bit_under_a_checksum_is_refused(codec: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", codec)
    events = open_events(path)
    branch = raw_constituents(events.files[0], ("eta",))
    assert branch is not None
    content, before = bytearray(path.read_bytes()), path.stat()
    content[int(branch[0].seeks[2] + branch[0].nbytes[2]) - 40] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk would do it
    with pytest.raises(FileFormatError, match=r"cannot read entries 300 to 450: .*(checksum|decoded)") as error:
        list(padded_batches(events, NAMES, 8))
    assert "branch: eta" in str(error.value)


def test_values_that_are_not_finite_are_refused_by_name_on_either_way(tmp_path: Path) -> None:
    with uproot.open(write(tmp_path / "a.root")) as file:
        phi = file["t"]["phi"].array()
    values = ak.to_numpy(ak.flatten(phi)).copy()
    values[1000] = np.nan
    path = write(tmp_path / "b.root", phi=ak.unflatten(values, ak.num(phi)))
    conversion = Conversion(
        samples=(Sample(name="jets", files=(str(path),)),), columns=NAMES, label="label", identity=("event",)
    )
    entry = int(np.searchsorted(np.cumsum(ak.to_numpy(ak.num(phi))), 1000, side="right"))
    loader = BatchLoader(RootSource(conversion, 300), collections={"c": Collection(NAMES, 8)}, prefetch=0)
    with pytest.raises(InputError, match="1 rows have values that are not finite") as error:
        list(loader)
    assert f"entry:  {entry}" in str(error.value)
    dropping = conversion.model_copy(update={"nan": "drop"})
    dataset = convert(dropping, tmp_path / "out")
    assert len(dataset) == N - 1
    asked: dict[str, Any] = {"collections": {"c": Collection(NAMES, 8)}, "shuffle": False, "prefetch": 0}
    found, expected = (
        np.concatenate([batch.collections["c"].values for batch in BatchLoader(source, **asked)])
        for source in (RootSource(dropping, 300), dataset)
    )
    np.testing.assert_array_equal(found, expected)
