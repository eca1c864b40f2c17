"""Kinds of input files: which one a file is, by its first bytes, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fivesigma.core.errors import FileFormatError
from fivesigma.core.jagged import Column
from fivesigma.read import hdf5, parquet, root
from fivesigma.read.header import describe_bytes
from fivesigma.read.remote import FetchedPath, FilePath, at_hand, open_binary, status_of
from fivesigma.read.schema import InputFile


@dataclass(frozen=True)
class Format:
    """One kind of file: what it begins with, what its names end with, and the three functions that read it.

    ``trees`` gives name → container of every tree (table, group), ``scan`` one tree as an `InputFile`, ``read_range``
    entries ``start`` to ``stop`` (excluded) of named branches.
    """

    name: str
    magic: bytes
    suffixes: tuple[str, ...]
    containers: tuple[str, ...]
    trees: Callable[[FilePath], dict[str, str]]
    scan: Callable[[FilePath, str | None], InputFile]
    read_range: Callable[[InputFile, int, int, Sequence[str]], dict[str, Column]]


FORMATS = (
    Format("ROOT", b"root", (".root",), ("TTree", "RNTuple"), root.trees_in, root.scan, root.read_range),
    Format("Parquet", b"PAR1", (".parquet",), ("Parquet",), parquet.trees_in, parquet.scan, parquet.read_range),
    Format("HDF5", b"\x89HDF\r\n\x1a\n", (".h5", ".hdf5"), ("HDF5",), hdf5.trees_in, hdf5.scan, hdf5.read_range),
)
_MAGIC_BYTES = 24


def format_of(path: FilePath) -> Format:
    """The format of a file by its content; a wrong ending does not matter.

    Raises
    ------
    FileFormatError
        if it is none of those we read; its first bytes are shown.
    """
    with open_binary(path) as file:
        head = file.read(_MAGIC_BYTES)
    for known in FORMATS:
        if head.startswith(known.magic):
            return known
    expected = next((known.name for known in FORMATS if path.suffix in known.suffixes), "ROOT, Parquet or HDF5")
    raise FileFormatError(
        f"not a {expected} file: {describe_bytes(head, status_of(path).size)}", file=path, remedy="check what wrote it"
    )


def trees_in(path: FilePath) -> dict[str, str]:
    """The trees of a file of any format: name to container.

    Raises
    ------
    FileFormatError
        if it is of no known format, truncated or damaged.
    """
    return format_of(path).trees(path)


def scan(path: FilePath, tree: str | None = None) -> InputFile:
    """Trees, branches and digest of one file of any format; one on another machine is fetched for it, see `at_hand`.

    Raises
    ------
    FileFormatError, ConfigError
        see `format_of` and `fivesigma.read.root.scan`.
    RemoteError, OutputError
        if a file does not come, or there is no room for it.
    """
    with at_hand(path) as near:
        found = format_of(near).scan(near, tree)
    return replace(found, path=near.away()) if isinstance(near, FetchedPath) else found


def read_range(file: InputFile, start: int, stop: int, names: Sequence[str]) -> dict[str, Column]:
    """Entries ``start`` to ``stop`` (excluded) of the named branches: flat arrays or `Jagged`.

    Raises
    ------
    MissingBranchError, BranchTypeError, FileFormatError
        see `fivesigma.read.root.read_range`.
    """
    reader = next(known for known in FORMATS if file.container in known.containers)
    columns = reader.read_range(file, start, stop, names)
    root.check_unchanged_meanwhile(file)
    return columns
