"""Fault 6: damaged TTrees. What no checksum covers is said; all that the file says twice is compared."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from tests.faults.damaged import Flips, read_all, same, silent_changes
from tests.faults.kinds import CODECS

from fivesigma.core.errors import FileFormatError, FivesigmaError
from fivesigma.read import open_events
from fivesigma.read.root import read_range, scan

PROTECTION = {
    "uncompressed": "nothing",
    "zlib": "ZLIB adler32",
    "lzma": "LZMA crc",
    "lz4": "LZ4 xxh64",
    "zstd": "nothing",
}
KEY_BYTES = 18  # of a TKey before its pointers
BASKET_HEAD = struct.Struct(">Hiiii?")


def baskets(path: Path, branch: str, tree: str = "events") -> list[tuple[int, int, int]]:
    """Place, length and key length of each basket."""
    with uproot.open(path) as file:
        found = file[tree][branch]
        seeks, lengths = found.member("fBasketSeek"), found.member("fBasketBytes")
        return [
            (int(s), int(n), found.basket(i).member("fKeylen"))
            for i, (s, n) in enumerate(zip(seeks[: found.num_baskets], lengths, strict=False))
        ]


@pytest.mark.parametrize("codec", PROTECTION)
def test_protection_is_measured(own_files: dict[str, Path], codec: str) -> None:
    file = scan(own_files[f"ttree-{codec}"])
    assert {name: file.branches[name].protection for name in ("event", "pt", "jet_pt")} == dict.fromkeys(
        ("event", "pt", "jet_pt"), PROTECTION[codec]
    )
    bare = PROTECTION[codec] == "nothing"
    assert file.unprotected(["pt", "jet_pt"]) == (("pt", "jet_pt") if bare else ())


@pytest.mark.shared_data
@pytest.mark.parametrize("codec", PROTECTION)
def test_baskets_that_did_not_compress_are_counted(shared_data: Path, codec: str) -> None:
    """ROOT stores a basket as it is where the codec does not make it smaller: then its checksum is not there either."""
    file = scan(shared_data / "root-io" / f"uproot-HZZ-{codec}.root")
    words = {branch.protection for branch in file.branches.values()}
    assert words == (
        {"LZ4 xxh64", "LZ4 xxh64, but nothing in 1 of 2", "nothing"} if codec == "lz4" else {PROTECTION[codec]}
    )
    assert len(file.unprotected(file.branches)) == {"lz4": 6, "zlib": 0, "lzma": 0}.get(codec, len(file.branches))


@pytest.mark.parametrize("codec", ["zlib", "lzma", "lz4"])
def test_no_flip_is_silent_under_a_checksum(own_files: dict[str, Path], flips: Flips, codec: str) -> None:
    """Anywhere in the file: header, keys, tree, baskets."""
    path = own_files[f"ttree-{codec}"]
    assert silent_changes(flips(path, [(0, path.stat().st_size)]), read_all(path)) == []


@pytest.mark.parametrize("codec", ["uncompressed", "zstd"])
def test_without_a_checksum_only_values_can_change_silently(
    own_files: dict[str, Path], flips: Flips, codec: str
) -> None:
    """Never the number of events; and nothing outside of the baskets' payload."""
    path = own_files[f"ttree-{codec}"]
    expected = read_all(path)
    payload = [(s + k, s + n) for b in ("event", "pt", "njet_pt", "jet_pt") for s, n, k in baskets(path, b)]
    inside = np.concatenate([np.arange(*p) for p in payload])
    outside = np.setdiff1d(np.arange(path.stat().st_size), inside)
    edges = np.flatnonzero(np.diff(outside) > 1)
    starts, stops = outside[np.r_[0, edges + 1]], outside[np.r_[edges, len(outside) - 1]] + 1
    ranges = [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]
    assert silent_changes(flips(path, ranges), expected) == []
    for _, copy in flips(path, payload, 30):
        try:
            got = read_all(copy)
        except FivesigmaError:
            continue
        assert {name: len(column) for name, column in got.items()} == {name: len(c) for name, c in expected.items()}


def test_entry_offsets_are_compared_with_the_counting_branch(own_files: dict[str, Path], tmp_path: Path) -> None:
    """A flipped offset moves values from one event to the next: the lengths then contradict `njet_pt`."""
    path = own_files["ttree-uncompressed"]
    content = bytearray(path.read_bytes())
    seek, _, keylen = baskets(path, "jet_pt")[0]
    (_, _, _, events, last, _) = BASKET_HEAD.unpack_from(content, seek + keylen - BASKET_HEAD.size)
    offsets = seek + last + 4  # behind the values; the first number is how many there are
    expected = read_all(path)["jet_pt"]
    i = int(np.flatnonzero(expected.counts[:200] == 2)[0])  # type: ignore[union-attr]
    (old,) = struct.unpack_from(">i", content, offsets + 4 * i)
    struct.pack_into(">i", content, offsets + 4 * i, old + 4)
    copy = tmp_path / "offset.root"
    copy.write_bytes(bytes(content))
    with pytest.raises(
        FileFormatError, match=rf"entry {i - 1:,} has \d values, but its counter 'njet_pt' says"
    ) as caught:
        read_range(scan(copy), 0, 600, ["jet_pt"])
    assert caught.value.branch == "jet_pt"
    assert events == 200


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("fNbytes", "expected a TBasket of|says that it has"),
        ("fObjlen", "unpack to|do not fit|of its"),
        ("fNevBuf", "says that it has"),
        ("fLast", "do not fit|says that it has"),
        ("block", "unpack to|longer than its record|no codec"),
    ],
)
@pytest.mark.parametrize("codec", ["zstd", "zlib"])
def test_lengths_that_contradict_each_other(
    own_files: dict[str, Path], tmp_path: Path, codec: str, field: str, message: str
) -> None:
    path = own_files[f"ttree-{codec}"]
    seek, _, keylen = baskets(path, "pt")[1]
    head = seek + keylen - BASKET_HEAD.size
    place = {"fNbytes": seek, "fObjlen": seek + 6, "fNevBuf": head + 10, "fLast": head + 14, "block": seek + keylen + 7}
    for bit in (0, 2, 6):
        for byte in (0, 1) if field == "block" else (1, 2, 3):
            content = bytearray(path.read_bytes())
            content[place[field] + byte] ^= 1 << bit
            copy = tmp_path / "length.root"
            copy.write_bytes(bytes(content))
            file = scan(copy)
            with pytest.raises(FileFormatError, match=message) as caught:
                read_range(file, 0, 10, ["pt"])
            assert caught.value.branch == "pt"
            read_range(file, 0, 600, ["event"])


def test_a_wrong_number_of_entries_in_the_tree(own_files: dict[str, Path], tmp_path: Path) -> None:
    """fEntries stands in the tree and in each branch; one flip must not make an empty tree of 1,024 entries."""
    path = own_files["ttree-uncompressed"]
    content = path.read_bytes()
    number = struct.pack(">q", 600)
    at = content.index(number)
    refused = 0
    while at >= 0:
        for wrong in (0, 599, 88):
            copy = tmp_path / "entries.root"
            copy.write_bytes(content[:at] + struct.pack(">q", wrong) + content[at + 8 :])
            try:
                assert same(read_all(copy), read_all(path))  # a number that nothing depends on
            except FileFormatError:
                refused += 1
        at = content.find(number, at + 1)
    assert refused >= 3


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
@pytest.mark.parametrize("codec", CODECS)
def test_uproots_growing_file_is_complete_only_with_stated_entries(tmp_path: Path, container: str, codec: str) -> None:
    """Fault 4: uproot keeps a valid file at all times; a copy made meanwhile has fewer entries, and only a number tells."""
    path, copy = tmp_path / "a.root", tmp_path / "copy.root"
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        tree = file.mktree("t", {"x": np.float64}) if container == "ttree" else file.mkrntuple("t", {"x": np.zeros(0)})
        tree.extend({"x": np.zeros(100)})
        content: Any = path.read_bytes()
        tree.extend({"x": np.zeros(50)})
    copy.write_bytes(content)
    assert open_events(path, entries=150).entries == 150
    with pytest.raises(FileFormatError, match=r"expected 150 entries, got 100 \(copy.root has 100\)"):
        open_events(copy, entries=150)
