"""The flatness loss of A. Rogozhnikov et al., "New approaches for boosting to uniformity" (arXiv:1410.4140), section 4.3.

Events of a class are put into groups by their place in the uniform variables. An event's position is the share of the
class's weight with a lower score; in each of its groups it has a local position, too. The loss is
Σ_g Σ_{i in g} w_i |local position − position|^power: nothing where every group has the score distribution of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fivesigma.core.errors import ConfigError

FloatArray = NDArray[np.float64]

_compiled: Final = njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class UniformClass:
    """The events of one class and the groups that they are in: event i is in ``group[begin[i]:begin[i + 1]]``."""

    events: NDArray[np.intp]  # (event of the class,): which of all events
    weight: FloatArray  # (event of the class,)
    begin: NDArray[np.int64]  # (event of the class + 1,)
    group: NDArray[np.int64]  # (membership,)
    share: FloatArray  # (membership,): the event's weight over that of the group
    n_groups: int

    @classmethod
    def of(cls, events: NDArray[np.intp], weight: FloatArray, groups: Sequence[NDArray[np.intp]]) -> UniformClass:
        """``weight`` of all events; ``groups`` count the events of the class from 0; groups without weight are left out."""
        own = weight[events]
        filled = [members for members in groups if own[members].sum() > 0]
        member = np.concatenate(filled)
        group = np.repeat(np.arange(len(filled)), [len(members) for members in filled])
        order = np.argsort(member, kind="stable")
        member, group = member[order], group[order]
        share = own[member] / np.bincount(group, own[member])[group]
        begin = np.concatenate([[0], np.cumsum(np.bincount(member, minlength=len(events)))])
        return cls(events, own, begin.astype(np.int64), group.astype(np.int64), share, len(filled))

    def pull(self, score: FloatArray, power: float) -> FloatArray:
        """Minus the derivative of the flatness loss by each event's score, shape (event of the class,).

        power · sign(d) · |d|^(power − 1) · weight, with d = local position − position, averaged over the event's
        groups: positive where the group scores lower than its class, so that an event stands higher in it. Equal scores
        share the middle of the positions that they take up together.
        """
        own = score[self.events]
        walk = (self.weight, self.weight.sum(), self.begin, self.group, self.share, self.n_groups, float(power))
        result: FloatArray = _pull(np.argsort(own), own, *walk)
        return result


def binned_class(
    variables: FloatArray, y: NDArray[np.integer], label: int, weight: FloatArray, bins: int
) -> UniformClass:
    """Groups are bins of equal width, and again bins shifted by half a width, so that no edge is an edge of both.

    ``variables`` has shape (event, variable); the bins span the range of the class.
    """
    events = np.flatnonzero(y == label)
    halves = [np.linspace(x.min(), x.max(), 2 * bins + 1) for x in variables[events].T]
    groups: list[NDArray[np.intp]] = []
    for shift in (0, 1):
        cell = np.zeros(len(events), dtype=np.int64)
        for x, edges in zip(variables[events].T, halves, strict=True):
            limits = edges[1 + shift : -1 : 2]
            cell = cell * (len(limits) + 1) + np.searchsorted(limits, x)
        order = np.argsort(cell, kind="stable")
        groups += np.split(order, np.flatnonzero(np.diff(cell[order])) + 1)
    return UniformClass.of(events, weight, groups)


def neighbouring_class(
    variables: FloatArray,
    y: NDArray[np.integer],
    label: int,
    weight: FloatArray,
    neighbours: int,
    most_groups: int,
    rng: np.random.Generator,
) -> UniformClass:
    """Groups are the nearest events around each event, or around ``most_groups`` of them drawn at random.

    Distances are in standard deviations of each variable.

    Raises
    ------
    ConfigError
        if the class has fewer events than ``neighbours``.
    """
    events = np.flatnonzero(y == label)
    if len(events) < neighbours:
        raise ConfigError(f"{neighbours} neighbours, but class {label} has {len(events)} events: ask for fewer")
    points = in_standard_deviations(variables)[events]
    centres = points if len(points) <= most_groups else points[rng.choice(len(points), most_groups, replace=False)]
    _, nearest = cKDTree(points).query(centres, k=neighbours)
    return UniformClass.of(events, weight, list(nearest.reshape(len(centres), neighbours)))


def in_standard_deviations(variables: FloatArray) -> FloatArray:
    """Each variable of shape (event, variable) divided by its standard deviation; a constant is left as it is."""
    spread = variables.std(axis=0)
    scaled: FloatArray = variables / np.where(spread > 0, spread, 1.0)
    return scaled


@_compiled
def _pull(
    order: NDArray[np.int64],
    score: FloatArray,
    weight: FloatArray,
    total: float,
    begin: NDArray[np.int64],
    group: NDArray[np.int64],
    share: FloatArray,
    n_groups: int,
    power: float,
) -> FloatArray:
    """One walk through the events in rising score; ``below`` is the share of each group that was passed so far."""
    n = len(score)
    below, tied = np.zeros(n_groups), np.zeros(n_groups)
    pull = np.zeros(n)
    class_below, first = 0.0, 0
    while first < n:
        last = first + 1  # one after the events of the same score
        while last < n and score[order[last]] == score[order[first]]:
            last += 1
        class_tied = 0.0
        for i in range(first, last):
            event = order[i]
            class_tied += weight[event]
            for m in range(begin[event], begin[event + 1]):
                tied[group[m]] += share[m]
        position = (class_below + 0.5 * class_tied) / total
        for i in range(first, last):
            event = order[i]
            summed = 0.0
            for m in range(begin[event], begin[event + 1]):
                d = below[group[m]] + 0.5 * tied[group[m]] - position
                if power == 2.0:
                    summed += 2.0 * d
                else:
                    summed += power * np.sign(d) * abs(d) ** (power - 1.0)
            if begin[event + 1] > begin[event]:
                pull[event] = summed * weight[event] / (begin[event + 1] - begin[event])
        for i in range(first, last):
            for m in range(begin[order[i]], begin[order[i] + 1]):
                below[group[m]] += tied[group[m]]
                tied[group[m]] = 0.0
        class_below += class_tied
        first = last
    return pull
