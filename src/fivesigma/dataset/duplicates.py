"""The same row, or the same event under another name, given twice: it must not be in training and test.

Rows are compared by 64-bit hashes of what makes them equal, some `KEYS_AT_A_TIME` of them in memory. Those of a larger
dataset are first sorted into files by their leading bits, in the folder for temporary files ($TMPDIR): 8 bytes a row, 16
while contents are compared. What has equal hashes is then compared itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import OutputError, SplitError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.dataset import Dataset
from fivesigma.dataset.samples import PSEUDO_COLUMNS
from fivesigma.dataset.split import event_hash

KEYS_AT_A_TIME = 1 << 21
"""Rows whose hashes are in memory: 8 bytes each for rows, 16 for contents, a few times that while they are sorted."""
_MAX_PARTS = 512  # files open at a time; beyond 10⁹ rows a part is larger than `KEYS_AT_A_TIME`
_ROWS_AT_A_TIME = 1 << 16  # rows whose contents are looked at together
_SUSPECTS = 1000  # equal hashes that are followed up: more than chance gives in any dataset that fits on Earth
_MIN_COLUMNS = 3  # floating-point columns that must agree bit by bit before two events are called the same
_MAX_CHANCE = 1e-3  # expected number of pairs that agree by chance; above it the columns are too coarse to tell
_CHANCE_ROWS = 1 << 20  # rows, evenly spread, from which that chance is estimated
_HALF = np.uint64(32)

Keys = NDArray[np.uint64]


def refuse_repeated_rows(dataset: Dataset, names: Sequence[str], *, hashed: bool = False) -> None:
    """Refuse two rows of equal identity; ``names`` are columns, ``sample`` and ``label``.

    ``hashed`` says that they are the identity of which the column ``event`` is the hash, so that it need not be taken
    again.

    Raises
    ------
    SplitError
        naming both files and entries, and the values; or a column that is not integer.
    """

    def identities() -> Iterator[list[NDArray[Any]]]:
        columns = [name for name in names if name not in PSEUDO_COLUMNS]
        for chunk in dataset.chunks([*columns, "y", "sample"]):
            yield identity_columns(names, chunk, np.asarray(chunk["y"]), np.asarray(chunk["sample"]))

    def hashes() -> Iterator[Keys]:
        return (np.asarray(c["event"]) for c in dataset.chunks(["event"])) if hashed else map(event_hash, identities())

    suspects = np.concatenate([keys[_repeats(keys)] for keys in _in_parts(hashes(), len(dataset))])
    if not suspects.size:
        return
    seen: dict[tuple[Any, ...], int] = {}
    wanted, first_row = np.unique(suspects)[:_SUSPECTS], 0
    for columns, keys in zip(identities(), hashes(), strict=True):
        for row in np.flatnonzero(np.isin(keys, wanted)):
            identity = tuple(column[row] for column in columns)
            if identity in seen:  # equal itself, not only in its hash
                values = ", ".join(f"{name}={value}" for name, value in zip(names, identity, strict=True))
                raise SplitError(
                    f"the same row occurs twice ({values}):\n{_origins(dataset, seen[identity], first_row + int(row))}\n"
                    "  remedy: leave out the copy, or add to `row` (and `identity`) what tells them apart, "
                    "such as `sample`"
                )
            seen[identity] = first_row + int(row)
        first_row += len(columns[0])


def refuse_repeated_content(dataset: Dataset) -> None:
    """Refuse two rows of different events whose floating-point columns are equal bit by bit.

    Needs three or more flat floating-point columns that vary, and enough different values in them that no two events
    would agree by chance; rows that hold fewer than three different values (all defaults) are left alone.

    Raises
    ------
    SplitError
        naming both files and entries, and how many such rows there are.
    """
    names = [name for name, column in dataset.schema.items() if not column.jagged and column.dtype.startswith("float")]
    chances = {name: _chance(dataset, name) for name in names}
    names = [name for name in names if chances[name] < 1]
    n = len(dataset)
    if len(names) < _MIN_COLUMNS or n * n / 2 * float(np.prod(list(chances.values()))) > _MAX_CHANCE:
        return

    def contents() -> Iterator[Keys]:
        for content, event, _ in _contents(dataset, names):
            yield np.stack([content, event])

    copies, first = 0, np.uint64(0)
    for keys in _in_parts(contents(), n):
        content, event = keys[:, np.lexsort(keys[::-1])]
        same = (content[1:] == content[:-1]) & (event[1:] != event[:-1])
        if same.any() and not copies:
            first = content[np.argmax(same)]
        copies += int(np.count_nonzero(same))
    if copies:
        raise SplitError(
            f"{copies:,} rows repeat the values of another event bit by bit, under another identity:\n"
            f"{_origins(dataset, *_rows_of(dataset, names, first))}\n"
            "  remedy: leave out the copy, or say `duplicates: allow` if such events are meant"
        )


def _in_parts(chunks: Iterator[Keys], rows: int) -> Iterator[Keys]:
    """All keys in disjoint parts of a bounded size; of several lines the first decides on the part.

    Raises
    ------
    OutputError
        if the folder for temporary files is full, or not there.
    """
    parts = min(-(-rows // KEYS_AT_A_TIME), _MAX_PARTS)
    if parts <= 1:
        yield np.concatenate(list(chunks), axis=-1)
        return
    with ExitStack() as stack:
        with _naming_the_folder(rows):
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(parts)]
        shape: tuple[int, ...] = ()
        for keys in chunks:
            shape = (-1, *keys.shape[:-1])
            table = keys.T  # a row is written whole
            part = (table.reshape(len(table), -1)[:, 0] >> _HALF) * np.uint64(parts) >> _HALF
            order = np.argsort(part, kind="stable")
            ends = np.searchsorted(part[order], np.arange(parts, dtype=np.uint64), side="right")
            with _naming_the_folder(rows):
                for file, some in zip(files, np.split(table[order], ends[:-1]), strict=True):
                    file.write(some.tobytes())
        for file in files:
            file.seek(0)
            yield np.frombuffer(bytearray(file.read()), dtype=np.uint64).reshape(shape).T


@contextmanager
def _naming_the_folder(rows: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the hashes of {rows:,} rows cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}; "
            "set TMPDIR to a folder that takes 16 bytes for each row"
        ) from error


def _repeats(keys: Keys) -> NDArray[np.bool_]:
    """After sorting the keys in place: which are equal to the one before."""
    keys.sort()
    return np.concatenate([np.zeros(min(1, len(keys)), np.bool_), keys[1:] == keys[:-1]])


def _contents(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[Keys, Keys, NDArray[np.int64]]]:
    """Hash of the contents, identity and row of each event with enough different values."""
    first_row = 0
    for chunk in dataset.chunks([*names, "event"]):
        columns = [_bits(chunk[name]) for name in names]
        event = np.asarray(chunk["event"])
        for start in range(0, len(event), _ROWS_AT_A_TIME):
            some = slice(start, start + _ROWS_AT_A_TIME)
            part = [bits[some] for bits in columns]
            rows = np.flatnonzero(_different_values(part) >= _MIN_COLUMNS)
            yield event_hash([bits[rows] for bits in part]), event[some][rows], rows + first_row + start
        first_row += len(event)


def _rows_of(dataset: Dataset, names: Sequence[str], wanted: np.uint64) -> tuple[int, int]:
    """The first two rows of a content that are of different events."""
    found: dict[int, int] = {}
    for content, event, rows in _contents(dataset, names):
        for i in np.flatnonzero(content == wanted):
            found.setdefault(int(event[i]), int(rows[i]))
    a, b = list(found.values())[:2]
    return a, b


def _bits(column: Column) -> NDArray[Any]:
    """The bits of a flat floating-point column as integers."""
    values = np.ascontiguousarray(column)
    return values.view(f"u{values.dtype.itemsize}")


def _chance(dataset: Dataset, name: str) -> float:
    """Probability that two events chosen at random agree in this column; at least that of one pair among those seen."""
    step, first = -(-len(dataset) // _CHANCE_ROWS), 0
    seen = []
    for chunk in dataset.chunks([name]):
        bits = _bits(np.asarray(chunk[name])[first::step])
        seen.append(bits)
        first += len(bits) * step - len(chunk[name])
    counts = np.unique(np.concatenate(seen), return_counts=True)[1].astype(np.float64)
    n = int(counts.sum())
    if n < 2:
        return 1.0
    return max(float((counts * (counts - 1)).sum()), 1.0) / (n * (n - 1))


def _different_values(columns: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Number of different values in each row, across its columns."""
    table = np.sort(np.stack([bits.astype(np.uint64) for bits in columns], axis=1), axis=1)
    different: NDArray[np.int64] = 1 + (np.diff(table, axis=1) != 0).sum(axis=1)
    return different


def _origins(dataset: Dataset, a: int, b: int) -> str:
    lines = []
    for row in sorted((a, b)):
        file, entry = dataset.origin(row)
        lines.append(f"  file:   {file}, entry {entry}")
    return "\n".join(lines)


def identity_columns(
    names: Sequence[str], columns: Mapping[str, Column], y: NDArray[Any], sample: NDArray[Any]
) -> list[NDArray[Any]]:
    """The columns of an identity by name, with the pseudo-columns ``sample`` (numbers) and ``label``.

    Raises
    ------
    SplitError
        for a jagged or floating-point column, by name.
    """
    found = []
    for name in names:
        column: Column = {"sample": sample, "label": y}[name] if name in PSEUDO_COLUMNS else columns[name]
        if isinstance(column, Jagged) or column.dtype.kind not in "biu":
            kind = f"jagged {column.dtype}" if isinstance(column, Jagged) else str(column.dtype)
            raise SplitError(
                f"identity column {name!r} is {kind}: an event's identity must be one integer per event and column"
            )
        found.append(column)
    return found
