"""Faults 1, 2, 3 and 30: files that are short, empty, something else, not closed, or whose keys were flipped."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from tests.faults.damaged import Flips, read_all, silent_changes
from tests.faults.kinds import CODECS, ROOT_KINDS

from fivesigma.core.errors import FileFormatError
from fivesigma.read import inspect, open_events
from fivesigma.read.header import check_header
from fivesigma.read.root import scan, trees_in

SEEK_FREE = 16  # place in the header of files below 2 GB


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_short_file_is_refused_at_the_scan(
    own_files: dict[str, Path], tmp_path: Path, container: str, codec: str
) -> None:
    """Also in uproot's own layout, where early branches would still read."""
    content = own_files[f"{container}-{codec}"].read_bytes()
    path = tmp_path / "short.root"
    for size in (len(content) - 1, len(content) - 500, len(content) // 2, 101):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match=r"truncated: .* bytes, but its header says .* are missing"):
            scan(path)


@pytest.mark.parametrize("codec", CODECS)
def test_early_branches_of_a_short_file_read_in_uproot_and_not_here(
    own_files: dict[str, Path], tmp_path: Path, codec: str
) -> None:
    """uproot writes the tree's description first and then the baskets: without the last, all but it are there."""
    whole = own_files[f"ttree-{codec}"]
    with uproot.open(whole) as file:
        last = max(int(branch.member("fBasketSeek")[2]) for branch in file["events"].branches)
        expected = file["events"]["event"].array(library="np")
    path = tmp_path / "short.root"
    path.write_bytes(whole.read_bytes()[: last + 20])
    with uproot.open(path) as file:
        assert file["events"].num_entries == len(expected)
        np.testing.assert_array_equal(file["events"]["event"].array(library="np"), expected)
        with pytest.raises(OSError, match="expected Chunk of length"):
            file["events"]["jet_pt"].array()
    with pytest.raises(FileFormatError, match="truncated") as caught:
        open_events(path)
    assert caught.value.file == path


def keys_pointer(path: Path) -> int:
    """Place of fSeekKeys in the directory's record."""
    header = check_header(path)
    return header.begin + header.nbytes_name + 2 + 4 * 4 + 2 * 4


def seek_keys(path: Path) -> int:
    """Place of the list of keys."""
    seek: int = struct.unpack_from(">i", path.read_bytes(), keys_pointer(path))[0]
    return seek


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404", b"\0" * 4096], ids=["empty", "HTML", "zeros"])
def test_what_is_not_root_is_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.root"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"not a ROOT file: (it has zero bytes|an HTML page|it begins with zero)"):
        open_events(path)


@pytest.mark.parametrize("kind", ROOT_KINDS)
def test_a_file_that_was_not_closed(own_files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """ROOT writes the free list, the keys and the end of the file when it closes it."""
    content = own_files[kind].read_bytes()
    keys = keys_pointer(own_files[kind])
    path = tmp_path / "a.root"
    for damaged, message in (
        (content[:SEEK_FREE] + struct.pack(">i", 0) + content[SEEK_FREE + 4 :], "was not closed: its free list"),
        (content[:keys] + struct.pack(">i", 0) + content[keys + 4 :], "has no keys: it was not closed"),
        (content + b"more", r"was not closed, or something was appended: \d+,\d{3} bytes"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=message):
            trees_in(path)


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_flips_in_the_keys_are_refused(own_files: dict[str, Path], flips: Flips, container: str) -> None:
    """A tree's name or class in the list of keys is compared with that in its record: no tree vanishes."""
    path = own_files[f"{container}-zlib"]
    start = seek_keys(path)
    with uproot.open(path) as file:
        key = file.key("events").fSeekKey
    ranges = [(0, 300), (start, start + 150), (key, key + 50)]
    assert silent_changes(flips(path, ranges), read_all(path)) == []


def test_the_key_list_names_another_tree(own_files: dict[str, Path], tmp_path: Path) -> None:
    content = own_files["ttree-uncompressed"].read_bytes()
    path = tmp_path / "a.root"
    at = content.index(b"\x06events", seek_keys(own_files["ttree-uncompressed"]))
    path.write_bytes(content[:at] + b"\x06eventz" + content[at + 7 :])
    with pytest.raises(FileFormatError, match="the key of 'eventz' differs from its record"):
        trees_in(path)


def _non_utf8(path: Path) -> Path:
    """One branch is called b"caf\\xe9", as Latin-1 has it."""
    with uproot.recreate(path, compression=None) as file:
        file.mktree("t", {"cafX": np.float64}).extend({"cafX": np.arange(5.0)})
    path.write_bytes(path.read_bytes().replace(b"cafX", b"caf\xe9"))
    return path


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = _non_utf8(tmp_path / "latin.root")
    (name,) = scan(path).branches
    assert name.encode("utf-8", "surrogateescape") == b"caf\xe9"
    events = open_events(path)
    assert events.read(next(events.partitions()), [name])[name].sum() == 10.0  # type: ignore[union-attr]
    inspection = inspect(path)
    assert [row["branch"] for row in inspection.rows()] == ["caf\\xe9"]  # what any terminal can show
    json.dumps(inspection.to_json()).encode("ascii")


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["python", "python -O"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.shared_data
def test_the_same_checks_without_assert_and_in_the_c_locale(
    own_files: dict[str, Path], shared_data: Path, tmp_path: Path, options: tuple[str, ...], locale: str
) -> None:
    """Five damaged files and a strange name: `python -O` removes uproot's checks of RNTuples, not ours."""
    source = shared_data / "root-io" / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root"
    with uproot.open(source) as file:
        ntuple = file["Events"]
        page = ntuple.page_link_list[0][-1].pages[0].locator.offset
        places = {
            "page": page,
            "header": ntuple.member("fSeekHeader") + 30,
            "footer": ntuple.member("fSeekFooter") + 30,
        }
        places["anchor"] = file.key("Events").fSeekKey + file.key("Events").fNbytes - 30
    content = source.read_bytes()
    for name, place in places.items():
        damaged = bytearray(content)
        damaged[place] ^= 8
        (tmp_path / f"{name}.root").write_bytes(bytes(damaged))
    (tmp_path / "short.root").write_bytes(own_files["ttree-lz4"].read_bytes()[:-9])
    _non_utf8(tmp_path / "latin.root")
    program = (
        "import sys\n"
        "from fivesigma.core.errors import FivesigmaError\n"
        "from fivesigma.read.root import read_range, scan\n"
        "from pathlib import Path\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.root')):\n"
        "    try:\n"
        "        file = scan(path)\n"
        "        read_range(file, 0, file.entries, list(file.branches))\n"
        "        print(path.stem, 'read')\n"
        "    except FivesigmaError as error:\n"
        "        print(path.stem, type(error).__name__)\n"
    )
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    answer = subprocess.run(
        [sys.executable, *options, "-c", program, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.split("\n")[:-1] == [
        "anchor FileFormatError",
        "footer FileFormatError",
        "header FileFormatError",
        "latin read",
        "page FileFormatError",
        "short FileFormatError",
    ]
