"""Faults 4, 6, 7: with a manifest no change of a file passes, and what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.faults.damaged import Flips
from tests.faults.kinds import ROOT_KINDS

from fivesigma.core.errors import FileFormatError
from fivesigma.read import Manifest, open_events, read_manifest, write_manifest
from fivesigma.read.root import scan

THIRD_PARTY = (
    *(f"uproot-HZZ-{codec}.root" for codec in ("uncompressed", "zlib", "lzma", "lz4", "zstd")),
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root",
    "test_multiple_cluster_groups_rntuple_v1-0-0-0.root",
)
FLIPS = 100


def refused(manifest: Manifest, copy: Path) -> str:
    with pytest.raises(FileFormatError, match="differs from its manifest") as caught:
        manifest.check(copy)
    return caught.value.cause


@pytest.mark.shared_data
@pytest.mark.parametrize("name", THIRD_PARTY)
def test_no_flip_passes(shared_data: Path, tmp_path: Path, flips: Flips, name: str) -> None:
    """The yardstick: 1 bit at 100 random places, 0 silent changes."""
    path = shared_data / "root-io" / name
    manifest = write_manifest(path, tmp_path / "manifest.json")
    causes = [refused(manifest, copy) for _, copy in flips(path, [(0, path.stat().st_size)], FLIPS)]
    assert all("damaged: " in cause or "outside of its branches" in cause for cause in causes)


def test_no_flip_passes_in_our_own(own_files: dict[str, Path], tmp_path: Path, flips: Flips) -> None:
    manifest = write_manifest(list(own_files.values()), tmp_path / "manifest.json")
    for path in own_files.values():
        for _, copy in flips(path, [(0, path.stat().st_size)], FLIPS):
            refused(manifest, copy)


@pytest.mark.parametrize("kind", ROOT_KINDS)
def test_the_damaged_branch_and_its_entries_are_named(own_files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """A flipped bit and a zeroed basket or page; also where reading stops before any checksum is reached."""
    path = own_files[kind]
    manifest = write_manifest(path, tmp_path / "manifest.json")
    parts = [part for part in manifest.files[0].parts if part.branch == "pt"]
    assert [(part.start, part.stop) for part in parts] == [(0, 200), (200, 400), (400, 600)]
    seek, length = parts[1].pieces[0]
    content = bytearray(path.read_bytes())
    content[seek + length // 2] ^= 4
    copy = tmp_path / path.name
    copy.write_bytes(bytes(content))
    message = r"damaged: pt \(tree events, entries 200 to 400\)"
    with pytest.raises(FileFormatError, match=message) as caught:
        open_events(copy, manifest=manifest)
    assert (caught.value.tree, caught.value.branch, caught.value.entry) == ("events", "pt", 200)
    content[: seek + length] = content[:seek] + bytes(length)  # the whole basket or page with its key
    copy.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match=message):
        open_events(copy, manifest=tmp_path / "manifest.json")


def test_a_file_that_agrees_is_covered(own_files: dict[str, Path], tmp_path: Path) -> None:
    path = own_files["ttree-uncompressed"]
    write_manifest(path, tmp_path / "manifest.json")
    events = open_events([path, own_files["ttree-zstd"]], manifest=tmp_path / "manifest.json")
    assert [file.covered for file in events.files] == [True, False]
    assert [file.unprotected(["pt"]) for file in events.files] == [(), ("pt",)]


def test_a_shorter_file_of_the_same_name(own_files: dict[str, Path], tmp_path: Path) -> None:
    """Valid, but another number of events than when the manifest was written: both numbers are said."""
    for folder, source in (("good", "ttree-zlib"), ("bad", "ttree-lzma")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.root").write_bytes(own_files[source].read_bytes())
    write_manifest(tmp_path / "good" / "a.root", tmp_path / "manifest.json")
    content = json.loads((tmp_path / "manifest.json").read_text())
    size = content["files"][0]["size"]
    with pytest.raises(FileFormatError, match=rf"bytes, the manifest says {size:,}"):
        open_events(tmp_path / "bad" / "a.root", manifest=tmp_path / "manifest.json")


def test_names_are_found_by_the_end_of_their_path(own_files: dict[str, Path], tmp_path: Path) -> None:
    for folder, source in (("2016", "ttree-zlib"), ("2017", "ttree-lz4")):
        (tmp_path / "mc" / folder).mkdir(parents=True)
        (tmp_path / "mc" / folder / "1.root").write_bytes(own_files[source].read_bytes())
    manifest = write_manifest(tmp_path / "mc", tmp_path / "manifest.json")
    assert [file.name for file in manifest.files] == ["2016/1.root", "2017/1.root"]
    assert manifest.check(tmp_path / "mc" / "2017" / "1.root").name == "2017/1.root"
    (tmp_path / "1.root").write_bytes(own_files["ttree-zlib"].read_bytes())
    with pytest.raises(
        FileFormatError, match=r"several files of the manifest could be this one: 2016/1.root, 2017/1.root"
    ):
        manifest.check(tmp_path / "1.root")
    with pytest.raises(FileFormatError, match="not in the manifest"):
        manifest.check(own_files["ttree-zlib"])


def test_the_manifest_is_sealed(own_files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    written = write_manifest(own_files["ttree-zlib"], path)
    assert read_manifest(path) == written
    text = path.read_text()
    digest = scan(own_files["ttree-zlib"]).xxh3
    for changed, message in (
        (text.replace(digest, digest[::-1]), "changed or damaged after it was written"),
        (text[:-20], "not a manifest"),
        (text.replace("fivesigma manifest 1", "fivesigma manifest 2"), "expected 'fivesigma manifest 1'"),
        ("[1, 2]", "not a manifest"),
        ("{}", "not a manifest"),
    ):
        path.write_text(changed)
        with pytest.raises(FileFormatError, match=message):
            read_manifest(path)
    with pytest.raises(FileFormatError, match="not a manifest"):
        read_manifest(tmp_path / "nothing.json")
