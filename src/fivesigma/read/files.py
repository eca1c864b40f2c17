"""Which files are meant: paths, URLs, globs, folders, lists of files, and filesets as coffea has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fivesigma.core.errors import ConfigError, FileFormatError, UnknownNameError
from fivesigma.core.registry import nearest_names, unknown_name
from fivesigma.read.remote import XROOTD, FilePath, RemotePath, is_url
from fivesigma.read.remote_options import RemoteOptions

SUFFIXES = (".root", ".parquet", ".h5", ".hdf5")
"""Endings of the files that a folder stands for."""
LIST_SUFFIX = ".txt"
FILESET_SUFFIX = ".json"
DATASET = "#"
"""Between a fileset and the dataset of it that is meant: ``fileset.json#TTbar``."""
_WILDCARDS = re.compile(r"[*?\[]")
_REMOTE_WILDCARDS = re.compile(r"[*\[]")  # a question mark begins the query of a URL


@dataclass(frozen=True)
class Location:
    """One input file, and the tree in it if a fileset names one."""

    path: FilePath
    tree: str | None = None


def find_files(
    patterns: Sequence[str | FilePath] | str | FilePath, remote: RemoteOptions | None = None
) -> list[Location]:
    """The files that ``patterns`` stand for, in their order, within a pattern in natural order.

    A pattern is a path; a glob; a folder (all ROOT, Parquet and HDF5 files below it); a list of files (``.txt``: one
    pattern a line, relative to the list, ``#`` begins a comment); or one dataset of a fileset (``.json``, as coffea has
    it: ``{dataset: {"files": {path: tree}, "metadata": {}}}``, or a list of paths; ``fileset.json#dataset``, the name
    may be left out if there is only one). It may also be a URL (``https``, ``http``, ``root``), in lists and filesets
    too; ``root://`` URLs may have ``*``, ``[…]`` and ``**`` in the path, or end with a slash for a folder.

    ``remote`` says how to reach URLs; if it is left out, the environment does, see
    `fivesigma.read.remote_options.RemoteOptions`.

    Raises
    ------
    ConfigError
        if there are no patterns, or a list or fileset cannot be understood (`UnknownNameError`: has no such dataset, or
        a URL is of no known kind).
    FileFormatError
        if a file does not exist (the nearest name is given), or a pattern matches nothing.
    RemoteError
        if a server does not list a folder.
    """
    patterns = [patterns] if isinstance(patterns, str | FilePath) else list(patterns)
    if not patterns:
        raise ConfigError("no input files were given")
    remote = remote or RemoteOptions.from_environment()
    return [location for pattern in patterns for location in _expand(pattern, Path(), remote)]


def _expand(pattern: str | FilePath, folder: Path, remote: RemoteOptions) -> Iterator[Location]:
    """The files that one pattern stands for; a relative path starts at ``folder``."""
    if isinstance(pattern, RemotePath):
        yield Location(pattern)
    elif is_url(str(pattern)):
        yield from _expand_url(str(pattern), remote)
    else:
        yield from _expand_path(folder / Path(pattern).expanduser(), remote)


def _expand_url(url: str, remote: RemoteOptions) -> Iterator[Location]:
    meant = RemotePath(url, remote)
    folder = meant.scheme in XROOTD and meant.path.endswith("/")
    if not folder and not _REMOTE_WILDCARDS.search(meant.path):
        yield Location(meant)
        return
    if meant.scheme not in XROOTD:
        raise ConfigError(
            f"{meant}: a web server cannot say which files it has: name each, in a list of files for example"
        )
    from fivesigma.read.xrootd import ANY_FOLDERS, files_matching

    levels = meant.path.strip("/").split("/")
    levels += [ANY_FOLDERS, "*"] if folder else []
    fixed = next(i for i, level in enumerate(levels) if _REMOTE_WILDCARDS.search(level))
    parts = urlsplit(url)

    def at(path: str) -> str:
        return urlunsplit(parts._replace(path=f"//{path.lstrip('/')}"))

    paths = files_matching(at("/".join(levels[:fixed])), remote, levels[fixed:])
    found = [path for path in paths if not folder or Path(path).suffix in SUFFIXES]
    if not found:
        otherwise = f"no {_named_suffixes()} files here" if folder else "no file matches this pattern"
        raise FileFormatError(otherwise, file=str(meant))
    yield from (Location(RemotePath(at(path), remote)) for path in sorted(found, key=natural_order))


def _expand_path(path: Path, remote: RemoteOptions) -> Iterator[Location]:
    fileset, _, dataset = str(path).partition(DATASET)
    if Path(fileset).suffix == FILESET_SUFFIX and not path.exists():
        yield from _fileset(Path(fileset), dataset, remote)
    elif path.suffix == FILESET_SUFFIX:
        yield from _fileset(path, None, remote)
    elif path.suffix == LIST_SUFFIX and path.is_file():
        yield from _file_list(path, remote)
    elif path.is_dir():
        yield from _found(
            (p for p in path.rglob("*") if p.suffix in SUFFIXES), path, f"no {_named_suffixes()} files here"
        )
    elif path.exists():
        yield Location(path)
    elif _WILDCARDS.search(str(path)):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        yield from _found(anchor.glob(str(path.relative_to(path.anchor))), path, "no file matches this pattern")
    else:
        raise FileFormatError("no such file", file=path, remedy=_nearest_file(path))


def _found(candidates: Iterator[Path], pattern: Path, otherwise: str) -> list[Location]:
    found = sorted((path for path in candidates if path.is_file()), key=natural_order)
    if not found:
        raise FileFormatError(otherwise, file=pattern)
    return [Location(path) for path in found]


def _named_suffixes() -> str:
    return ", ".join(f"*{suffix}" for suffix in SUFFIXES)


def _file_list(path: Path, remote: RemoteOptions) -> Iterator[Location]:
    lines = [line.partition("#")[0].strip() for line in _text(path).splitlines()]
    if not any(lines):
        raise ConfigError(f"{path}: the list names no files")
    for line in filter(None, lines):
        yield from _expand(line, path.parent, remote)


def _fileset(path: Path, dataset: str | None, remote: RemoteOptions) -> Iterator[Location]:
    """The files of one dataset of a fileset."""
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: expected a fileset {{dataset: {{files: {{path: tree}}}}}}")
    if not dataset:
        if len(content) > 1:
            raise ConfigError(f"{path} has {len(content)} datasets: name one as {path}{DATASET}{next(iter(content))}")
        dataset = next(iter(content))
    if dataset not in content:
        raise UnknownNameError(f"{path}: {unknown_name('dataset', dataset, content)}")
    for file, tree in _files_of(path, dataset, content[dataset]):
        for location in _expand(file, path.parent, remote):
            yield Location(location.path, tree if location.tree is None else location.tree)


def _files_of(path: Path, dataset: str, content: Any) -> list[tuple[str, str | None]]:
    """Paths and trees; coffea writes them as a mapping, or as a list of paths, with or without ``files`` around it."""
    files = content.get("files") if isinstance(content, dict) else content
    if isinstance(files, Mapping) and files:
        return [(str(file), _tree_name(words)) for file, words in files.items()]
    if isinstance(files, list) and files:
        return [(str(file), None) for file in files]
    raise ConfigError(f"{path}, dataset {dataset!r}: expected `files`, a mapping of path to tree or a list of paths")


def _tree_name(words: Any) -> str | None:
    """Coffea's preprocessed filesets have ``{"object_path": tree, "steps": …}`` where plain ones have the tree."""
    name = words.get("object_path") if isinstance(words, Mapping) else words
    return None if name is None else str(name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileFormatError("no such file", file=path, remedy=_nearest_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist"
    nearest = nearest_names(path.name, [p.name for p in folder.iterdir()])
    return f"in {folder} there is: {', '.join(nearest)}" if nearest else f"nothing like it is in {folder}"


def natural_order(path: Path | str) -> list[tuple[int, int, str]]:
    """Sort key that counts: file 2 before file 10.

    >>> [p.name for p in sorted(map(Path, ["f10.root", "f2.root"]), key=natural_order)]
    ['f2.root', 'f10.root']
    """
    pieces = re.split(r"([0-9]+)", str(path))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]
