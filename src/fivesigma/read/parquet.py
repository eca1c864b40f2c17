"""Parquet files, as written by awkward, coffea, pandas or by us: columns and lists of numbers.

Readers elsewhere do not verify page checksums by default; here they are verified whenever the file has them.
Layout: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fivesigma.core.errors import BranchTypeError, FileFormatError, FivesigmaError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.read.remote import FilePath, RemotePath, digest, open_binary, status_of
from fivesigma.read.root import check_unchanged
from fivesigma.read.schema import Branch, InputFile

TABLE = "table"
"""What the one table of a Parquet file is called where ROOT has a tree's name."""
COUNT = ".count"
"""Suffix of the branch with the lengths of the inner lists of a list of lists."""
_SEPARATOR = "\n"  # between names in a branch's key; a dot may stand in a name
_PAGE_HEADER_BYTES = 64  # the fields before the checksum are three small integers
_I32, _FIELD_4 = 5, 4  # Thrift's compact type of `crc`, and its number in PageHeader


@contextmanager
def _failures_named(path: FilePath, branch: str | None = None, what: str = "") -> Iterator[None]:
    try:
        yield
    except FivesigmaError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        raise FileFormatError(
            f"cannot read{what}: {reason}",
            file=path,
            tree=TABLE,
            branch=branch,
            remedy="the file is damaged or truncated; compare it with its source",
        ) from error


@contextmanager
def _open(path: FilePath, **options: Any) -> Iterator[Any]:
    source = path.open() if isinstance(path, RemotePath) else nullcontext(path)
    with source as file, pq.ParquetFile(file, **options) as parquet:
        yield parquet


def trees_in(path: FilePath) -> dict[str, str]:
    """The one table of the file: ``{"table": "Parquet"}``."""
    with _failures_named(path), _open(path):
        return {TABLE: "Parquet"}


def scan(path: FilePath, tree: str | None = None) -> InputFile:
    """Columns, number of rows and digest of a file; ``tree`` may be left out.

    Raises
    ------
    FileFormatError
        if the file is truncated, its footer is damaged, or ``tree`` is not "table".
    """
    status = status_of(path)
    if tree not in (None, TABLE):
        raise FileFormatError(unknown_name("tree", str(tree), [TABLE]), file=path)
    with _failures_named(path, what=" the footer"), _open(path) as file:
        branches = _branches(path, file)
        entries = file.metadata.num_rows
    return InputFile(
        path=path,
        tree=TABLE,
        container="Parquet",
        entries=entries,
        size=status.size,
        xxh3=digest(path),
        branches=branches,
        version=status.version,
    )


def _branches(path: FilePath, file: Any) -> dict[str, Branch]:
    chunks = _first_chunks(file)
    branches = {}
    for field in file.schema_arrow:
        for path_in_file, kind, depth in _leaves((field.name,), field.type, 0):
            name, key = ".".join(path_in_file), _SEPARATOR.join(path_in_file)
            chunk = chunks.get(field.name)
            codec = "" if chunk is None else {"UNCOMPRESSED": "none"}.get(chunk.compression, chunk.compression)
            protection = "page CRC" if chunk is not None and _has_page_checksum(path, chunk) else "nothing"
            dtype = _dtype(kind) if depth <= 2 else None
            typename = f"{'list<' * depth}{kind}{'>' * depth}"
            branches[name] = Branch(name, dtype, depth > 0, typename, codec, key, protection)
            if depth == 2 and dtype is not None:
                count = f"{name}{COUNT}"
                branches[count] = Branch(count, "int64", True, f"lengths of {typename}", codec, key, protection)
    return branches


def _first_chunks(file: Any) -> dict[str, Any]:
    """The first column chunk of each top-level column, by its place: paths may have dots; empty without row groups."""
    if file.metadata.num_row_groups == 0:
        return {}
    group = file.metadata.row_group(0)
    chunks, place = {}, 0
    for field in file.schema_arrow:
        chunks[field.name] = group.column(place)
        place += sum(1 for _ in _leaves((), field.type, 0))
    return chunks


def _leaves(path: tuple[str, ...], kind: Any, depth: int) -> Iterator[tuple[tuple[str, ...], Any, int]]:
    """Numbers under a column: the names on the way to them, type of one value, number of lists around it."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(path, kind.value_type, depth + 1)
    elif pa.types.is_struct(kind):
        for member in kind:
            yield from _leaves((*path, member.name), member.type, depth)
    else:
        yield path, kind, depth


def _dtype(kind: Any) -> str | None:
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).name)
    return None


def _has_page_checksum(path: FilePath, chunk: Any) -> bool:
    """Whether the first page of a chunk has a CRC: field 4 of its Thrift-encoded header."""
    first = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    with open_binary(path) as file:
        file.seek(first)
        return _field_4_is_integer(file.read(_PAGE_HEADER_BYTES))


def _field_4_is_integer(header: bytes) -> bool:
    """Whether a Thrift compact struct of integers has an integer field 4, which is what PageHeader calls ``crc``.

    >>> _field_4_is_integer(bytes([0x15, 0, 0x15, 8, 0x15, 8, 0x15, 2])), _field_4_is_integer(bytes([0x15, 0, 0x2C]))
    (True, False)
    """
    number, i = 0, 0
    while i < len(header) and header[i] & 0x0F == _I32 and header[i] >> 4:
        number += header[i] >> 4
        if number >= _FIELD_4:
            return number == _FIELD_4
        i += 1
        while i < len(header) and header[i] & 0x80:
            i += 1
        i += 1
    return False


def read_range(file: InputFile, start: int, stop: int, names: Sequence[str]) -> dict[str, Column]:
    """Entries ``start`` to ``stop`` (excluded) of the named columns; page checksums are verified where there are any.

    Missing values (nulls) of floating-point columns are read as NaN, which the ledger counts.

    Raises
    ------
    MissingBranchError, BranchTypeError
        for a column that is not there, cannot be read, or has nulls in place of integers or lists.
    FileFormatError
        if the file changed since the scan, or a page is damaged.
    """
    branches = [file.branch(name) for name in names]
    check_unchanged(file)
    columns: dict[str, Column] = {}
    with _failures_named(file.path, what=f" entries {start:,} to {stop:,}"):
        top_level = tuple(dict.fromkeys(b.key.split(_SEPARATOR)[0] for b in branches))
        table = _rows(file.path, file.xxh3, start, stop, top_level)
    for branch in branches:
        with _failures_named(file.path, branch.name, f" entries {start:,} to {stop:,}"):
            columns[branch.name] = _column(file, branch, table)
        if len(columns[branch.name]) != stop - start:
            raise FileFormatError(
                f"expected {stop - start:,} entries, got {len(columns[branch.name]):,}",
                file=file.path,
                tree=file.tree,
                branch=branch.name,
            )
    return columns


def _rows(path: FilePath, xxh3: str, start: int, stop: int, names: tuple[str, ...]) -> Any:
    """Rows ``start`` to ``stop`` of some columns, from the row groups that hold them."""
    with _open(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        nothing = file.schema_arrow.empty_table().select(list(names))
    first = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    groups = [i for i in range(len(sizes)) if first[i] < stop and first[i + 1] > start]
    parts = []
    for i in groups:
        begin, end = max(start - int(first[i]), 0), min(stop, int(first[i + 1])) - int(first[i])
        parts.append(_row_group(path, xxh3, i, names).slice(begin, end - begin))
    return pa.concat_tables([nothing, *parts])


@lru_cache(maxsize=1)
def _row_group(path: FilePath, xxh3: str, group: int, names: tuple[str, ...]) -> Any:
    """One row group, kept for the next entry range: row groups are often larger than a range."""
    del xxh3  # part of the key: a file that is written anew is another file
    with _open(path, page_checksum_verification=True) as file:
        return file.read_row_group(group, columns=list(names), use_threads=False)


def _column(file: InputFile, branch: Branch, table: Any) -> Column:
    counted = branch.name == branch.key.replace(_SEPARATOR, ".") + COUNT
    name, *members = branch.key.split(_SEPARATOR)
    array = table.column(name).combine_chunks()
    offsets: list[NDArray[np.int64]] = []
    while True:
        if pa.types.is_struct(array.type):
            array = array.field(members.pop(0))
        elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            _refuse_nulls(file, branch, array)
            bounds = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
            offsets.append(bounds - bounds[0])
            array = array.values.slice(int(bounds[0]), int(bounds[-1] - bounds[0]))
        elif pa.types.is_fixed_size_list(array.type):
            _refuse_nulls(file, branch, array)
            offsets.append(np.arange(len(array) + 1, dtype=np.int64) * array.type.list_size)
            array = array.flatten()
        else:
            break
    if not offsets:
        return _numbers(file, branch, array)
    if len(offsets) == 1:
        return Jagged(_numbers(file, branch, array), offsets[0])
    outer, inner = offsets
    if counted:
        return Jagged(np.diff(inner), outer)
    return Jagged(_numbers(file, branch, array), inner[outer])


def _numbers(file: InputFile, branch: Branch, array: Any) -> NDArray[Any]:
    if array.null_count:
        if not pa.types.is_floating(array.type):
            _refuse_nulls(file, branch, array)
        array = array.fill_null(float("nan"))
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values)


def _refuse_nulls(file: InputFile, branch: Branch, array: Any) -> None:
    if array.null_count:
        raise BranchTypeError(
            f"{array.null_count:,} values are missing (null), and {array.type} has no NaN to put in their place",
            file=file.path,
            tree=file.tree,
            branch=branch.name,
            remedy="fill them when the file is written, or leave the column out",
        )
