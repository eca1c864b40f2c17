"""Fault 8: a flip that declares a huge length is refused, in memory that is bounded: the system gives no more."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot
from tests.faults.conversion_killed import forked
from tests.faults.kinds import KINDS, ROOT_KINDS, events, write_kind

from fivesigma.core.errors import FileFormatError
from fivesigma.read import open_events

BOUNDED = 64 << 20  # bytes that reading may ask for in addition; what is declared are up to 2 GB
HUGE = 2**31 - 1
MEMORY_FILE = "/proc/self/statm"  # pages of this process, the first number


def in_bounded_memory(work: Callable[[], None]) -> None:
    """Do it in a copy of this process that may not allocate more than the bound."""

    def limited() -> None:
        now = int(Path(MEMORY_FILE).read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + BOUNDED, now + BOUNDED))
        work()

    assert forked(limited) == 0


def whole(path: Path) -> None:
    """Read all of it."""
    found = open_events(path)
    for part in found.partitions():
        found.read(part, ["pt", "event", "track_pt"])


def refused(path: Path) -> None:
    """By an error of ours, which no lack of memory caused."""
    with pytest.raises(FileFormatError) as caught:
        whole(path)
    assert caught.value.file == path
    cause: BaseException | None = caught.value
    while cause is not None:
        assert not isinstance(cause, MemoryError)
        cause = cause.__cause__


def test_the_bound_is_one(tmp_path: Path) -> None:
    path = write_kind(tmp_path / "a", "ttree-zstd", events())

    def whole_file() -> None:
        found = open_events(path)
        assert len(found.read(next(found.partitions()), ["pt"])["pt"]) == 600
        with pytest.raises(MemoryError):
            np.empty(2 * BOUNDED, dtype=np.uint8)

    in_bounded_memory(whole_file)


def records(path: Path) -> dict[str, int]:
    """Places of records whose first bytes are lengths: the tree or anchor, the list of keys, a basket."""
    with uproot.open(path) as file:
        found = {"tree": file.key("events").fSeekKey, "keys": file.fSeekKeys}
        tree = file["events"]
        if hasattr(tree, "branches"):
            found["basket"] = int(tree["pt"].member("fBasketSeek")[1])
    return found


@pytest.mark.parametrize("kind", ROOT_KINDS)
def test_lengths_of_records(tmp_path: Path, kind: str) -> None:
    """2 GB in the tree's or anchor's record, in the list of keys, in a basket."""
    path = write_kind(tmp_path / "a", kind, events(), parts=3)
    content = path.read_bytes()
    places = records(path).values()

    def work() -> None:
        for seek in places:
            for offset in (0, 6):  # fNbytes, fObjlen
                path.write_bytes(content[: seek + offset] + struct.pack(">i", HUGE) + content[seek + offset + 4 :])
                refused(path)

    in_bounded_memory(work)


@pytest.mark.parametrize("kind", [kind for kind in ROOT_KINDS if kind.startswith("rntuple")])
def test_lengths_in_an_rntuple(tmp_path: Path, kind: str) -> None:
    """The anchor's places and lengths of header and footer, and the elements of a page in the page list."""
    path = write_kind(tmp_path / "a", kind, events(), parts=3)
    content = path.read_bytes()
    with uproot.open(path) as file:
        ntuple, key = file["events"], file.key("events")
        anchor = key.fSeekKey + key.fKeylen
        link = ntuple.footer.cluster_group_records[0].page_list_link.locator
    numbers = [struct.pack(">q", ntuple.member(f"f{word}")) for word in ("SeekHeader", "NBytesFooter", "LenFooter")]
    places = [content.index(number, anchor) for number in numbers]
    elements = content.index(struct.pack("<i", 200 * (-1 if "checked" in kind else 1)), int(link.offset))

    def work() -> None:
        for place in places:
            path.write_bytes(content[:place] + struct.pack(">q", HUGE) + content[place + 8 :])
            refused(path)
        path.write_bytes(content[:elements] + struct.pack("<i", HUGE) + content[elements + 4 :])
        refused(path)

    in_bounded_memory(work)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ROOT_KINDS])
def test_lengths_in_other_files(tmp_path: Path, kind: str) -> None:
    """Parquet: the length of the footer; HDF5: the end of the file in its first bytes."""
    path = write_kind(tmp_path / "a", kind, events(), parts=3)
    content = path.read_bytes()
    size = struct.pack("<q", len(content))
    at, length = (len(content) - 8, 4) if kind.startswith("parquet") else (content.index(size), 8)
    damaged = content[:at] + HUGE.to_bytes(length, "little") + content[at + length :]

    def work() -> None:
        path.write_bytes(damaged)
        refused(path)

    in_bounded_memory(work)
