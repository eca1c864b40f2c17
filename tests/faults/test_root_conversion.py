"""Faults 4, 6, 12, 13, 18 through a conversion: stated entries, manifests, unprotected branches, names, types, cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from tests.faults.kinds import events, write_kind

from fivesigma.core.errors import BranchTypeError, FileFormatError, MissingBranchError
from fivesigma.dataset import Conversion, Sample, convert
from fivesigma.dataset.ledger import FileLedger
from fivesigma.read import write_manifest


def conversion(path: Path, **more: Any) -> Conversion:
    words = {"entries": None, **more}
    sample = Sample(name="jets", files=(str(path),), label="event % 2", entries=words.pop("entries"))
    return Conversion(samples=(sample,), **{"columns": ("pt",), "identity": ("event",), "duplicates": "allow", **words})


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
@pytest.mark.parametrize("codec", ["uncompressed", "zlib", "lz4", "zstd", "lzma"])
def test_the_ledger_says_what_no_checksum_covers(
    own_files: dict[str, Path], tmp_path: Path, container: str, codec: str
) -> None:
    path = own_files[f"{container}-{codec}"]
    dataset = convert(conversion(path), tmp_path / "bare")
    (ledger,) = dataset.ledger.files
    bare = codec in ("uncompressed", "zstd")
    assert (set(ledger.unprotected) == {"pt", "event"}) is bare
    assert ("unprotected in 1 of 1 files (no checksum): " in dataset.ledger.cut_flow()) is bool(ledger.unprotected)
    assert FileLedger.from_json(ledger.to_json()) == ledger
    write_manifest(path, tmp_path / "manifest.json")
    covered = convert(conversion(path, manifest=str(tmp_path / "manifest.json")), tmp_path / "covered")
    assert covered.ledger.files[0].unprotected == ()
    assert covered.config_hash == dataset.config_hash  # a manifest checks the input, it does not change the dataset


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_the_ledger_tells_the_branches_of_a_file_apart(tmp_path: Path, container: str) -> None:
    """Fault 6: what LZ4 does not make smaller is stored as it is, without a checksum."""
    path = write_kind(tmp_path / "a", f"{container}-lz4", events(mass=np.zeros(600, np.float32)))
    dataset = convert(conversion(path, columns=("pt", "mass")), tmp_path / "out")
    assert dataset.ledger.files[0].unprotected == ("pt",)
    assert "unprotected in 1 of 1 files (no checksum): pt" in dataset.ledger.cut_flow()
    unchecked = write_kind(tmp_path / "a", f"{container}-zstd", events(mass=np.zeros(600, np.float32)))
    everything = convert(conversion(unchecked, columns=("pt", "mass")), tmp_path / "all")
    assert set(everything.ledger.files[0].unprotected) == {"pt", "mass", "event"}


def test_a_damaged_file_is_refused_with_its_branch(own_files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    path.write_bytes(own_files["ttree-zstd"].read_bytes())
    manifest = write_manifest(path, tmp_path / "manifest.json")
    part = next(part for part in manifest.files[0].parts if part.branch == "pt" and part.start == 400)
    content = bytearray(path.read_bytes())
    content[sum(part.pieces[0]) - 3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match=r"damaged: pt \(tree events, entries 400 to 600\)"):
        convert(conversion(path, manifest=str(tmp_path / "manifest.json")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stated_entries(own_files: dict[str, Path], tmp_path: Path) -> None:
    path = own_files["rntuple-zlib"]
    assert len(convert(conversion(path, entries=600), tmp_path / "a").y) == 600
    with pytest.raises(FileFormatError, match=r"expected 601 entries, got 600 \(rntuple-zlib.root has 600\)"):
        convert(conversion(path, entries=601), tmp_path / "b")


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_a_selection_is_applied_in_both_containers(own_files: dict[str, Path], tmp_path: Path, container: str) -> None:
    """uproot ignores `cut` for RNTuples."""
    path = own_files[f"{container}-lz4"]
    dataset = convert(conversion(path, selection={"high pt": "pt > 60"}), tmp_path / "out")
    with uproot.open(path) as file:
        pt = file["events"]["pt"].array(library="np")
    assert dataset.ledger.files[0].rejected["high pt"].events == int((pt <= 60).sum())
    np.testing.assert_array_equal(np.sort(dataset.columns["pt"]), np.sort(pt[pt > 60]))  # type: ignore[arg-type]


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_a_missing_branch_names_the_nearest(own_files: dict[str, Path], tmp_path: Path, container: str) -> None:
    with pytest.raises(MissingBranchError, match="did you mean jet_pt") as caught:
        convert(conversion(own_files[f"{container}-zlib"], columns=("jets_pt",)), tmp_path / "out")
    assert (caught.value.tree, caught.value.branch) == ("events", "jets_pt")


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_flat_against_jagged(own_files: dict[str, Path], tmp_path: Path, container: str) -> None:
    other = tmp_path / "other.root"
    columns = {"event": np.arange(600, 604), "pt": ak.Array([[1.0], [], [2.0, 3.0], []])}
    with uproot.recreate(other) as file:
        if container == "rntuple":
            file.mkrntuple("events", columns)
        else:
            file.mktree("events", {"event": np.int64, "pt": "var * float64"}).extend(columns)
    files = (str(own_files[f"{container}-zlib"]), str(other))
    both = Conversion(
        samples=(Sample(name="jets", files=files, label="event % 2"),), columns=("pt",), identity=("event",)
    )
    with pytest.raises(BranchTypeError, match="jagged float64 here, but float32 in"):
        convert(both, tmp_path / "out")
