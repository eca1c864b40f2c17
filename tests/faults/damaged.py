"""What damaged copies of a file give when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fivesigma.core.errors import FivesigmaError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.read.root import read_range, scan

Flips = Callable[..., Iterator[tuple[int, Path]]]
"""Of a path, byte ranges, a number of copies and a seed: place of the flipped bit and path of each copy."""


def read_all(path: Path, tree: str | None = None) -> dict[str, Column]:
    """Every readable branch of the only tree."""
    file = scan(path, tree)
    return read_range(file, 0, file.entries, [b.name for b in file.branches.values() if b.dtype is not None])


def same(a: dict[str, Column], b: dict[str, Column]) -> bool:
    """Equal bit by bit: branches, lengths and values."""
    return a.keys() == b.keys() and all(_bytes(a[name]) == _bytes(b[name]) for name in a)


def _bytes(column: Column) -> tuple[bytes, bytes]:
    if isinstance(column, Jagged):
        return column.offsets.tobytes(), column.values.tobytes()
    return b"", column.tobytes()


def silent_changes(copies: Iterator[tuple[int, Path]], expected: dict[str, Column]) -> list[int]:
    """Places at which a flip gave other values or another number of them, without an error of ours."""
    silent = []
    for place, copy in copies:
        try:
            got = read_all(copy)
        except FivesigmaError:
            continue
        if not same(got, expected):
            silent.append(place)
    return silent
