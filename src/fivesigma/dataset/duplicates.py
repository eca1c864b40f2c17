"""The same row, or the same event under another name, given twice: it must not be in training and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import SplitError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.dataset import Dataset
from fivesigma.dataset.samples import PSEUDO_COLUMNS
from fivesigma.dataset.split import event_hash

_MIN_COLUMNS = 3  # floating-point columns that must agree bit by bit before two events are called the same
_MAX_CHANCE = 1e-3  # expected number of pairs that agree by chance; above it the columns are too coarse to tell


def refuse_repeated_rows(dataset: Dataset, row: Sequence[NDArray[Any]], names: Sequence[str]) -> None:
    """Refuse two rows of equal identity; ``row`` has its columns, each of shape (events,).

    Raises
    ------
    SplitError
        naming both files and entries, and the values.
    """
    pair = _first_pair(event_hash(row))
    if pair is None:
        return
    a, b = pair
    if all(column[a] == column[b] for column in row):  # not a collision of hashes
        values = ", ".join(f"{name}={column[a]}" for name, column in zip(names, row, strict=True))
        raise SplitError(
            f"the same row occurs twice ({values}):\n{_origins(dataset, a, b)}\n"
            "  remedy: leave out the copy, or add to `row` (and `identity`) what tells them apart, such as `sample`"
        )


def refuse_repeated_content(dataset: Dataset) -> None:
    """Refuse two rows of different events whose floating-point columns are equal bit by bit.

    Needs three or more flat floating-point columns that vary, and enough different values in them that no two events
    would agree by chance; rows that hold fewer than three different values (all defaults) are left alone.

    Raises
    ------
    SplitError
        naming both files and entries, and how many such rows there are.
    """
    columns = [bits for name in dataset.schema if (bits := _float_bits(dataset.columns[name])) is not None]
    n = len(dataset)
    chances = [_chance(bits) for bits in columns]
    columns = [bits for bits, chance in zip(columns, chances, strict=True) if chance < 1]
    expected = n * n / 2 * float(np.prod(chances))
    if len(columns) < _MIN_COLUMNS or expected > _MAX_CHANCE:
        return
    rows = np.flatnonzero(_different_values(columns) >= _MIN_COLUMNS)
    content, event = event_hash([bits[rows] for bits in columns]), dataset.event[rows]
    order = np.argsort(content, kind="stable")
    same = (content[order][1:] == content[order][:-1]) & (event[order][1:] != event[order][:-1])
    if same.any():
        first = int(np.argmax(same))
        a, b = int(rows[order[first]]), int(rows[order[first + 1]])
        raise SplitError(
            f"{int(same.sum()):,} rows repeat the values of another event bit by bit, under another identity:\n"
            f"{_origins(dataset, a, b)}\n"
            "  remedy: leave out the copy, or say `duplicates: allow` if such events are meant"
        )


def _first_pair(hashes: NDArray[np.uint64]) -> tuple[int, int] | None:
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    return (int(order[same[0]]), int(order[same[0] + 1])) if same.size else None


def _float_bits(column: Column) -> NDArray[Any] | None:
    """The bits of a flat floating-point column as integers."""
    if isinstance(column, Jagged) or column.dtype.kind != "f":
        return None
    return column.view(f"u{column.dtype.itemsize}")


def _chance(bits: NDArray[Any]) -> float:
    """Probability that two events chosen at random agree in this column; at least that of one pair among all."""
    n = len(bits)
    if n < 2:
        return 1.0
    counts = np.unique(bits, return_counts=True)[1].astype(np.float64)
    pairs = float((counts * (counts - 1)).sum())
    return max(pairs, 1.0) / (n * (n - 1))


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
