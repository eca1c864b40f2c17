"""``Batch``: what a loader gives, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.padding import Padded, Ragged


@dataclass(frozen=True)
class Collection:
    """Jagged columns with one entry a constituent: padded to ``length``, or ragged if it is None."""

    columns: tuple[str, ...]
    length: int | None = None

    def __post_init__(self) -> None:
        if not self.columns or (self.length is not None and self.length < 1):
            raise ConfigError(f"a collection needs columns and a length of at least 1, got {self}")


@dataclass(frozen=True)
class Batch:
    """Some events of an epoch, in random order.

    ``number`` of the batch in its epoch, and how many events it has on all ranks together (``size``); the arrays hold
    those of this rank.
    """

    number: int
    size: int
    flat: NDArray[np.float32]  # (event, column)
    collections: Mapping[str, Padded | Ragged]
    columns: Mapping[str, Column]  # as stored
    y: NDArray[np.int8]  # (event,)
    weight: NDArray[np.float64]  # (event,), signed
    fold: NDArray[np.int8]  # (event,)
    row: NDArray[np.int64]  # (event,), in the dataset

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Truncation:
    """What padding has left out: events with more constituents than fit, and constituents beyond."""

    events: int = 0
    truncated: int = 0
    lost: int = 0

    def __add__(self, other: Truncation) -> Truncation:
        return Truncation(self.events + other.events, self.truncated + other.truncated, self.lost + other.lost)

    def __str__(self) -> str:
        return f"{self.truncated:,} of {self.events:,} events cut, {self.lost:,} constituents left out"


def joined(batches: Sequence[Batch]) -> Batch:
    """The parts of one batch, from one window after another."""
    first = batches[0]
    return Batch(
        first.number,
        sum(batch.size for batch in batches),
        np.concatenate([batch.flat for batch in batches]),
        {name: _joined_collection([batch.collections[name] for batch in batches]) for name in first.collections},
        {name: _joined_column([batch.columns[name] for batch in batches]) for name in first.columns},
        np.concatenate([batch.y for batch in batches]),
        np.concatenate([batch.weight for batch in batches]),
        np.concatenate([batch.fold for batch in batches]),
        np.concatenate([batch.row for batch in batches]),
    )


def _joined_collection(parts: Sequence[Padded | Ragged]) -> Padded | Ragged:
    values = np.concatenate([part.values for part in parts])
    padded = [part for part in parts if isinstance(part, Padded)]
    if padded:
        mask = np.concatenate([part.mask for part in padded])
        return Padded(values, mask, sum(part.truncated for part in padded), sum(part.lost for part in padded))
    counts = np.concatenate([np.diff(part.offsets) for part in parts if isinstance(part, Ragged)])
    return Ragged(values, np.concatenate([[0], np.cumsum(counts)]))


def _joined_column(parts: Sequence[Column]) -> Column:
    jagged = [part for part in parts if isinstance(part, Jagged)]
    return Jagged.concatenate(jagged) if jagged else np.concatenate([np.asarray(part) for part in parts])
