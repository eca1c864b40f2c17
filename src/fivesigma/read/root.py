"""One TTree or RNTuple in one ROOT file: find it, list its branches, read a range of its entries.

uproot does the reading; what it cannot be trusted with (lengths, checksums of RNTuples, change on disk, selections) is
done here and in `directory.py`, `basket.py`, `page_checksum.py`. Its own failures come out as `FileFormatError` with
file, tree, branch and entry range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from uproot.containers import AsVector
from uproot.models.RNTuple import RField

from fivesigma.core.errors import BranchTypeError, ConfigError, FileFormatError, FivesigmaError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.read.basket import baskets_of, protection_of
from fivesigma.read.directory import check_directories
from fivesigma.read.header import NOT_CLOSED_REMEDY
from fivesigma.read.ntuple import MAX_DEPTH, ntuple_branches
from fivesigma.read.orphan_baskets import refuse_orphans
from fivesigma.read.page_checksum import FieldPages, check_envelopes, check_pages, field_protection
from fivesigma.read.raw_branch import RawBranch
from fivesigma.read.record import FileBytes, Place, open_bytes
from fivesigma.read.remote import FilePath, RemotePath, digest, refuse_change, status_of
from fivesigma.read.remote_source import Status
from fivesigma.read.schema import COUNT, NOTHING, Branch, InputFile

_TREE_CLASSES = {"TTree": "TTree", "TNtuple": "TTree", "TNtupleD": "TTree", "TChain": "TTree"}
ROOT_CONTAINERS = ("TTree", "RNTuple")
_LOCAL = {"handler": uproot.MultithreadedFileSource, "use_threads": False}
"""Read by this thread; fsspec, uproot's choice, hands every request to another, which costs more than most baskets."""
_NUMBER_KINDS = "biuf"  # NumPy's letters for booleans, signed and unsigned integers, floating point


@contextmanager
def _failures_named(
    path: FilePath, tree: str | None = None, branch: str | None = None, what: str = ""
) -> Iterator[None]:
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
def _open(path: FilePath) -> Iterator[Any]:
    with path.open() if isinstance(path, RemotePath) else nullcontext(path) as source:
        with _failures_named(path):
            file = uproot.open(source, array_cache=None, object_cache=None, **({} if source is not path else _LOCAL))
        with file:
            yield file


def trees_in(path: FilePath) -> dict[str, str]:
    """The trees of a file: name (with folder) to container, "TTree" or "RNTuple"; the newest cycle of each.

    Raises
    ------
    FileFormatError
        if the file is not a complete ROOT file (see `check_directories`), or has no keys at all, as one that was never
        closed.
    """
    check_directories(path)
    with _open(path) as file:
        return _trees(path, file)


def _trees(path: FilePath, file: Any) -> dict[str, str]:
    with _failures_named(path):
        classes: dict[str, str] = file.classnames(recursive=True, cycle=False)
    if not classes:
        raise FileFormatError(
            "the file has no keys: it was not closed when it was written, or nothing was written",
            file=path,
            remedy=NOT_CLOSED_REMEDY,
        )
    return {name: kind for name, c in classes.items() if (kind := _container(c)) is not None}


def _container(classname: str) -> str | None:
    if classname.endswith("RNTuple"):
        return "RNTuple"
    return _TREE_CLASSES.get(classname)


def choose_tree(path: FilePath, trees: Mapping[str, str], tree: str | None) -> str:
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


def scan(path: FilePath, tree: str | None = None) -> InputFile:
    """Header, trees, branches and digest of one file, after checking all that its parts say about each other.

    Raises
    ------
    FileFormatError, ConfigError
        see `trees_in` and `choose_tree`; also if the tree contradicts its baskets. A single branch that does is listed
        with its fault, and refused when it is read.
    """
    status = status_of(path)
    protections = check_directories(path)
    with ExitStack() as opened:
        file = opened.enter_context(_open(path))
        trees = _trees(path, file)
        name = choose_tree(path, trees, tree)
        place = Place(path, name)
        opened.enter_context(_failures_named(path, name, what=" the tree's description"))
        content = opened.enter_context(open_bytes(place))
        found = file[name]
        if trees[name] == "TTree":
            branches = _tree_branches(content, place, found, protections.get(name, NOTHING))
            refuse_orphans(content, place, file, found)
        else:
            check_envelopes(content, place, found)
            branches = _ntuple_branches(content, place, found)
        entries = int(found.num_entries)
    return InputFile(
        path=path,
        tree=name,
        container=trees[name],
        entries=entries,
        size=status.size,
        xxh3=digest(path),
        branches=branches,
        version=status.version,
    )


def _tree_branches(file: FileBytes, place: Place, tree: Any, tree_protection: str) -> dict[str, Branch]:
    branches: dict[str, Branch] = {}
    counts: dict[str, Branch] = {}
    for key, branch in tree.iteritems(recursive=True):
        codec = "none" if branch.compression is None else repr(branch.compression)
        dtype, depth = _interpreted(branch.interpretation)
        protection, fault = "", ""
        try:
            baskets = baskets_of(file, place.of_branch(key), branch, tree_protection)
            protection = protection_of(basket.protection for basket in baskets)
        except FileFormatError as error:
            fault = error.cause
        found = Branch(key, dtype, depth > 0, str(branch.typename), codec, key, protection, fault)
        branches[key] = found
        if depth == MAX_DEPTH and dtype is not None:
            counts[f"{key}{COUNT}"] = replace(found, name=f"{key}{COUNT}", dtype="int64")
    branches |= {name: branch for name, branch in counts.items() if name not in branches}
    faults = [branch.fault for branch in branches.values() if branch.fault]
    if faults and (not tree.num_entries or not any(branch.protection for branch in branches.values())):
        raise place.damaged(faults[0])
    return branches


def _ntuple_branches(file: FileBytes, place: Place, ntuple: Any) -> dict[str, Branch]:
    pages = FieldPages(ntuple)
    branches = {}
    for name, branch in ntuple_branches(ntuple).items():
        try:
            protection = field_protection(file, place.of_branch(name), pages.groups(int(branch.key)))
            branches[name] = replace(branch, protection=protection)
        except FileFormatError as error:
            branches[name] = replace(branch, fault=error.cause)
    return branches


def _interpreted(interpretation: Any) -> tuple[str | None, int]:
    """Type of the values, None for what we do not read; and how many lists are around them in one event."""
    depth, content = 0, interpretation
    if isinstance(content, uproot.AsJagged):
        depth, content = 1, content.content
    elif isinstance(content, uproot.AsObjects):
        content = content.model
        while isinstance(content, AsVector):
            depth, content = depth + 1, content.values
    if type(content) is uproot.AsDtype:
        content = content.to_dtype
    if not isinstance(content, np.dtype) or content.names is not None:
        return None, depth
    depth += len(content.shape)
    if depth > MAX_DEPTH or content.base.kind not in _NUMBER_KINDS:
        return None, depth
    return content.base.newbyteorder("=").name, depth


def byte_ranges(file: InputFile) -> Iterator[tuple[str, int, int, tuple[tuple[int, int], ...]]]:
    """Branch, first entry, entry after the last, and (place, length) of the bytes, for each basket or group of pages.

    Baskets inside the tree's own record are left out.

    Raises
    ------
    FileFormatError
        if the file contradicts itself.
    """
    place = Place(file.path, file.tree)
    with _open(file.path) as source, open_bytes(place) as content:
        with _failures_named(file.path, file.tree, what=" the tree"):
            tree = source[file.tree]
            pages = FieldPages(tree) if file.container == "RNTuple" else None
        for branch in file.branches.values():
            if _is_count(file, branch):
                continue  # the same bytes as its values
            if pages is not None:
                for group in pages.groups(int(branch.key)):
                    pieces = tuple(dict.fromkeys((page.seek, page.stored) for page in group.pages))
                    yield branch.name, group.start, group.stop, pieces
            else:
                for basket in baskets_of(content, place.of_branch(branch.name), tree[branch.key], NOTHING):
                    if basket.nbytes:
                        yield branch.name, basket.start, basket.stop, ((basket.seek, basket.nbytes),)


def check_unchanged(file: InputFile) -> None:
    """Refuse a file that changed since it was scanned; a touched but equal file passes.

    Raises
    ------
    FileFormatError
        if the file is gone or its content differs; for remote files see `refuse_change`.
    """
    refuse_change(file.path, Status(file.size, file.version), file.xxh3)


def check_unchanged_meanwhile(file: InputFile) -> None:
    """After reading: refuse a local file that changed while it was read; of a remote one every answer was compared.

    Raises
    ------
    FileFormatError
        see `check_unchanged`.
    """
    if not isinstance(file.path, RemotePath):
        check_unchanged(file)


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
    raw, what = raw_branches(file, names), f" entries {start:,} to {stop:,}"
    with open_bytes(Place(file.path, file.tree)) as content:
        columns: dict[str, Column] = {}
        compared: list[NDArray[np.int64]] = []
        for name, found in raw.items():
            with _failures_named(file.path, file.tree, name, what):
                columns[name] = found.column(content, start, stop, compared)
        others = [branch for branch in branches if branch.name not in raw]
        if others:
            columns |= _by_uproot(file, others, content, start, stop)
    for branch in branches:
        _check_column(file, branch, columns[branch.name], stop - start)
    return {branch.name: columns[branch.name] for branch in branches}


def raw_branches(file: InputFile, names: Sequence[str]) -> dict[str, RawBranch]:
    """Those of the named branches that can be read without uproot.

    Raises
    ------
    MissingBranchError, BranchTypeError, FileFormatError
        see `read_range`.
    """
    branches = tuple(file.branch(name) for name in names)
    if file.container != "TTree":
        return {}
    return _raw_branches(file.path, file.xxh3, file.tree, branches)


@lru_cache(maxsize=4)
def _raw_branches(path: FilePath, xxh3: str, tree: str, branches: tuple[Branch, ...]) -> dict[str, RawBranch]:
    """Kept for the next entry range: uproot takes as long to open a file as we to read 10,000 entries."""
    del xxh3  # part of the key: a file that is written anew is another file
    with _open(path) as source, _failures_named(path, tree, what=" the tree"):
        found = source[tree]
        made = {b.name: RawBranch.of(Place(path, tree, b.name), found[b.key], b.protection) for b in branches}
    return {name: raw for name, raw in made.items() if raw is not None}


def _by_uproot(
    file: InputFile, branches: Sequence[Branch], content: FileBytes, start: int, stop: int
) -> dict[str, Column]:
    """Any branches that can be read: the slow way."""
    columns: dict[str, Column] = {}
    place = Place(file.path, file.tree)
    with _open(file.path) as source:
        with _failures_named(file.path, file.tree, what=" the tree"):
            tree = source[file.tree]
            if file.container == "RNTuple":
                check_envelopes(content, place, tree)
                pages = FieldPages(tree)
        for branch in branches:
            what = f" entries {start:,} to {stop:,}"
            with _failures_named(file.path, file.tree, branch.name, what):
                if file.container == "RNTuple":
                    for group in pages.groups(int(branch.key), start, stop):
                        check_pages(content, place.of_branch(branch.name), group)
                    # By number: finding a field by name takes uproot seconds in files of 2,000 fields.
                    source_branch: Any = RField(int(branch.key), tree)
                else:
                    source_branch = tree[branch.key]
                array = source_branch.array(entry_start=start, entry_stop=stop, library="ak")
                column = _to_column(array, counts=_is_count(file, branch))
                if isinstance(column, Jagged) and NOTHING in branch.protection and array.ndim == 2:
                    _check_counts(place.of_branch(branch.name), source_branch, column, start, stop)
            columns[branch.name] = column
    return columns


def _check_counts(place: Place, branch: Any, column: Jagged, start: int, stop: int) -> None:
    """Lengths of lists that no checksum covers are those that the counting branch (``x[n]``) has."""
    counter = getattr(branch, "count_branch", None)
    if counter is None:
        return
    counts = np.asarray(counter.array(entry_start=start, entry_stop=stop, library="np"))
    wrong = np.flatnonzero(counts != column.counts)
    if wrong.size:
        i = int(wrong[0])
        raise place.damaged(
            f"entry {start + i:,} has {column.counts[i]:,} values, but its counter {counter.name!r} says {counts[i]:,}"
        )


def _is_count(file: InputFile, branch: Branch) -> bool:
    """Whether a branch has the lengths of the inner lists of the branch before ``.count``."""
    other = file.branches.get(branch.name.removesuffix(COUNT))
    return branch.name.endswith(COUNT) and other is not None and other.key == branch.key


def _to_column(array: Any, counts: bool) -> Column:
    layout = array.layout
    if isinstance(layout, ak.contents.NumpyArray):
        layout = layout.to_RegularArray()  # arrays of fixed size may come as one block
    _check_offsets(layout)
    layout = ak.to_packed(layout, highlevel=False)
    if not layout.is_list:
        return _native(layout)
    layout = layout.to_ListOffsetArray64(True)
    offsets, content = np.asarray(layout.offsets.data, dtype=np.int64), layout.content
    if isinstance(content, ak.contents.NumpyArray):
        content = content.to_RegularArray()
    if not content.is_list:
        return Jagged(_native(content), offsets)
    _check_offsets(content)
    inner = content.to_ListOffsetArray64(True)
    edges = np.asarray(inner.offsets.data, dtype=np.int64)
    return Jagged(np.diff(edges), offsets) if counts else Jagged(_native(inner.content), edges[offsets])


def _check_offsets(layout: Any) -> None:
    """Damaged entry offsets run backwards or past the values; awkward would make values of what lies there."""
    if isinstance(layout, ak.contents.ListOffsetArray):
        offsets = np.asarray(layout.offsets.data)
        if offsets[0] < 0 or offsets[-1] > len(layout.content) or np.any(np.diff(offsets) < 0):
            raise ValueError("the entry offsets are not in order")


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
