"""``Events``: a lazily read, partitioned view of input files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fivesigma.core.errors import BranchTypeError, DuplicateInputError, FileFormatError, NoEventsError
from fivesigma.core.jagged import Column
from fivesigma.read.files import find_files
from fivesigma.read.formats import read_range
from fivesigma.read.manifest import Manifest, read_manifest, scan_listed
from fivesigma.read.outcome import Wanted, scan_each
from fivesigma.read.remote import FilePath
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.schema import Branch, InputFile

DEFAULT_STEP = 100_000  # entries read at a time
_FILES_SHOWN = 10  # in the error for a wrong number of entries


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

    def require(self, columns: Iterable[str], declared: Collection[str] = ()) -> dict[str, Branch]:
        """The named branches, after checking that every file has them, and of the same type.

        Those of ``declared`` type may differ in it between files; a list never goes with a single value.

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
                same = branch.jagged == first.jagged if name in declared else branch == first
                if not same:
                    raise BranchTypeError(
                        f"{branch} here, but {first} in {self.files[0].path}",
                        file=file.path,
                        tree=file.tree,
                        branch=name,
                        remedy="write the files with one type, or declare the column's type in `dtypes`; "
                        "a list and a single value never mix",
                    )
            found[name] = first
        return found


ScanFiles: TypeAlias = Callable[[Sequence[Wanted]], Sequence[InputFile]]
"""From paths, each with its tree, to scanned files: all of them, or those that are fine."""


def open_events(
    patterns: Sequence[str | FilePath] | str | FilePath,
    tree: str | None = None,
    scan_files: ScanFiles | None = None,
    *,
    manifest: Manifest | str | Path | None = None,
    entries: int | None = None,
    remote: RemoteOptions | None = None,
) -> Events:
    """Scan files of any format: paths, URLs, globs, folders, lists of files, filesets (see `find_files`).

    Files come in the order of the patterns, within a pattern in natural order (``2.root`` before ``10.root``). ``tree``
    is of every file for which a fileset does not name another. ``scan_files`` is who scans them, this process if it is
    left out: one after another, a few at a time if some are remote.
    Files that ``manifest`` lists are compared with it; ``entries`` is how many there must be in all files together;
    ``remote`` is how to reach URLs, by default as the environment says.

    Raises
    ------
    FileFormatError
        if a file is missing, is not a ROOT file, is truncated, damaged or was not closed, or differs from the manifest;
        if a pattern matches nothing; or if there are not as many ``entries``. Of several files, what became of each is
        listed.
    RemoteError
        if a remote file does not come: see `fivesigma.read.remote.RemotePath.open`.
    DuplicateInputError
        if two are the same file: by path, symbolic link, hard link, or a copy of equal bytes.
    ConfigError
        if ``tree`` is not given and a file has several.
    NoEventsError
        if there are no entries in any file.
    """
    found = find_files(patterns, remote)
    paths = [location.path for location in found]
    _refuse_same_path(paths)
    known = read_manifest(manifest) if isinstance(manifest, str | Path) else manifest or Manifest(())
    wanted = [(location.path, location.tree or tree) for location in found]
    if scan_files is None:
        files = tuple(scan_each(wanted, lambda path, name: scan_listed(path, name, known)))
    else:
        files = tuple(known.verified(file) for file in scan_files(wanted))
    refuse_duplicates(files)
    events = Events(files)
    if events.entries == 0:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise NoEventsError(
            f"the tree has no entries{more and ', nor have the others'}", file=f"{paths[0]}{more}", tree=files[0].tree
        )
    _check_entries(events, entries)
    return events


def _check_entries(events: Events, entries: int | None) -> None:
    """Refuse a sample with fewer or more entries than were stated."""
    if entries is None or events.entries == entries:
        return
    shown = "; ".join(f"{file.path.name} has {file.entries:,}" for file in events.files[:_FILES_SHOWN])
    more = f"; and {len(events.files) - _FILES_SHOWN} more" if len(events.files) > _FILES_SHOWN else ""
    raise FileFormatError(
        f"expected {entries:,} entries, got {events.entries:,} ({shown}{more})",
        file=events.files[0].path,
        tree=events.files[0].tree,
        remedy="look for files that are missing or cut short, or correct the stated number",
    )


def _refuse_same_path(paths: Sequence[FilePath]) -> None:
    """Before anything is read: same path or URL, symbolic or hard link."""
    seen: dict[object, FilePath] = {}
    for path in paths:
        identities: dict[object, str] = {_resolved(path): "the same path"}
        if isinstance(path, Path):
            status = path.stat()
            identities[status.st_dev, status.st_ino] = "a link to it"
        for identity, how in identities.items():
            if identity in seen:
                _duplicate(seen[identity], path, how)
        seen |= dict.fromkeys(identities, path)


def _resolved(path: FilePath) -> Path | str:
    return path.resolve() if isinstance(path, Path) else path.url


def refuse_duplicates(files: Sequence[InputFile]) -> None:
    """Refuse two trees of one name in files of equal content.

    Raises
    ------
    DuplicateInputError
        naming both.
    """
    seen: dict[tuple[str, str], FilePath] = {}
    for file in files:
        identity = (file.xxh3, file.tree)
        if identity in seen:
            same = _resolved(seen[identity]) == _resolved(file.path)
            _duplicate(seen[identity], file.path, "the same path" if same else "a copy of equal content")
        seen[identity] = file.path


def _duplicate(first: FilePath, second: FilePath, how: str) -> None:
    raise DuplicateInputError(
        f"the same events would be read twice: {second} is {how}"
        + (f" as {first}" if how != "a link to it" else f", {first}"),
        file=second,
        remedy="give each file once",
    )
