"""``Manifest``: what files were when they were good, so that any later damage is found and named.

A manifest is one JSON file, sealed with a digest of itself: for each input file its name, size, xxh3 128-bit digest and
trees with their entries, and for each basket (TTree) or group of pages (RNTuple) branch, entries, place and digest.
Of Parquet and HDF5 files only the whole is digested.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import xxhash

from fivesigma.core.errors import ConfigError, FileFormatError
from fivesigma.core.integrity import content_hash, write_json
from fivesigma.read.files import find_files
from fivesigma.read.formats import scan, trees_in
from fivesigma.read.record import FileBytes, Place, open_bytes
from fivesigma.read.remote import ENDS, FilePath, RemotePath, at_hand, digest, status_of
from fivesigma.read.root import ROOT_CONTAINERS, byte_ranges
from fivesigma.read.schema import InputFile

AGREES = "agrees"
FORMAT = "fivesigma manifest 1"
_SHOWN = 5  # damaged branches that an error names
_REMEDY = "copy the file again from its source; if it was meant to change, write a new manifest"


@dataclass(frozen=True)
class Part:
    """Bytes of one branch: entries ``start`` to ``stop`` (excluded), (place, length) of each piece, and their digest."""

    tree: str
    branch: str
    start: int
    stop: int
    pieces: tuple[tuple[int, int], ...]
    xxh3: str

    def __str__(self) -> str:
        return f"{self.branch} (tree {self.tree}, entries {self.start:,} to {self.stop:,})"


@dataclass(frozen=True)
class ListedFile:
    """One file of a manifest; ``trees`` gives the entries of each tree."""

    name: str
    size: int
    xxh3: str
    trees: Mapping[str, int]
    parts: tuple[Part, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """JSON-like content; a part is a list: start, stop, digest, place, length, place, length, …"""
        trees: dict[str, Any] = {tree: {"entries": n, "branches": {}} for tree, n in self.trees.items()}
        for part in self.parts:
            row = [part.start, part.stop, part.xxh3, *(number for piece in part.pieces for number in piece)]
            trees[part.tree]["branches"].setdefault(part.branch, []).append(row)
        return {"name": self.name, "size": self.size, "xxh3": self.xxh3, "trees": trees}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ListedFile:
        """What `to_json` gave."""
        parts = tuple(
            Part(tree, branch, row[0], row[1], tuple(zip(row[3::2], row[4::2], strict=True)), row[2])
            for tree, listed in content["trees"].items()
            for branch, rows in listed["branches"].items()
            for row in rows
        )
        trees = {tree: listed["entries"] for tree, listed in content["trees"].items()}
        return cls(content["name"], content["size"], content["xxh3"], trees, parts)


@dataclass(frozen=True)
class Manifest:
    """Files as they were when `write_manifest` saw them.

    Usage::

        write_manifest(["data/*.root"], "manifest.json")
        manifest = read_manifest("manifest.json")
        manifest.check("copy/of/data/run1.root")  # raises if it is not the same file
        events = open_events(["copy/of/data/*.root"], manifest=manifest)
    """

    files: tuple[ListedFile, ...]

    def listed(self, path: str | FilePath) -> ListedFile | None:
        """The entry for a file: the one whose name shares most of the end of its path; None if there is none.

        Raises
        ------
        FileFormatError
            if several fit equally well and are not equal.
        """
        place = _place(path)
        fitting = [(_shared_end(PurePath(file.name), place), file) for file in self.files]
        best = max((shared for shared, _ in fitting), default=0)
        found = [file for shared, file in fitting if shared == best and shared > 0]
        if len({file.xxh3 for file in found}) > 1:
            names = ", ".join(file.name for file in found[:_SHOWN])
            raise FileFormatError(f"several files of the manifest could be this one: {names}", file=path)
        return found[0] if found else None

    def check(self, path: str | FilePath) -> ListedFile:
        """The entry for a file, after comparing size and every byte with it.

        Raises
        ------
        FileFormatError
            if the file is not in the manifest, or differs: which branches and entries are damaged is said.
        """
        listed = self.listed(path)
        path = Path(path) if isinstance(path, str) else path
        if listed is None:
            remedy = "write a manifest that lists it"
            raise FileFormatError("the file is not in the manifest", file=path, remedy=remedy)
        if status_of(path).size != listed.size or digest(path) != listed.xxh3:
            raise _difference(path, listed)
        return listed

    def verified(self, file: InputFile) -> InputFile:
        """A scanned file, marked as covered by the manifest; one that is not listed comes back as it is.

        Raises
        ------
        FileFormatError
            if it differs from its entry.
        ConfigError
            if only the ends of a remote file were digested.
        """
        listed = self.listed(file.path)
        if listed is None:
            return file
        if file.xxh3.startswith(ENDS):
            raise ConfigError(f"only the ends of {file.path} were digested; a manifest needs the option `digest: full`")
        if file.xxh3 != listed.xxh3:
            raise _difference(file.path, listed, file)
        return replace(file, covered=True)


def _place(path: str | FilePath) -> PurePath:
    return PurePath(path.path) if isinstance(path, RemotePath) else Path(path).absolute()


def _shared_end(name: PurePath, path: PurePath) -> int:
    """Parts at the end of both paths that are equal; 0 unless the file's name itself is.

    >>> _shared_end(PurePath("a/1.root"), Path("/data/a/1.root")), _shared_end(PurePath("a/1.root"), Path("/a/2.root"))
    (2, 0)
    """
    shared = 0
    for a, b in zip(reversed(name.parts), reversed(path.parts), strict=False):
        if a != b:
            break
        shared += 1
    return shared


def write_manifest(files: Sequence[str | Path] | str | Path, output: str | Path) -> Manifest:
    """Write the manifest of files that are known to be good; names are relative to the folder they have in common.

    Parameters
    ----------
    files
        paths, globs or folders, as for `fivesigma.read.open_events`; all their trees are listed.
    output
        the JSON file.

    Raises
    ------
    FileFormatError
        if a file is damaged as far as can be told.
    OutputError
        if ``output`` cannot be written.
    """
    paths = dict.fromkeys(location.path for location in find_files(files))
    manifest = _manifest_of(file for path in paths for file in _all_trees(path))
    content = {"format": FORMAT, "files": [file.to_json() for file in manifest.files]}
    write_json(Path(output), {**content, "xxh3": content_hash(content)}, indent=None)
    return manifest


def _all_trees(path: FilePath) -> list[InputFile]:
    with at_hand(path) as near:
        found = [scan(near, tree) for tree in trees_in(near)]
    if any(file.xxh3.startswith(ENDS) for file in found):
        raise ConfigError(f"only the ends of {path} were digested; a manifest needs the option `digest: full`")
    return found


def _manifest_of(scanned: Iterable[InputFile]) -> Manifest:
    by_path: dict[PurePath, list[InputFile]] = {}
    for file in scanned:
        by_path.setdefault(_place(file.path), []).append(file)
    names = _names(list(by_path))
    return Manifest(
        tuple(
            ListedFile(
                names[path],
                trees[0].size,
                trees[0].xxh3,
                {tree.tree: tree.entries for tree in trees},
                tuple(part for tree in trees for part in _parts(tree)),
            )
            for path, trees in by_path.items()
        )
    )


def _names(paths: Sequence[PurePath]) -> dict[PurePath, str]:
    """Each path relative to the deepest folder that holds all of them."""
    common = paths[0].parent if paths else PurePath()
    while not all(path.is_relative_to(common) for path in paths):
        common = common.parent
    return {path: path.relative_to(common).as_posix() for path in paths}


def _parts(file: InputFile) -> Iterator[Part]:
    if file.container not in ROOT_CONTAINERS:
        return
    with open_bytes(Place(file.path, file.tree)) as content:
        for branch, start, stop, pieces in byte_ranges(file):
            yield Part(file.tree, branch, start, stop, pieces, _digest(content, pieces))


def _digest(file: FileBytes, pieces: Iterable[tuple[int, int]]) -> str:
    found = xxhash.xxh3_64()
    for seek, nbytes in pieces:
        found.update(file.read(seek, nbytes))
    return found.hexdigest()


def read_manifest(path: str | Path) -> Manifest:
    """The manifest in a JSON file.

    Raises
    ------
    FileFormatError
        if it cannot be read, is no manifest, or was changed after it was written.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise FileFormatError(f"not a manifest: {error.strerror}", file=path) from error
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int, size: int) -> Manifest:  # noqa: ARG001  another state of the file is another manifest
    remedy = "write it again with `fivesigma inspect FILES --write-manifest` from good files"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seal = content.pop("xxh3") if content["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"not a manifest: {error}", file=path, remedy=remedy) from error
    if seal is None:
        raise FileFormatError(f"expected {FORMAT!r}, got {content['format']!r}", file=path, remedy=remedy)
    if content_hash(content) != seal:
        raise FileFormatError("the manifest was changed or damaged after it was written", file=path, remedy=remedy)
    return Manifest(tuple(ListedFile.from_json(file) for file in content["files"]))


def scan_listed(path: FilePath, tree: str | None, manifest: Manifest) -> InputFile:
    """Scan one file and compare it with the manifest, if that lists it.

    Raises
    ------
    FileFormatError, ConfigError
        see `fivesigma.read.formats.scan` and `Manifest.check`; where both would fail, what the manifest says: it names
        the branches that are damaged.
    """
    try:
        file = scan(path, tree)
    except FileFormatError:
        if manifest.listed(path) is not None:
            manifest.check(path)
        raise
    return manifest.verified(file)


def outcomes(files: Sequence[str | Path] | str | Path, manifest: Manifest) -> list[dict[str, str]]:
    """One row per file for a table: file, and whether it agrees, differs, or is on one side only."""
    rows, seen = [], set[str]()
    for path in dict.fromkeys(location.path for location in find_files(files)):
        try:
            seen.add(manifest.check(path).name)
            outcome, detail = AGREES, ""
        except FileFormatError as error:
            outcome, detail = "differs", error.cause
            listed = manifest.listed(path)
            seen |= set() if listed is None else {listed.name}
        rows.append({"file": str(path), "outcome": outcome, "detail": detail})
    rows += [{"file": f.name, "outcome": "not given", "detail": ""} for f in manifest.files if f.name not in seen]
    return rows


def _difference(path: FilePath, listed: ListedFile, file: InputFile | None = None) -> FileFormatError:
    """What differs from the manifest: size, entries, and the branches and entries whose bytes changed."""
    size = status_of(path).size
    found = [] if size == listed.size else [f"{size:,} bytes, the manifest says {listed.size:,}"]
    if file is not None and file.entries != listed.trees.get(file.tree, file.entries):
        found.append(f"{file.entries:,} entries, the manifest says {listed.trees[file.tree]:,}")
    with open_bytes(Place(path)) as content:
        damaged = [part for part in listed.parts if not _intact(content, part)]
    if damaged:
        more = f" and {len(damaged) - _SHOWN:,} more" if len(damaged) > _SHOWN else ""
        found.append(f"damaged: {'; '.join(map(str, damaged[:_SHOWN]))}{more}")
    elif size == listed.size:
        found.append("damaged outside of its branches: in its header, its keys or the description of its trees")
    return FileFormatError(
        f"the file differs from its manifest: {'; '.join(found)}",
        file=path,
        tree=damaged[0].tree if damaged else None,
        branch=damaged[0].branch if damaged else None,
        entry=damaged[0].start if damaged else None,
        remedy=_REMEDY,
    )


def _intact(file: FileBytes, part: Part) -> bool:
    inside = all(seek + nbytes <= file.size for seek, nbytes in part.pieces)
    return inside and _digest(file, part.pieces) == part.xxh3
