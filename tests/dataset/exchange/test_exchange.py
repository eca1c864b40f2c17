"""Every format reads back equal, by us and by the libraries that others read it with; every flipped bit is noticed."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

import awkward as ak
import h5py
import lmdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from fivesigma.core.errors import DatasetError, OutputError, UnknownNameError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset import Conversion, Dataset, convert
from fivesigma.dataset.exchange import EXCHANGE_FORMATS, read_exchange, write_exchange
from fivesigma.read.formats import read_range, scan

SUFFIXES = {"parquet": ".parquet", "hdf5": ".h5", "lmdb": ".lmdb", "numpy": ".npz"}


@pytest.fixture
def dataset(jets: Conversion, tmp_path: Path) -> Dataset:
    """Several shards."""
    found = convert(jets, tmp_path / "dataset")
    assert len(found.shards) > 3
    return found


def whole(parts: list[dict[str, Column]]) -> dict[str, Column]:
    joined: dict[str, Column] = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        jagged = [column for column in columns if isinstance(column, Jagged)]
        joined[name] = Jagged.concatenate(jagged) if jagged else np.concatenate(columns)  # type: ignore[arg-type]
    return joined


def assert_same(dataset: Dataset, found: dict[str, Column]) -> None:
    expected = {**dataset.columns, "label": dataset.y, "weight": dataset.weight, "fold": dataset.fold}
    for name, column in {**expected, "event": dataset.event, "sample": dataset.sample}.items():
        other = found[name]
        assert other.dtype == column.dtype
        assert isinstance(column, Jagged) == isinstance(other, Jagged)
        if isinstance(column, Jagged) and isinstance(other, Jagged):
            np.testing.assert_array_equal(column.offsets, other.offsets)
            column, other = column.values, other.values
        np.testing.assert_array_equal(column, other)


@pytest.mark.parametrize("name", EXCHANGE_FORMATS)
def test_reads_back_equal(dataset: Dataset, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"out{SUFFIXES[name]}"
    written = write_exchange(dataset, path)
    assert (written.format, written.rows) == (name, len(dataset))
    assert_same(dataset, whole(list(read_exchange(path))))


@pytest.mark.parametrize("name", EXCHANGE_FORMATS)
def test_the_same_dataset_gives_the_same_digests_in_every_format(dataset: Dataset, tmp_path: Path, name: str) -> None:
    first = write_exchange(dataset, tmp_path / "a.npz").digests
    assert write_exchange(dataset, tmp_path / "b", name).digests == first


@pytest.mark.parametrize("name", EXCHANGE_FORMATS)
def test_flipped_bits_never_pass_silently(dataset: Dataset, tmp_path: Path, name: str) -> None:
    """100 random places: an error, or (in padding and unused pages) the same values."""
    path = tmp_path / f"out{SUFFIXES[name]}"
    write_exchange(dataset, path)
    content, rng = path.read_bytes(), np.random.default_rng(11)
    refused = 0
    for place, bit in zip(rng.integers(0, len(content), 100), rng.integers(0, 8, 100), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            found = whole(list(read_exchange(path)))
        except DatasetError:
            refused += 1
        else:
            assert_same(dataset, found)
    assert refused > 20


@pytest.mark.parametrize("name", EXCHANGE_FORMATS)
def test_a_file_that_was_cut_short_or_is_gone(dataset: Dataset, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"out{SUFFIXES[name]}"
    write_exchange(dataset, path)
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 0):
        path.write_bytes(content[:size])
        with pytest.raises(DatasetError, match=re.escape(str(path))):
            list(read_exchange(path))
    path.unlink()
    with pytest.raises(DatasetError, match=re.escape(str(path))):
        list(read_exchange(path))


def test_parquet_as_awkward_and_we_read_it(dataset: Dataset, tmp_path: Path) -> None:
    path = write_exchange(dataset, tmp_path / "out.parquet").path
    array = ak.from_parquet(path)
    constituents = dataset.columns["constituent_pt"]
    assert isinstance(constituents, Jagged)
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(array["constituent_pt"])), constituents.values)
    file = scan(path)
    assert {branch.protection for branch in file.branches.values()} == {"page CRC"}
    column = read_range(file, 0, file.entries, ["constituent_pt"])["constituent_pt"]
    assert isinstance(column, Jagged)
    np.testing.assert_array_equal(column.values, constituents.values)
    assert pq.ParquetFile(path).metadata.num_row_groups == len(dataset.shards)


def test_hdf5_as_structured_arrays(dataset: Dataset, tmp_path: Path) -> None:
    path = write_exchange(dataset, tmp_path / "out.h5").path
    constituents = dataset.columns["constituent_pt"]
    assert isinstance(constituents, Jagged)
    with h5py.File(path) as file:
        assert file["jets"].fletcher32
        np.testing.assert_array_equal(file["jets"]["jet_mass"], dataset.columns["jet_mass"])
        np.testing.assert_array_equal(file["jets"]["label"], dataset.y)
        rows = file["constituent_pt"][:]
    np.testing.assert_array_equal(rows["valid"].sum(axis=1), constituents.counts)
    np.testing.assert_array_equal(rows["constituent_pt"][rows["valid"]], constituents.values)
    file_ = scan(path)
    assert {branch.protection for branch in file_.branches.values()} == {"fletcher32"}
    column = read_range(file_, 3, 9, ["constituent_pt.constituent_pt"])["constituent_pt.constituent_pt"]
    assert isinstance(column, Jagged)
    np.testing.assert_array_equal(column.values, constituents[np.arange(3, 9)].values)


def test_collections_are_named_after_their_columns(w_tagging_file: Path, tmp_path: Path) -> None:
    """Towers and subjets of the packaged sample."""
    conversion = Conversion(
        samples=({"name": "jets", "files": (str(w_tagging_file),)},),  # type: ignore[arg-type]
        columns=("constituent_pt", "constituent_eta", "subjet_pt", "subjet_mass", "jet_pt"),
        label="label",
        identity=("run_number", "event_number", "jet_index"),
        selection={"few": "event_number % 50 == 0"},
    )
    path = write_exchange(convert(conversion, tmp_path / "d"), tmp_path / "out.h5").path
    with h5py.File(path) as file:
        assert set(file) == {"jets", "constituents", "subjets", "fivesigma"}
        assert file["constituents"].dtype.names == ("constituent_pt", "constituent_eta", "valid")


def test_numpy_without_us(dataset: Dataset, tmp_path: Path) -> None:
    path = write_exchange(dataset, tmp_path / "out.npz").path
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["tau21"], dataset.columns["tau21"])
        assert arrays["constituent_pt/offsets"][-1] == len(arrays["constituent_pt/values"])
    assert zipfile.ZipFile(path).testzip() is None


def test_lmdb_without_us(dataset: Dataset, tmp_path: Path) -> None:
    path = write_exchange(dataset, tmp_path / "out.lmdb").path
    with (
        lmdb.open(str(path), subdir=False, lock=False, readonly=True) as environment,
        environment.begin() as transaction,
    ):
        record = transaction.get(struct.pack(">Q", 2))
    assert record is not None
    assert struct.unpack_from("<f", record)[0] == dataset.columns["jet_mass"][np.array([2])][0]  # type: ignore[index]


def test_names_that_are_taken(dataset: Dataset, jets: Conversion, tmp_path: Path) -> None:
    changed = jets.model_copy(
        update={"new_variables": {**jets.new_variables, "weight": "jet_pt"}, "observers": ("weight",)}
    )
    path = write_exchange(convert(changed, tmp_path / "other"), tmp_path / "out.npz").path
    with np.load(path) as arrays:
        assert {"weight", "fivesigma_weight", "label"} <= set(arrays)


def test_mistakes(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"suffix of an exchange format '\.hd5'; did you mean '\.hdf5'"):
        write_exchange(dataset, tmp_path / "a.hd5")
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        write_exchange(dataset, tmp_path / "a", "parqet")
    with pytest.raises(DatasetError, match="cannot read"):
        list(read_exchange(tmp_path / "absent.parquet"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_exchange(dataset, tmp_path / "file" / "a.parquet")
    assert not list(tmp_path.glob(".*partial"))
