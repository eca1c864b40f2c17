"""Fault 5: a flipped bit or a zeroed page in an RNTuple with checksums is always detected; uproot compares few of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import uproot
from tests.faults.damaged import Flips, read_all, silent_changes
from tests.faults.kinds import CHECKED, CODECS

from fivesigma.core.errors import FileFormatError
from fivesigma.read.page_checksum import FieldPages
from fivesigma.read.root import read_range, scan

THIRD_PARTY = (
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0",  # jagged, with projected fields
    "test_multiple_cluster_groups_rntuple_v1-0-0-0",
    "test_multiple_representations_rntuple_v1-0-0-0",  # suppressed columns
    "test_extension_columns_rntuple_v1-0-0-0",  # deferred columns
)
ANCHOR_BYTES = 64 + 8  # with its checksum
CHECKSUM_BYTES = 8


def pages_of(path: Path) -> list[tuple[int, int]]:
    with uproot.open(path) as file:
        ntuple = file[file.keys()[0]]
        pages = [page for cluster in ntuple.page_link_list for column in cluster for page in column.pages]
        assert all(page.has_checksum for page in pages)
        return [(p.locator.offset, p.locator.offset + p.locator.num_bytes + 8) for p in pages]


def envelopes_of(path: Path) -> list[tuple[int, int]]:
    with uproot.open(path) as file:
        ntuple = file[file.keys()[0]]
        where = [(ntuple.member(f"fSeek{n}"), ntuple.member(f"fNBytes{n}")) for n in ("Header", "Footer")]
        links = [group.page_list_link.locator for group in ntuple.footer.cluster_group_records]
        return [(seek, seek + n) for seek, n in (*where, *((link.offset, link.num_bytes) for link in links))]


def anchor_of(path: Path) -> list[tuple[int, int]]:
    with uproot.open(path) as file:
        key = file.key(file.keys()[0])
        stop = key.fSeekKey + key.fNbytes
        return [(stop - ANCHOR_BYTES, stop)]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", THIRD_PARTY)
@pytest.mark.parametrize("part", [pages_of, envelopes_of, anchor_of])
def test_no_flip_is_silent(shared_data: Path, flips: Flips, name: str, part: object) -> None:
    path = shared_data / "root-io" / f"{name}.root"
    assert silent_changes(flips(path, part(path)), read_all(path)) == []  # type: ignore[operator]


@pytest.mark.shared_data
def test_a_zeroed_page_names_field_entries_and_place(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "root-io" / f"{THIRD_PARTY[0]}.root"
    content = bytearray(path.read_bytes())
    file = scan(path)
    field = int(file.branches["Muon_pt"].key)
    with uproot.open(path) as source:
        page = next(FieldPages(source["Events"]).groups(field)).pages[-1]
    content[page.seek : page.seek + page.nbytes] = bytes(page.nbytes)
    copy = tmp_path / "zeroed.root"
    copy.write_bytes(bytes(content))
    damaged = scan(copy)
    with pytest.raises(FileFormatError, match=r"checksum of a page of entries 0 to 1,000 differs") as caught:
        read_range(damaged, 100, 200, ["Muon_pt"])
    assert (caught.value.branch, caught.value.tree) == ("Muon_pt", "Events")
    assert f"{page.nbytes:,} bytes at byte {page.seek:,}" in caught.value.cause
    read_range(damaged, 0, 1000, ["Muon_eta"])  # the others are as they were


@pytest.mark.parametrize("codec", CODECS)
def test_no_flip_anywhere_is_silent_in_any_codec(own_files: dict[str, Path], flips: Flips, codec: str) -> None:
    path = own_files[f"{CHECKED}-{codec}"]
    assert silent_changes(flips(path, [(0, path.stat().st_size)], 200), read_all(path)) == []
    assert silent_changes(flips(path, pages_of(path), 200), read_all(path)) == []


@pytest.mark.parametrize("codec", CODECS)
def test_every_page_is_missed_when_it_is_zeroed(own_files: dict[str, Path], tmp_path: Path, codec: str) -> None:
    """With and without its checksum; uproot gives zeros where nothing is compressed."""
    path = own_files[f"{CHECKED}-{codec}"]
    pages = pages_of(path)
    assert len(pages) == 3 * 4  # clusters; event, pt, and lengths and values of jet_pt
    copy = tmp_path / "zeroed.root"
    for start, stop in pages:
        for end in (stop, stop - CHECKSUM_BYTES):
            content = path.read_bytes()
            copy.write_bytes(content[:start] + bytes(end - start) + content[end:])
            with pytest.raises(FileFormatError, match=r"checksum of a page of entries \d+ to \d+ differs") as caught:
                read_all(copy)
            assert caught.value.branch in {"event", "pt", "jet_pt"}
    if codec == "uncompressed":
        with uproot.open(copy) as file:
            assert any(not file["events"][name].array(library="np")[-1] for name in ("event", "pt"))


@pytest.mark.shared_data
def test_only_clusters_that_are_read_are_compared(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "root-io" / f"{THIRD_PARTY[1]}.root"
    content = bytearray(path.read_bytes())
    with uproot.open(path) as source:
        ntuple = source[source.keys()[0]]
        last = ntuple.cluster_summaries[-1]
        content[ntuple.page_link_list[-1][0].pages[0].locator.offset] ^= 1
    copy = tmp_path / "last.root"
    copy.write_bytes(bytes(content))
    file = scan(copy)
    names = [b.name for b in file.branches.values() if b.dtype is not None]
    assert read_range(file, 0, last.num_first_entry - 1, names).keys() == set(names)
    with pytest.raises(FileFormatError, match="checksum of a page"):
        read_range(file, last.num_first_entry, file.entries, names)


@pytest.mark.parametrize("codec", ["zlib", "lzma"])
def test_without_page_checksums_those_of_the_codec_remain(own_files: dict[str, Path], flips: Flips, codec: str) -> None:
    """uproot writes no page checksums; adler32 and crc are in each compressed block."""
    path = own_files[f"rntuple-{codec}"]
    file = scan(path)
    assert file.unprotected(file.branches) == ()
    assert silent_changes(flips(path, [(0, path.stat().st_size)], 60), read_all(path)) == []
