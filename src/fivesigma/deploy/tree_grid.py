"""``TreeGrid``: trees on all addresses of integers, a row of the last field at a time.

With all other fields fixed, a tree is a step function of the last one: it is walked once a row and its leaves are added to
ranges of cells, instead of once a cell. Each cell's sum is still taken tree by tree in their order, so that it has the very
bits of the library's.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from fivesigma.deploy.integer_table import AddressSpace
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, Tree, TreeEnsemble, ensemble_on_inputs


class TreeGrid:
    """Answers of an ensemble at ranges of addresses.

    ``order`` gives the model's input of each field. Steps of fields must be positive: `tree_grid` says when this is so.
    """

    def __init__(self, ensemble: TreeEnsemble, space: AddressSpace, order: list[int]) -> None:
        self._ensemble, self._width = ensemble, space.widths[-1]
        self._widths = np.array(space.widths, dtype=np.int64)
        places = [_places(space, number) for number in range(len(space.fields))]
        self._first = np.cumsum([0, *map(len, places)])[:-1].astype(np.int64)
        self._places = np.concatenate(places)
        self._count = space.fields[-1].count
        field_of = {column: number for number, column in enumerate(order)}
        trees = ensemble.trees
        starts = np.cumsum([[0, 0], *([len(tree.feature), len(tree.value)] for tree in trees)], axis=0)
        self._starts = starts.astype(np.int64)
        self._field = np.concatenate([np.array([field_of[int(f)] for f in t.feature], np.int64) for t in trees])
        self._cut = np.concatenate([_integer_cuts(tree, space, field_of) for tree in trees])
        self._left, self._right = (
            np.concatenate([getattr(t, side) for t in trees]).astype(np.int64) for side in ("left", "right")
        )
        self._value = np.concatenate([tree.value for tree in trees])
        self._deepest = ensemble.leaves + 2

    def __call__(self, begin: int, end: int) -> Float64:
        """What the model answers at the addresses ``begin`` … ``end − 1``."""
        first, last = begin // self._width, -(-end // self._width)
        rows = np.empty((last - first, self._width))
        _fill(
            first, self._widths, self._first, self._places, self._count, self._starts, self._field, self._cut,
            self._left, self._right, self._value, self._deepest, rows,
        )  # fmt: skip
        score = rows.ravel()[begin - first * self._width : end - first * self._width]
        if self._ensemble.divisor != 1.0:
            score = score / self._ensemble.divisor
        return self._ensemble.probability(score)


def tree_grid(model: TrainedModel, space: AddressSpace, order: list[int]) -> TreeGrid | None:
    """For learners of trees whose cuts are in the order of the integers; None for all others."""
    if getattr(model.estimator, "estimator_name", "") not in TREE_LEARNERS:
        return None
    if any(field.step <= 0 for field in space.fields):
        return None
    return TreeGrid(ensemble_on_inputs(model), space, order)


def _places(space: AddressSpace, number: int) -> NDArray[np.int64]:
    """Of each digit of a field, how many of its values are below the one that it stands for."""
    field, width = space.fields[number], space.widths[number]
    one = AddressSpace((field,), space.packing)
    return one.integers(np.arange(width, dtype=np.int64))[:, 0] - field.limits[0]


def _integer_cuts(tree: Tree, space: AddressSpace, field_of: dict[int, int]) -> NDArray[np.int64]:
    """For each node, how many of its field's values go left."""
    cuts = np.zeros(len(tree.feature), dtype=np.int64)
    for column in np.unique(tree.feature):
        field = space.fields[field_of[int(column)]]
        low, high = field.limits
        values = field.offset + field.step * np.arange(low, high + 1)
        mine = tree.feature == column
        cuts[mine] = np.searchsorted(values, tree.threshold[mine], side="right")
    return cuts


@numba.njit(nogil=True, cache=True)
def _fill(
    first_row: int,
    widths: NDArray[np.int64],
    first: NDArray[np.int64],
    places: NDArray[np.int64],
    count: int,
    starts: NDArray[np.int64],
    field: NDArray[np.int64],
    cut: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    value: NDArray[np.float64],
    deepest: int,
    rows: NDArray[np.float64],
) -> None:
    last = len(widths) - 1
    at = np.zeros(len(widths), dtype=np.int64)
    line = np.empty(count)
    stack = np.empty((deepest, 3), dtype=np.int64)
    for row in range(len(rows)):
        address = first_row + row
        for f in range(last - 1, -1, -1):
            at[f] = places[first[f] + address % widths[f]]
            address //= widths[f]
        line[:] = 0.0
        for tree in range(len(starts) - 1):
            node_0, leaf_0 = starts[tree, 0], starts[tree, 1]
            stack[0, 0] = 0 if starts[tree + 1, 0] > node_0 else -1
            stack[0, 1] = 0
            stack[0, 2] = count
            size = 1
            while size > 0:
                size -= 1
                node, low, high = stack[size, 0], stack[size, 1], stack[size, 2]
                while node >= 0:
                    n = node_0 + node
                    f = field[n]
                    if f != last:
                        node = left[n] if at[f] < cut[n] else right[n]
                    elif cut[n] >= high:
                        node = left[n]
                    elif cut[n] <= low:
                        node = right[n]
                    else:
                        stack[size, 0] = right[n]
                        stack[size, 1] = cut[n]
                        stack[size, 2] = high
                        size += 1
                        high = cut[n]
                        node = left[n]
                leaf = value[leaf_0 - node - 1]
                for cell in range(low, high):
                    line[cell] += leaf
        for digit in range(widths[last]):
            rows[row, digit] = line[places[first[last] + digit]]


def integers_in_order(space: AddressSpace, order: list[int], begin: int, end: int) -> NDArray[np.int32]:
    """Integers of the addresses ``begin`` … ``end − 1``, (address, model's input): `AddressSpace.integers`, but fast."""
    tables = [_places(space, n) + space.fields[n].limits[0] for n in range(len(space.fields))]
    first = np.cumsum([0, *map(len, tables)])[:-1].astype(np.int64)
    found = np.empty((end - begin, len(order)), dtype=np.int32)
    widths = np.array(space.widths, dtype=np.int64)
    _count(begin, widths, first, np.concatenate(tables).astype(np.int32), np.array(order, dtype=np.int64), found)
    return found


@numba.njit(nogil=True, cache=True)
def _count(
    begin: int,
    widths: NDArray[np.int64],
    first: NDArray[np.int64],
    integers: NDArray[np.int32],
    order: NDArray[np.int64],
    found: NDArray[Any],
) -> None:
    digit = np.zeros(len(widths), dtype=np.int64)
    address = begin
    for f in range(len(widths) - 1, -1, -1):
        digit[f] = address % widths[f]
        address //= widths[f]
    for row in range(len(found)):
        for f in range(len(widths)):
            found[row, order[f]] = integers[first[f] + digit[f]]
        f = len(widths) - 1
        digit[f] += 1
        while f > 0 and digit[f] == widths[f]:
            digit[f] = 0
            f -= 1
            digit[f] += 1
