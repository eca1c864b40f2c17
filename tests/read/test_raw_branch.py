"""The fast way through a TTree gives what uproot gives, and refuses what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import FileFormatError
from fivesigma.core.jagged import Jagged
from fivesigma.read import raw_branch
from fivesigma.read.raw_branch import RawBranch, Values, pieces
from fivesigma.read.record import FileBytes, Place, open_bytes
from fivesigma.read.root import raw_branches, scan
from fivesigma.read.unpack import Room, unpacked

CODECS = {
    "raw": None,
    "LZ4": uproot.LZ4(4),
    "ZSTD": uproot.ZSTD(3),
    "ZLIB": uproot.ZLIB(1),
    "LZMA": uproot.LZMA(1),
}


def write(path: Path, codec: str, step: int, n: int = 500) -> Path:
    """Lists of 0 to 8 values and flat numbers, compressible, in baskets of ``step`` entries; the same for any step."""
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 9, n)
    total = int(counts.sum())
    columns: dict[str, Any] = {
        "x": ak.unflatten(rng.integers(-9, 9, total).astype(np.float32) / 8, counts),
        "y": ak.unflatten(rng.integers(-9, 9, total).astype(np.float32), counts),
        "d": ak.unflatten(rng.integers(0, 9, total).astype(np.float64), counts),
        "i": rng.integers(-9, 9, n).astype(np.int16),
        "b": rng.random(n) < 0.5,
    }
    types = {k: f"var * {v.type.content.content}" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        tree = file.mktree("t", types)
        for begin in range(0, n, step):
            tree.extend({name: column[begin : begin + step] for name, column in columns.items()})
    return path


def assert_same(column: Any, array: Any) -> None:
    if isinstance(column, Jagged):
        np.testing.assert_array_equal(column.counts, ak.to_numpy(ak.num(array)))
        np.testing.assert_array_equal(column.values, ak.to_numpy(ak.flatten(array)))
    else:
        np.testing.assert_array_equal(column, ak.to_numpy(array))
    assert column.dtype.isnative


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("start", "stop"), [(0, 500), (69, 71), (140, 141), (499, 500), (70, 70)])
def test_every_codec_reads_as_uproot_reads_it(codec: str, start: int, stop: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", codec, step=70)
    file = scan(path)
    raw = raw_branches(file, list(file.branches))
    assert raw.keys() == file.branches.keys()
    with uproot.open(path) as source, open_bytes(raw["x"].place) as content:
        for name, branch in raw.items():
            expected = source["t"][name].array(entry_start=start, entry_stop=stop)
            assert_same(branch.column(content, start, stop), expected)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("uproot-HZZ-lz4.root", 40),
        ("uproot-HZZ-lzma.root", 40),
        ("uproot-HZZ-uncompressed.root", 40),
        ("uproot-HZZ-zlib.root", 40),
        ("uproot-HZZ-zstd.root", 40),
        ("uproot-Zmumu-zstd.root", 15),
        ("uproot-sample-6.20.04-lz4.root", 10),
        ("uproot-stl_containers.root", 0),
    ],
)
def test_files_that_root_wrote(name: str, at_least: int, shared_data: Path) -> None:
    file = scan(shared_data / "root-io" / name)
    raw = raw_branches(file, [b.name for b in file.branches.values() if b.dtype is not None])
    assert len(raw) >= at_least
    with uproot.open(file.path) as source, open_bytes(Place(file.path, file.tree)) as content:
        for branch_name, branch in raw.items():
            column = branch.column(content, 0, file.entries)
            assert_same(column, source[file.tree][file.branch(branch_name).key].array())


@dataclass(frozen=True)
class Elsewhere(RawBranch):
    """A branch that is read from a file of its own."""

    def baskets(self, file: FileBytes, start: int, stop: int, packed: Room | None = None) -> Iterator[Values]:
        with open_bytes(self.place) as own:
            yield from super().baskets(own, start, stop, packed)

    @classmethod
    def made(cls, branch: RawBranch) -> RawBranch:
        """The same branch, and its counter."""
        return cls(**{**vars(branch), "counter": branch.counter and cls(**vars(branch.counter))})


@pytest.mark.parametrize("steps", [(70, 70), (70, 64), (500, 3)])
def test_pieces_end_where_a_basket_of_any_branch_does(steps: tuple[int, int], tmp_path: Path) -> None:
    files = [scan(write(tmp_path / f"{i}.root", "LZ4", step)) for i, step in enumerate(steps)]
    found = [raw_branches(file, ["x", "y"]) for file in files]
    branches = [Elsewhere.made(found[0]["x"]), Elsewhere.made(found[1]["y"])]
    with open_bytes(branches[0].place) as unused:
        got = list(pieces(branches, unused, 10, 490))
        whole = [branch.column(unused, 10, 490) for branch in branches]
    edges = {e for step in steps for e in range(0, 500, step) if 10 < e < 490} | {10}
    assert [piece.start for piece in got] == sorted(edges)
    for i, column in enumerate(whole):
        assert isinstance(column, Jagged)
        np.testing.assert_array_equal(np.concatenate([piece.values[i] for piece in got]), column.values)
        counts = [np.diff(piece.offsets[i]) for piece in got]
        np.testing.assert_array_equal(np.concatenate(counts), column.counts)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bytes_at_a_time", [1, 100, 1 << 19])
def test_pieces_that_are_overwritten_are_those_that_are_kept(
    codec: str, bytes_at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of values stored as they are, a few at a time; of compressed ones, basket by basket in the same memory."""
    monkeypatch.setattr(raw_branch, "_AT_A_TIME", bytes_at_a_time)
    path = write(tmp_path / "a.root", codec, step=70)
    found = raw_branches(scan(path), ["x", "y"])
    with open_bytes(found["x"].place) as file:
        whole = {name: branch.column(file, 10, 490) for name, branch in found.items()}
        seen: dict[str, list[Any]] = {"x": [], "y": [], "counts": []}
        entries = []
        for piece in pieces(list(found.values()), file, 10, 490, keep=False):
            seen["x"].append(piece.values[0].copy())
            seen["y"].append(piece.values[1].copy())
            seen["counts"].append(np.diff(piece.offsets[1]))
            entries.append(len(piece.offsets[0]) - 1)
    assert max(entries) == (1 if codec == "raw" and bytes_at_a_time == 1 else max(entries))
    assert codec == "raw" or max(entries) == 70
    for name, column in whole.items():
        assert isinstance(column, Jagged)
        np.testing.assert_array_equal(np.concatenate(seen[name]), column.values)
        np.testing.assert_array_equal(np.concatenate(seen["counts"]), column.counts)


def test_a_counter_that_contradicts_the_lists_is_refused_piece_by_piece(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", "raw", step=70)
    found = raw_branches(scan(path), ["x", "i"])
    counted = replace(found["x"], counter=found["i"])  # numbers that are not the lengths of the lists of x
    with open_bytes(counted.place) as file:
        wrong = int(np.argmax(np.diff(found["x"].column(file, 0, 500).offsets) != found["i"].column(file, 0, 500)))  # type: ignore[union-attr]
        message = rf"entry {wrong} has \d values, but its counter 'i' says"
        with pytest.raises(FileFormatError, match=message):
            counted.column(file, 0, 500)
        for keep in (True, False):
            with pytest.raises(FileFormatError, match=message):
                list(pieces([counted], file, 0, 500, keep=keep))


@pytest.mark.parametrize("codec", ["LZ4", "ZSTD", "ZLIB", "LZMA"])
def test_a_block_that_contradicts_itself_is_refused(codec: str) -> None:
    content = bytes(range(100)) * 20
    packed = np.frombuffer(uproot.compression.compress(content, CODECS[codec]), dtype=np.uint8)
    assert unpacked(packed, len(content)).tobytes() == content
    two = unpacked(np.concatenate([packed, packed]), 2 * len(content))
    assert two.tobytes() == 2 * content
    for wrong in (packed[:-1], packed[:-9], np.concatenate([packed, packed]), packed[1:]):
        with pytest.raises(ValueError, match=r"compressed block|codec|unpack to"):
            unpacked(wrong, len(content))
    longer = packed.copy()
    longer[6] += 1  # bytes unpacked, as the block's head has them
    with pytest.raises(ValueError, match="compressed block"):
        unpacked(longer, len(content) + 1)
    if codec in {"LZ4", "ZLIB"}:  # the others as uproot writes them carry no checksum
        flipped = packed.copy()
        flipped[-1] ^= 1
        with pytest.raises(ValueError, match=r"checksum|cannot be decoded"):
            unpacked(flipped, len(content))
