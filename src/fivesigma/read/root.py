"""One TTree or RNTuple in one ROOT file: find it, list its branches, read a range of its entries.

uproot does the reading; what it cannot be trusted with (truncation, change on disk, selections) is done here and in
`header.py`. Its own failures come out as `FileFormatError` with file, tree, branch and entry range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from uproot.models.RNTuple import RField

from fivesigma.core.errors import BranchTypeError, ConfigError, FileFormatError, FivesigmaError
from fivesigma.core.integrity import file_digest
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.read.header import check_header
from fivesigma.read.ntuple import ntuple_branches
from fivesigma.read.schema import Branch, InputFile

_TREE_CLASSES = {"TTree": "TTree", "TNtuple": "TTree", "TNtupleD": "TTree", "TChain": "TTree"}
_NUMBER_KINDS = "biuf"  # NumPy's letters for booleans, signed and unsigned integers, floating point


@contextmanager
def _failures_named(path: Path, tree: str | None = None, branch: str | None = None, what: str = "") -> Iterator[None]:
    """Say where: uproot raises anything from KeyError to zlib.error on damaged bytes."""
    try:
        yield
    except FivesigmaError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        raise FileFormatError(
            f"cannot read{what}: {reason}",
            file=path,
            tree=tree,
            branch=branch,
            remedy="the file is damaged or uses a feature that uproot does not read; compare it with its source",
        ) from error


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    with _failures_named(path):
        file = uproot.open(path, array_cache=None, object_cache=None)
    with file:
        yield file


def trees_in(path: Path) -> dict[str, str]:
    """The trees of a file: name (with folder) to container, "TTree" or "RNTuple"; the newest cycle of each.

    Raises
    ------
    FileFormatError
        if the file is not a complete ROOT file, or has no keys at all, as one that was never closed.
    """
    check_header(path)
    with _open(path) as file:
        with _failures_named(path):
            classes: dict[str, str] = file.classnames(recursive=True, cycle=False)
        if not classes:
            raise FileFormatError(
                "the file has no keys: it was not closed when it was written, or nothing was written",
                file=path,
                remedy="write it again, or recover it with ROOT's `TFile::Recover`",
            )
        return {name: kind for name, c in classes.items() if (kind := _container(c)) is not None}


def _container(classname: str) -> str | None:
    if classname.endswith("RNTuple"):
        return "RNTuple"
    return _TREE_CLASSES.get(classname)


def choose_tree(path: Path, trees: Mapping[str, str], tree: str | None) -> str:
    """The named tree, or the only one."""
    if tree is not None:
        if tree in trees:
            return tree
        raise FileFormatError(unknown_name("tree", tree, trees), file=path)
    if len(trees) == 1:
        return next(iter(trees))
    if not trees:
        raise FileFormatError("no TTree and no RNTuple in this file", file=path)
    raise ConfigError(f"{path} has {len(trees)} trees: name one of them as `tree`: {', '.join(sorted(trees))}")


def scan(path: Path, tree: str | None = None) -> InputFile:
    """Header, trees, branches and digest of one file.

    Raises
    ------
    FileFormatError, ConfigError
        see `trees_in` and `choose_tree`.
    """
    status = path.stat()
    trees = trees_in(path)
    name = choose_tree(path, trees, tree)
    with _open(path) as file, _failures_named(path, name, what=" the tree's description"):
        content = file[name]
        branches = _tree_branches(content) if trees[name] == "TTree" else ntuple_branches(content)
        entries = int(content.num_entries)
    return InputFile(
        path=path,
        tree=name,
        container=trees[name],
        entries=entries,
        size=status.st_size,
        xxh3=file_digest(path),
        branches=branches,
        mtime_ns=status.st_mtime_ns,
    )


def _tree_branches(tree: Any) -> dict[str, Branch]:
    branches = {}
    for key, branch in tree.iteritems(recursive=True):
        codec = "none" if branch.compression is None else repr(branch.compression)
        dtype, jagged = _interpreted(branch.interpretation)
        branches[key] = Branch(key, dtype, jagged, str(branch.typename), codec, key)
    return branches


def _interpreted(interpretation: Any) -> tuple[str | None, bool]:
    """Type of the values and whether there is a list of them per event; None for what we do not read."""
    jagged = isinstance(interpretation, uproot.AsJagged)
    content = interpretation.content if jagged else interpretation
    if type(content) is not uproot.AsDtype:
        return None, jagged
    dtype = content.to_dtype
    if dtype.shape != () or dtype.names is not None or dtype.kind not in _NUMBER_KINDS:
        return None, jagged
    return dtype.newbyteorder("=").name, jagged


def check_unchanged(file: InputFile) -> None:
    """Refuse a file that changed since it was scanned; a touched but equal file passes.

    Raises
    ------
    FileFormatError
        if the file is gone or its content differs.
    """
    remedy = "start again with the file as it is now, and let nothing write to it meanwhile"
    try:
        status = file.path.stat()
    except OSError as error:
        raise FileFormatError("the file was there when scanned and is gone", file=file.path, remedy=remedy) from error
    same = status.st_size == file.size and status.st_mtime_ns == file.mtime_ns
    if not same and (status.st_size != file.size or file_digest(file.path) != file.xxh3):
        raise FileFormatError("the file changed after it was scanned", file=file.path, remedy=remedy)


def read_range(file: InputFile, start: int, stop: int, names: Sequence[str]) -> dict[str, Column]:
    """Entries ``start`` to ``stop`` (excluded) of the named branches, in native byte order.

    Raises
    ------
    MissingBranchError, BranchTypeError
        for a branch that is not there or cannot be read.
    FileFormatError
        if the file changed since the scan, or its bytes cannot be decoded.
    """
    branches = [file.branch(name) for name in names]
    check_unchanged(file)
    columns: dict[str, Column] = {}
    with _open(file.path) as source:
        with _failures_named(file.path, file.tree, what=" the tree"):
            tree = source[file.tree]
        for branch in branches:
            what = f" entries {start:,} to {stop:,}"
            with _failures_named(file.path, file.tree, branch.name, what):
                # By number: finding a field by name takes uproot seconds in files of 2,000 fields.
                source_branch = RField(int(branch.key), tree) if file.container == "RNTuple" else tree[branch.key]
                array = source_branch.array(entry_start=start, entry_stop=stop, library="ak")
                column = _to_column(array)
            _check_column(file, branch, column, stop - start)
            columns[branch.name] = column
    return columns


def _to_column(array: Any) -> Column:
    layout = ak.to_packed(array).layout
    if layout.is_list:
        layout = layout.to_ListOffsetArray64(True)
        return Jagged(_native(layout.content), np.asarray(layout.offsets.data, dtype=np.int64))
    return _native(layout)


def _native(layout: Any) -> np.ndarray[Any, Any]:
    values = np.asarray(ak.to_numpy(layout))
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _check_column(file: InputFile, branch: Branch, column: Column, entries: int) -> None:
    """What was read is what the schema promised: type, jaggedness and number of entries."""
    if len(column) != entries:
        raise FileFormatError(
            f"expected {entries:,} entries, got {len(column):,}", file=file.path, tree=file.tree, branch=branch.name
        )
    got = Branch(branch.name, column.dtype.name, isinstance(column, Jagged))
    if got != branch:
        raise BranchTypeError(f"expected {branch}, got {got}", file=file.path, tree=file.tree, branch=branch.name)
