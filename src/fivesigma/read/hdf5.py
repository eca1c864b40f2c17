"""HDF5 files, as ATLAS' flavour taggers, KM3NeT or we write them: structured arrays, and plain arrays of numbers.

Datasets of one group with equal first dimension are one tree, named after the group if there is only one length in it,
otherwise after its first one-dimensional dataset. Branches are ``dataset.field`` (structured) or ``dataset``; a tree of
a single structured dataset has just its fields. Two-dimensional datasets are jagged: with a boolean field ``valid`` its
true entries only, otherwise all. Groups that PyTables keeps for its indices (``_i_…``) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FileFormatError, FivesigmaError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.read.remote import FilePath, RemotePath, digest, status_of
from fivesigma.read.root import check_unchanged, choose_tree
from fivesigma.read.schema import Branch, InputFile

VALID = "valid"
"""Boolean field of a two-dimensional structured dataset: which of its padded entries are there."""
_INDEX_PREFIX = "_i_"
_NUMBER_KINDS = "biuf"


@contextmanager
def _open(path: FilePath, what: str = "") -> Iterator[Any]:
    try:
        with (
            path.open() if isinstance(path, RemotePath) else nullcontext(path) as source,
            h5py.File(source, "r") as file,
        ):
            yield file
    except FivesigmaError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        raise FileFormatError(
            f"cannot read{what}: {reason}",
            file=path,
            remedy="the file is damaged, truncated or was not closed; compare it with its source",
        ) from error


def trees_in(path: FilePath) -> dict[str, str]:
    """The trees of a file (see the module), each of container "HDF5".

    Raises
    ------
    FileFormatError
        if the file is truncated or damaged, or has no array at all.
    """
    with _open(path) as file:
        found = dict.fromkeys(_trees(file), "HDF5")
    if not found:
        raise FileFormatError("the file has no array of numbers", file=path, remedy="check what wrote it")
    return found


def scan(path: FilePath, tree: str | None = None) -> InputFile:
    """Branches, entries and digest of one tree of a file.

    Raises
    ------
    FileFormatError, ConfigError
        see `trees_in` and `fivesigma.read.root.choose_tree`.
    """
    status = status_of(path)
    name = choose_tree(path, trees_in(path), tree)
    with _open(path) as file:
        datasets = _trees(file)[name]
        entries = int(file[datasets[0]].shape[0])
        branches = {b.name: b for key in datasets for b in _branches(file[key], "" if len(datasets) == 1 else key)}
    return InputFile(
        path=path,
        tree=name,
        container="HDF5",
        entries=entries,
        size=status.size,
        xxh3=digest(path),
        branches=branches,
        version=status.version,
    )


def _trees(file: Any) -> dict[str, list[str]]:
    """Paths of the datasets of every tree, by its name."""
    lengths: dict[str, dict[int, list[str]]] = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 1 and not _is_index(path):
            lengths.setdefault(path.rpartition("/")[0], {}).setdefault(item.shape[0], []).append(path)

    file.visititems(visit)
    trees = {}
    for group, by_length in lengths.items():
        for datasets in by_length.values():
            one_dimensional = [path for path in datasets if file[path].ndim == 1]
            first = (one_dimensional or datasets)[0]
            whole = len(by_length) == 1 and len(datasets) > 1
            trees[(group or "/") if whole else first] = datasets
    return trees


def _is_index(path: str) -> bool:
    return any(part.startswith(_INDEX_PREFIX) for part in path.split("/"))


def _branches(dataset: Any, path: str) -> Iterator[Branch]:
    """The branches of a dataset; ``path`` is its place in the file, or empty if its fields stand for themselves."""
    label = path.rpartition("/")[2]
    codec = dataset.compression or "none"
    protection = "fletcher32" if dataset.fletcher32 else "nothing"
    if dataset.dtype.names is None:
        name = label or dataset.name.rpartition("/")[2]
        jagged = dataset.ndim == 2
        dtype = _number(dataset.dtype) if dataset.ndim <= 2 else None
        typename = f"{dataset.dtype}{list(dataset.shape[1:]) if dataset.ndim > 1 else ''}"
        yield Branch(name, dtype, jagged, typename, codec, dataset.name, protection)
        return
    padded = dataset.ndim == 2
    for field in dataset.dtype.names:
        if padded and field == VALID:
            continue
        kind = dataset.dtype[field]
        dtype = _number(kind) if dataset.ndim <= 2 else None
        name = f"{label}.{field}" if label else field
        yield Branch(name, dtype, padded, str(kind), codec, f"{dataset.name}\n{field}", protection)


def _number(kind: Any) -> str | None:
    if kind.shape or kind.kind not in _NUMBER_KINDS or h5py.check_vlen_dtype(kind) is not None:
        return None
    return str(kind.newbyteorder("=").name)


def read_range(file: InputFile, start: int, stop: int, names: Sequence[str]) -> dict[str, Column]:
    """Entries ``start`` to ``stop`` (excluded) of the named branches; HDF5 verifies fletcher32 where it is there.

    Raises
    ------
    MissingBranchError, BranchTypeError
        for a branch that is not there or cannot be read.
    FileFormatError
        if the file changed since the scan, or a chunk is damaged.
    """
    branches = [file.branch(name) for name in names]
    check_unchanged(file)
    columns: dict[str, Column] = {}
    with _open(file.path, f" entries {start:,} to {stop:,} of {file.tree}") as source:
        for path in dict.fromkeys(b.key.partition("\n")[0] for b in branches):
            wanted = {b.name: b.key.partition("\n")[2] for b in branches if b.key.partition("\n")[0] == path}
            columns |= _read_dataset(source[path], start, stop, wanted)
    for branch in branches:
        if len(columns[branch.name]) != stop - start:
            raise FileFormatError(
                f"expected {stop - start:,} entries, got {len(columns[branch.name]):,}",
                file=file.path,
                tree=file.tree,
                branch=branch.name,
            )
    return {name: columns[name] for name in names}


def _read_dataset(dataset: Any, start: int, stop: int, wanted: Mapping[str, str]) -> dict[str, Column]:
    """The wanted fields (by branch name; "" for a plain dataset) of a range, each dataset read once."""
    if dataset.dtype.names is None:
        values = _native(dataset[start:stop])
        return {name: values if values.ndim == 1 else _constant(values) for name in wanted}
    fields = list(dict.fromkeys(wanted.values()))
    with_valid = dataset.ndim == 2 and VALID in dataset.dtype.names
    rows = dataset.fields([*fields, *([VALID] if with_valid else [])])[start:stop]
    if dataset.ndim == 1:
        return {name: _native(rows[field]) for name, field in wanted.items()}
    if not with_valid:
        return {name: _constant(_native(rows[field])) for name, field in wanted.items()}
    valid = rows[VALID].astype(bool)
    offsets = np.concatenate([[0], np.cumsum(valid.sum(axis=1), dtype=np.int64)])
    return {name: Jagged(_native(rows[field][valid]), offsets) for name, field in wanted.items()}


def _constant(values: NDArray[Any]) -> Jagged:
    """A two-dimensional array as a column with the same number of values in every event."""
    events, length = values.shape
    return Jagged(values.reshape(-1), np.arange(events + 1, dtype=np.int64) * length)


def _native(values: Any) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
