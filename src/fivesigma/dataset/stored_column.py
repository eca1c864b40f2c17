"""``StoredColumn``: a column that stays in its shards; rows are read when they are asked for, and not kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.shards import Shard, read_column


@dataclass(frozen=True)
class StoredColumn:
    """One column of a dataset, for data larger than memory: ``column[start:stop]``, ``column[mask]``."""

    folder: Path
    shards: Sequence[Shard]
    name: str

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def __getitem__(self, rows: slice | NDArray[np.bool_]) -> Column:
        """Rows by a slice without step, or by a mask of shape (events,)."""
        parts, first = [], 0
        for shard in self.shards:
            if (wanted := _of_shard(rows, first, shard.rows, len(self))) is not None:
                parts.append(_copied(read_column(self.folder, shard, self.name), wanted))
            first += shard.rows
        if not parts:
            parts = [_copied(read_column(self.folder, self.shards[0], self.name), slice(0, 0))]
        jagged = [part for part in parts if isinstance(part, Jagged)]
        return Jagged.concatenate(jagged) if jagged else np.concatenate([p for p in parts if not isinstance(p, Jagged)])


def _of_shard(rows: slice | NDArray[np.bool_], first: int, n: int, total: int) -> slice | NDArray[np.bool_] | None:
    """Which of a shard's rows are among those asked for; None if none is."""
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(total)
        begin, end = max(start - first, 0), min(stop - first, n)
        return slice(begin, end) if begin < end else None
    part = rows[first : first + n]
    return part if part.any() else None


def _copied(column: Column, rows: slice | NDArray[np.bool_]) -> Column:
    if not isinstance(column, Jagged):
        return np.array(column[rows])
    if isinstance(rows, slice):
        bounds = np.array(column.offsets[rows.start : rows.stop + 1])
        return Jagged(np.array(column.values[bounds[0] : bounds[-1]]), bounds - bounds[0])
    chosen = column[rows]
    return Jagged(np.array(chosen.values), np.array(chosen.offsets))
