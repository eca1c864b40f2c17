"""``Events``: a lazily read, partitioned view of input files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    DuplicateInputError,
    FileFormatError,
    NoEventsError,
)
from fivesigma.core.jagged import Column
from fivesigma.core.registry import nearest_names
from fivesigma.read.root import read_range, scan
from fivesigma.read.schema import Branch, InputFile

_WILDCARDS = re.compile(r"[*?\[]")
DEFAULT_STEP = 100_000  # entries read at a time


@dataclass(frozen=True)
class Partition:
    """Entries ``start`` to ``stop`` (excluded) of one input file."""

    file: InputFile
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Events:
    """Input files in natural order, each read once, entry range by entry range.

    Usage::

        events = open_events(["data/*.root"], tree="jets")
        for partition in events.partitions():
            columns = events.read(partition, ["jet_pt", "constituent_pt"])
    """

    files: tuple[InputFile, ...]

    @property
    def entries(self) -> int:
        """Entries in all files together."""
        return sum(file.entries for file in self.files)

    def partitions(self, step: int = DEFAULT_STEP) -> Iterator[Partition]:
        """Every entry exactly once, at most ``step`` at a time, never across files; files without entries give none."""
        for file in self.files:
            for start in range(0, file.entries, step):
                yield Partition(file, start, min(start + step, file.entries))

    def read(self, partition: Partition, columns: Iterable[str]) -> dict[str, Column]:
        """The named branches of one partition: flat arrays of shape (entries,) or `Jagged`.

        Raises
        ------
        MissingBranchError, BranchTypeError, FileFormatError
            see `fivesigma.read.root.read_range`.
        """
        return read_range(partition.file, partition.start, partition.stop, list(columns))

    def require(self, columns: Iterable[str]) -> dict[str, Branch]:
        """The named branches, after checking that every file has them, and of the same type.

        Raises
        ------
        MissingBranchError
            if a file lacks one; the message names the nearest.
        BranchTypeError
            if its type cannot be read or differs between files.
        """
        found: dict[str, Branch] = {}
        for name in columns:
            first = self.files[0].branch(name)
            for file in self.files[1:]:
                branch = file.branch(name)
                if branch != first:
                    raise BranchTypeError(
                        f"{branch} here, but {first} in {self.files[0].path}",
                        file=file.path,
                        tree=file.tree,
                        branch=name,
                        remedy="write the files with one type, or make each a sample of its own",
                    )
            found[name] = first
        return found


def open_events(patterns: Sequence[str | Path] | str | Path, tree: str | None = None) -> Events:
    """Scan files, globs and folders (all ``*.root`` below them).

    Files come in the order of the patterns, within a pattern in natural order (``2.root`` before ``10.root``).

    Raises
    ------
    FileFormatError
        if a file is missing, is not a ROOT file, is truncated or was not closed; or a pattern matches nothing.
    DuplicateInputError
        if two are the same file: by path, symbolic link, hard link, or a copy of equal bytes.
    ConfigError
        if ``tree`` is not given and a file has several.
    NoEventsError
        if there are no entries in any file.
    """
    paths = find_files(patterns)
    _refuse_same_path(paths)
    files = tuple(scan(path, tree) for path in paths)
    refuse_duplicates(files)
    events = Events(files)
    if events.entries == 0:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise NoEventsError(
            f"the tree has no entries{more and ', nor have the others'}", file=f"{paths[0]}{more}", tree=files[0].tree
        )
    return events


def find_files(patterns: Sequence[str | Path] | str | Path) -> list[Path]:
    """The files that paths, globs and folders stand for, in natural order within each."""
    patterns = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if not patterns:
        raise ConfigError("no input files were given")
    paths: list[Path] = []
    for pattern in patterns:
        paths.extend(_expand(Path(pattern).expanduser()))
    return paths


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = [p for p in path.rglob("*.root") if p.is_file()]
        cause = "no *.root files in this folder"
    elif path.exists():
        return [path]
    elif _WILDCARDS.search(str(path)):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = [p for p in anchor.glob(str(path.relative_to(path.anchor))) if p.is_file()]
        cause = "no file matches this pattern"
    else:
        raise FileFormatError("no such file", file=path, remedy=_nearest_file(path))
    if not found:
        raise FileFormatError(cause, file=path)
    return sorted(found, key=natural_order)


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist"
    nearest = nearest_names(path.name, [p.name for p in folder.iterdir()])
    return f"in {folder} there is: {', '.join(nearest)}" if nearest else f"nothing like it is in {folder}"


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that counts: file 2 before file 10.

    >>> [p.name for p in sorted(map(Path, ["f10.root", "f2.root"]), key=natural_order)]
    ['f2.root', 'f10.root']
    """
    pieces = re.split(r"([0-9]+)", str(path))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _refuse_same_path(paths: Sequence[Path]) -> None:
    """Before anything is read: same path, symbolic or hard link."""
    seen: dict[object, Path] = {}
    for path in paths:
        status = path.stat()
        for identity, how in ((path.resolve(), "the same path"), ((status.st_dev, status.st_ino), "a link to it")):
            if identity in seen:
                _duplicate(seen[identity], path, how)
        seen[path.resolve()] = seen[status.st_dev, status.st_ino] = path


def refuse_duplicates(files: Sequence[InputFile]) -> None:
    """Refuse two trees of one name in files of equal content.

    Raises
    ------
    DuplicateInputError
        naming both.
    """
    seen: dict[tuple[str, str], Path] = {}
    for file in files:
        identity = (file.xxh3, file.tree)
        if identity in seen:
            same = seen[identity].resolve() == file.path.resolve()
            _duplicate(seen[identity], file.path, "the same path" if same else "a copy of equal content")
        seen[identity] = file.path


def _duplicate(first: Path, second: Path, how: str) -> None:
    raise DuplicateInputError(
        f"the same events would be read twice: {second} is {how}"
        + (f" as {first}" if how != "a link to it" else f", {first}"),
        file=second,
        remedy="give each file once",
    )
