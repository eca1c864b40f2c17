"""What is in input files, for a person to look at before writing a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import FileFormatError
from fivesigma.core.jagged import Jagged
from fivesigma.read.files import find_files
from fivesigma.read.formats import read_range, scan, trees_in
from fivesigma.read.remote import at_hand
from fivesigma.read.schema import Branch, InputFile, branch_to_json

FIRST_EVENTS = 3  # events of which values are shown
MAX_VALUES = 60  # branches of which values are read; more makes wide files slow
MAX_ROWS = 100  # branches of a tree above which a table shows collections instead
MAX_WIDTH = 48  # characters of first values in a table
_MAX_FILES = 5  # named in one row of a comparison
_PREFIX = re.compile(r"[^_.]+[_.]")


@dataclass(frozen=True)
class Comparison:
    """Rows for two tables: every tree of every file; and, for branches that differ, which files have them how."""

    files: list[dict[str, str]]
    differences: list[dict[str, str]]


@dataclass(frozen=True)
class Inspection:
    """Trees, branches, types, codecs, protection, entries, size and digest of files; values of the first events.

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

    def rows(self, branches: str | None = None) -> list[dict[str, str]]:
        """One row per branch for a table: file, tree, entries, branch, type, codec, protection, first values.

        ``branches`` is a glob of those to show. Without it, in trees of more than 100 branches, those whose names begin
        alike (up to the first ``_`` or ``.``) are one row: ``Muon_*``.
        """
        rows = []
        for tree in self.trees:
            shown = [b for b in tree.branches.values() if branches is None or fnmatchcase(b.name, branches)]
            collapse = branches is None and len(shown) > MAX_ROWS
            lines = self._collections(tree, shown) if collapse else [self._row(tree, branch) for branch in shown]
            head = {"file": printable(tree.path.name), "tree": printable(tree.tree), "entries": f"{tree.entries:,}"}
            rows += [{**head, **line} for line in lines]
        return rows

    def _row(self, tree: InputFile, branch: Branch) -> dict[str, str]:
        first = ", ".join(str(value) for value in self._first(tree, branch))
        return {
            "branch": printable(branch.name),
            "type": printable(str(branch)),
            "codec": branch.codec,
            "protection": "damaged" if branch.fault else branch.protection,
            "first": first if len(first) <= MAX_WIDTH or branch.fault else f"{first[: MAX_WIDTH - 1]}…",
        }

    def _collections(self, tree: InputFile, branches: Sequence[Branch]) -> list[dict[str, str]]:
        groups: dict[str, list[Branch]] = {}
        for branch in branches:
            prefix = _PREFIX.match(branch.name)
            groups.setdefault(branch.name if prefix is None else f"{prefix[0]}*", []).append(branch)
        lines = []
        for name, group in groups.items():
            if len(group) == 1:
                lines.append(self._row(tree, group[0]))
                continue
            row = {key: _distinct([self._row(tree, branch)[key] for branch in group]) for key in ("type", "codec")}
            row["protection"] = _distinct([self._row(tree, branch)["protection"] for branch in group])
            lines.append({"branch": printable(name), **row, "first": f"({len(group)} branches)"})
        return lines

    def comparison(self) -> Comparison:
        """What differs between the files: branches that some lack or have in another type; and their entries."""
        files = [
            {
                "file": printable(str(tree.path)),
                "tree": printable(tree.tree),
                "entries": f"{tree.entries:,}",
                "branches": f"{len(tree.branches):,}",
                "bytes": f"{tree.size:,}",
            }
            for tree in self.trees
        ]
        differences = []
        for name in dict.fromkeys(tree.tree for tree in self.trees):
            trees = [tree for tree in self.trees if tree.tree == name]
            for branch in dict.fromkeys(b for tree in trees for b in tree.branches):
                where: dict[str, list[str]] = {}
                for tree in trees:
                    kind = str(tree.branches[branch]) if branch in tree.branches else "missing"
                    where.setdefault(kind, []).append(tree.path.name)
                if len(where) > 1:
                    head = {"tree": printable(name), "branch": printable(branch)}
                    differences += [{**head, "type": printable(k), "files": _few(v)} for k, v in where.items()]
        return Comparison(files, differences)

    def _first(self, tree: InputFile, branch: Branch) -> list[Any]:
        return self.first_values.get((str(tree.path), tree.tree), {}).get(branch.name, [])


def printable(name: str) -> str:
    r"""A name that any terminal can show: bytes that are not UTF-8 as ``\xe9``.

    >>> print(printable("caf\udce9"))
    caf\xe9
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _distinct(words: Sequence[str]) -> str:
    found = list(dict.fromkeys(words))
    return ", ".join(found[:3]) + (", …" if len(found) > 3 else "")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_FILES} more" if len(names) > _MAX_FILES else ""
    return printable(", ".join(names[:_MAX_FILES])) + more


def inspect(
    paths: Sequence[str | Path] | str | Path,
    tree: str | None = None,
    *,
    branches: str | None = None,
    values: int = MAX_VALUES,
) -> Inspection:
    """Look into files, globs and folders; every tree of them, or only ``tree``.

    Parameters
    ----------
    paths, tree
        as for `fivesigma.read.open_events`; a tree without entries is listed, not refused.
    branches
        a glob of those whose first values are read.
    values
        at most so many branches of each tree are read for the values of their first events.

    Raises
    ------
    FileFormatError
        if a file is missing, is not a ROOT file, is truncated, was not closed, or has no such tree.
    """
    found: list[InputFile] = []
    first: dict[tuple[str, str], Mapping[str, list[Any]]] = {}
    for location in find_files(paths):
        meant = location.tree or tree
        with at_hand(location.path) as path:
            trees = [scan(path, name) for name in ([meant] if meant is not None else sorted(trees_in(path)))]
        for file in trees:
            found.append(file)
            first[str(location.path), file.tree] = _first_values(file, branches or "*", values)
    return Inspection(tuple(found), first)


def _first_values(file: InputFile, glob: str, n_branches: int) -> dict[str, list[Any]]:
    """Values of the first events; in the place of those that cannot be read, why."""
    n = min(FIRST_EVENTS, file.entries)
    readable = [branch.name for branch in file.branches.values() if branch.dtype is not None]
    names = [name for name in readable if fnmatchcase(name, glob)][:n_branches]
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
