"""What is in input files, for a person to look at before writing a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import FileFormatError
from fivesigma.core.jagged import Jagged
from fivesigma.read.events import find_files
from fivesigma.read.root import read_range, scan, trees_in
from fivesigma.read.schema import Branch, InputFile, branch_to_json

FIRST_EVENTS = 3  # events of which values are shown
MAX_VALUES = 60  # branches of which values are read; more makes wide files slow


@dataclass(frozen=True)
class Inspection:
    """Trees, branches, types, codecs, entries, size and digest of files, with the values of the first events.

    ``trees`` has one `InputFile` for each tree of each file; ``first_values`` the values by (path, tree) and branch.
    """

    trees: tuple[InputFile, ...]
    first_values: Mapping[tuple[str, str], Mapping[str, list[Any]]]

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON-like content; NaN and infinity as strings."""
        return {
            "files": [
                {
                    **tree.to_json(),
                    "branches": [
                        {**branch_to_json(branch), "first": self._first(tree, branch)}
                        for branch in tree.branches.values()
                    ],
                }
                for tree in self.trees
            ]
        }

    def rows(self) -> list[dict[str, str]]:
        """One row per branch for a table: file, tree, entries, branch, type, codec, first values."""
        return [
            {
                "file": tree.path.name,
                "tree": tree.tree,
                "entries": f"{tree.entries:,}",
                "branch": branch.name,
                "type": str(branch),
                "codec": branch.codec,
                "first": ", ".join(str(value) for value in self._first(tree, branch)),
            }
            for tree in self.trees
            for branch in tree.branches.values()
        ]

    def _first(self, tree: InputFile, branch: Branch) -> list[Any]:
        return self.first_values.get((str(tree.path), tree.tree), {}).get(branch.name, [])


def inspect(
    paths: Sequence[str | Path] | str | Path, tree: str | None = None, *, values: int = MAX_VALUES
) -> Inspection:
    """Look into files, globs and folders; every tree of them, or only ``tree``.

    Parameters
    ----------
    paths, tree
        as for `fivesigma.read.open_events`; a tree without entries is listed, not refused.
    values
        at most so many branches of each tree are read for the values of their first events.

    Raises
    ------
    FileFormatError
        if a file is missing, is not a ROOT file, is truncated, was not closed, or has no such tree.
    """
    found: list[InputFile] = []
    first: dict[tuple[str, str], Mapping[str, list[Any]]] = {}
    for path in find_files(paths):
        for name in [tree] if tree is not None else sorted(trees_in(path)):
            file = scan(path, name)
            found.append(file)
            first[str(path), file.tree] = _first_values(file, values)
    return Inspection(tuple(found), first)


def _first_values(file: InputFile, n_branches: int) -> dict[str, list[Any]]:
    """Values of the first events; in the place of those that cannot be read, why."""
    n = min(FIRST_EVENTS, file.entries)
    names = [branch.name for branch in file.branches.values() if branch.dtype is not None][:n_branches]
    try:
        columns = read_range(file, 0, n, names) if n else {}
    except FileFormatError:
        return {name: _one_by_one(file, n, name) for name in names}
    return {name: [_plain(column, i) for i in range(n)] for name, column in columns.items()}


def _one_by_one(file: InputFile, n: int, name: str) -> list[Any]:
    try:
        column = read_range(file, 0, n, [name])[name]
    except FileFormatError as error:
        return [error.cause]
    return [_plain(column, i) for i in range(n)]


def _plain(column: Any, event: int) -> Any:
    if isinstance(column, Jagged):
        return [_number(v) for v in column.values[column.offsets[event] : column.offsets[event + 1]]]
    return _number(column[event])


def _number(value: np.generic) -> Any:
    plain = value.item()
    return plain if not isinstance(plain, float) or np.isfinite(plain) else str(plain)
