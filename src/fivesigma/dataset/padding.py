"""Collections of a batch: padded to one length with a mask, or ragged; gathered by compiled loops without the GIL.

Values stand in one array of shape (values, feature), an event's one after another, so that gathering an event copies one
run of bytes. `padded_by_hand` says the same in the plainest words, and tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_compiled: Final = njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class Padded:
    """A collection cut or filled up with zeros to one length.

    ``values`` float32 of shape (event, length, feature), ``mask`` bool of shape (event, length): True where there is a
    constituent. Of an event with more than ``length`` the first are kept, in stored order (usually falling pt):
    ``truncated`` counts such events, ``lost`` the constituents left out.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    truncated: int
    lost: int


@dataclass(frozen=True)
class Ragged:
    """A collection as it is: ``values`` of shape (values, feature), ``offsets`` int64 of shape (events + 1,)."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Where events stand in ``values`` of shape (values, feature): ``starts`` and ``counts`` int64 of shape (events,)."""

    values: NDArray[Any]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


def padded(runs: Runs, events: NDArray[np.int64], length: int) -> Padded:
    """The chosen events of ``runs`` (float32), padded."""
    features = runs.values.shape[1]
    values = np.empty((len(events), length, features), dtype=np.float32)
    mask = np.empty((len(events), length), dtype=np.bool_)
    truncated, lost = _pad(
        runs.values.reshape(-1), runs.starts, runs.counts, events, features, values.reshape(len(events), -1), mask
    )
    return Padded(values, mask, int(truncated), int(lost))


def ragged(runs: Runs, events: NDArray[np.int64]) -> Ragged:
    """The chosen events of ``runs``, one after another, of the type that the values have."""
    features = runs.values.shape[1]
    offsets = np.zeros(len(events) + 1, dtype=np.int64)
    np.cumsum(runs.counts[events], out=offsets[1:])
    values = np.empty((int(offsets[-1]), features), dtype=runs.values.dtype)
    _take(runs.values.reshape(-1), runs.starts, events, offsets, features, values.reshape(-1))
    return Ragged(values, offsets)


def padded_by_hand(runs: Runs, events: NDArray[np.int64], length: int) -> Padded:
    """What `padded` does, event by event."""
    values = np.zeros((len(events), length, runs.values.shape[1]), dtype=np.float32)
    mask = np.zeros((len(events), length), dtype=np.bool_)
    counts = runs.counts[events]
    for i, event in enumerate(events):
        kept = min(int(counts[i]), length)
        values[i, :kept] = runs.values[runs.starts[event] : runs.starts[event] + kept]
        mask[i, :kept] = True
    beyond = np.maximum(counts - length, 0)
    return Padded(values, mask, int((beyond > 0).sum()), int(beyond.sum()))


# Indices are unsigned: signed ones are checked for Python's counting from the end, and the copies are not vectorised.
@_compiled
def _pad(
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    events: NDArray[np.int64],
    features: int,
    out: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> tuple[int, int]:
    length = np.int64(mask.shape[1])
    truncated = lost = 0
    for i in range(len(events)):
        count = counts[events[i]]
        if count > length:
            truncated += 1
            lost += count - length
            count = length
        begin, used, whole = (
            np.uint64(starts[events[i]] * features),
            np.uint64(count * features),
            np.uint64(out.shape[1]),
        )
        row, marks = out[i], mask[i]
        for j in range(used):
            row[j] = values[begin + j]
        for j in range(used, whole):
            row[j] = np.float32(0.0)
        for j in range(np.uint64(count)):
            marks[j] = True
        for j in range(np.uint64(count), np.uint64(length)):
            marks[j] = False
    return truncated, lost


@_compiled
def _take(
    values: NDArray[Any],
    starts: NDArray[np.int64],
    events: NDArray[np.int64],
    offsets: NDArray[np.int64],
    features: int,
    out: NDArray[Any],
) -> None:
    for i in range(len(events)):
        begin, place = np.uint64(starts[events[i]] * features), np.uint64(offsets[i] * features)
        for j in range(np.uint64((offsets[i + 1] - offsets[i]) * features)):
            out[place + j] = values[begin + j]
