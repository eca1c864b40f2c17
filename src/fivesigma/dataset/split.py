"""Folds by a hash of the event's identity: the same event is in the same fold, everywhere and always.

The hash of integer columns c₁ … cₙ, all in uint64 arithmetic (modulo 2⁶⁴)::

    h = 0
    for c in columns:            # signed integers as two's complement of 64 bits
        h = mix(h + GOLDEN + mix(c + GOLDEN))
    fold = (mix(h ^ xxh64(salt)) >> 32) * n_folds >> 32

with ``mix`` the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195) and GOLDEN its
increment. It depends on nothing but the numbers: not on their order in the file, their integer type, or the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import SplitError

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_HALF = np.uint64(32)

Mask = NDArray[np.bool_]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> _SHIFTS[0])) * _MULTIPLIERS[0]
    x = (x ^ (x >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return x ^ (x >> _SHIFTS[2])


def event_hash(identity: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """A 64-bit number for each event from its integer identity columns, each of shape (events,).

    >>> event_hash([np.array([1, 1, 2]), np.array([7, 8, 7])]).tolist()
    [10987416351514869319, 1499950728137185477, 3656525801734208729]

    Raises
    ------
    SplitError
        if there is no column, or one is not integer or boolean: floating-point numbers differ in their last bit.
    """
    if not identity:
        raise SplitError("an event's identity needs at least one column, such as run and event number")
    result = np.zeros(len(identity[0]), dtype=np.uint64)
    for position, column in enumerate(identity):
        if column.dtype.kind not in "biu":
            raise SplitError(
                f"identity column {position} is {column.dtype}: an event's identity must be integers "
                "(floating-point numbers may differ in their last bit between files)"
            )
        if len(column) != len(result):
            raise SplitError(f"identity column {position} has {len(column)} events, expected {len(result)}")
        numbers = column.astype(np.int64 if column.dtype.kind != "u" else np.uint64).view(np.uint64)
        result = _mix(result + GOLDEN + _mix(numbers + GOLDEN))
    return result


def fold_of_hash(event: NDArray[np.uint64], n_folds: int, salt: str = "") -> NDArray[np.int8]:
    """Folds 0 … n_folds − 1 of events by their `event_hash`; another salt gives an independent division."""
    if not 2 <= n_folds <= 100:
        raise SplitError(f"expected 2 to 100 folds, got {n_folds}")
    mixed = _mix(event ^ np.uint64(xxhash.xxh64_intdigest(salt.encode())))
    return (((mixed >> _HALF) * np.uint64(n_folds)) >> _HALF).astype(np.int8)


def fold_of(identity: Sequence[NDArray[Any]], n_folds: int, salt: str = "") -> NDArray[np.int8]:
    """Folds of events by their identity columns, shape (events,).

    >>> fold_of([np.arange(8)], n_folds=4).tolist()
    [0, 3, 3, 0, 0, 1, 1, 3]

    Raises
    ------
    SplitError
        see `event_hash`.
    """
    return fold_of_hash(event_hash(identity), n_folds, salt)


@dataclass(frozen=True)
class FoldAssignment:
    """One turn of k-fold training: which folds train, which one validates, which one is tested."""

    test: int
    validation: int
    train: tuple[int, ...]


def folds(n_folds: int) -> Iterator[FoldAssignment]:
    """Every fold is tested once; the next one validates, the rest trains.

    >>> list(folds(3))[2]
    FoldAssignment(test=2, validation=0, train=(1,))

    Raises
    ------
    SplitError
        for fewer than three folds: nothing would be left to train on.
    """
    if n_folds < 3:
        raise SplitError(f"k-fold training needs at least 3 folds (train, validation, test), got {n_folds}")
    for test in range(n_folds):
        validation = (test + 1) % n_folds
        yield FoldAssignment(test, validation, tuple(k for k in range(n_folds) if k not in (test, validation)))


def train_validation_test(fold: NDArray[np.int8], k: int, n_folds: int) -> tuple[Mask, Mask, Mask]:
    """Masks of shape (events,) for turn ``k``: training, validation and test events; each event is in exactly one.

    Raises
    ------
    SplitError
        if there are events of a fold outside 0 … n_folds − 1, or fewer than three folds.
    """
    if fold.size and (fold.min() < 0 or fold.max() >= n_folds):
        raise SplitError(f"folds from {fold.min()} to {fold.max()}, expected 0 to {n_folds - 1}")
    turn = list(folds(n_folds))[k]
    test, validation = fold == turn.test, fold == turn.validation
    return ~(test | validation), validation, test
