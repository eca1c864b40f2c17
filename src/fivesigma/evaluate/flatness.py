"""Is the efficiency the same everywhere? SDE, Theil index and Cramér–von Mises measure of arXiv:1410.4140.

A. Rogozhnikov et al., "New approaches for boosting to uniformity", section 3. All are zero for a flat efficiency; each is
defined in bins of the variables, or among the k nearest neighbours of every event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError, WeightError
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas, event_uniform
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.scored_events import FloatVector, event_vector, finite_vector, weight_vector

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Efficiencies over which SDE and Theil index are averaged."""

FLATNESS = ("sde", "theil", "cvm")
"""Names of the three, in results files ``flatness_sde_<variables>`` and so on."""

N_PERMUTATIONS = 50
"""Random permutations of the scores that give ``if_flat``; the smallest p-value is then 1/51."""

_TINY = 1e-20  # x ln x at x = 0


@dataclass(frozen=True)
class Flatness:
    """Three measures of one class, and what a perfectly flat classifier shows in a sample of this size."""

    variables: tuple[str, ...]
    where: str  # "10 bins a variable" or "50 nearest neighbours"
    sde: Measurement
    theil: Measurement
    cvm: Measurement
    if_flat: Mapping[str, float]  # name → mean over permutations of the scores
    p_value: Mapping[str, float]  # name → share of permutations that are at least as uneven

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "variables": list(self.variables),
            "where": self.where,
            **{name: getattr(self, name).to_json() for name in FLATNESS},
            "if_flat": dict(zip(self.if_flat, json_list(self.if_flat.values()), strict=True)),
            "p_value": dict(zip(self.p_value, json_list(self.p_value.values()), strict=True)),
        }


class Groups(Protocol):
    """Rows that are near each other in the variables: bins, or neighbourhoods that overlap."""

    @property
    def description(self) -> str:
        """In words."""
        ...

    def measures(self, rank: NDArray[np.intp], weight: FloatVector, targets: FloatVector) -> FloatVector:
        """SDE, Theil, CvM of rows that stand at ``rank`` in rising score (ties equal), shape (3,)."""


def flatness(
    score: ArrayLike,
    variables: Mapping[str, ArrayLike],
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    bins: int = 10,
    neighbours: int | None = None,
    efficiencies: Sequence[float] = TARGETS,
    n_permutations: int = N_PERMUTATIONS,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Flatness:
    """Unevenness of the efficiency of one class in some variables.

    With ε_g the efficiency in group g at a cut of global efficiency ε, and w_g its share of the weights:
    SDE = √⟨Σ_g w_g (ε_g − ε̄)²⟩, Theil = ⟨Σ_g w_g (ε_g/ε̄) ln(ε_g/ε̄)⟩, averaged over ``efficiencies``; and
    CvM = Σ_g w_g ∫ (F_g − F)² dF over the score's distribution F, which needs no cut.

    Parameters
    ----------
    score : (row,) of one class.
    variables : name → values (row,).
    bins : of equal width in each variable, empty ones left out; used without ``neighbours``.
    neighbours : rows in each neighbourhood, the row itself included, in the variables as they are: scale them first if
        their units differ. A row counts in several neighbourhoods, its weight divided by how many.

    Notes
    -----
    With signed weights SDE and CvM stay defined as long as every group's weights sum to a positive number; the Theil
    index is not where an efficiency is negative (NaN, and ``how`` says so). Permuting the scores among rows is a flat
    classifier of the same distribution; with unequal weights this takes them as independent of the score.
    Bootstrap replicas keep groups and neighbourhoods, and sit above the value by about ``if_flat``.

    Raises
    ------
    WeightError
        a bin whose weights do not sum to a positive number.
    """
    x = finite_vector("score", score)
    w = np.ones(len(x)) if weight is None else weight_vector(weight, len(x))
    events = np.arange(len(x), dtype=np.uint64) if event is None else event_vector(event, len(x))
    if not len(x):
        raise NoEventsError("no rows to measure the flatness of", remedy="check labels and selection")
    targets = np.asarray(efficiencies, dtype=np.float64)
    if n_permutations < 1:
        raise ConfigError(f"n_permutations: expected at least 1, got {n_permutations}")
    if not len(targets) or not ((targets > 0) & (targets < 1)).all():
        raise ConfigError(f"efficiencies: expected values in (0, 1), got {list(efficiencies)}")
    points = np.stack([finite_vector(name, values, len(x)) for name, values in variables.items()], axis=1)
    groups: Groups = Bins.of(points, w, bins) if neighbours is None else Neighbourhoods.of(points, neighbours)
    _, rank = np.unique(x, return_inverse=True)
    nominal = groups.measures(rank, w, targets)
    replicas = bootstrap_replicas(
        lambda counts: groups.measures(rank, w * counts, targets), events, n_replicas=n_replicas, seed=seed
    )
    null = _permuted(lambda r: groups.measures(r, w, targets), rank, events, n_permutations, seed)
    measured = [bootstrap_measurement(float(nominal[i]), replicas[:, i]) for i in range(3)]
    if math.isnan(measured[1].value):
        how = "not defined: signed weights give a negative efficiency in a group"
        measured[1] = Measurement(math.nan, math.nan, how)
    with np.errstate(invalid="ignore"):
        above = (1 + np.sum(null >= nominal, axis=0)) / (1 + len(null))
    return Flatness(
        tuple(variables),
        groups.description,
        measured[0],
        measured[1],
        measured[2],
        dict(zip(FLATNESS, map(float, null.mean(axis=0)), strict=True)),
        dict(zip(FLATNESS, map(float, np.where(np.isnan(nominal), np.nan, above)), strict=True)),
    )


def _permuted(
    measures: Callable[[NDArray[np.intp]], FloatVector],
    rank: NDArray[np.intp],
    event: NDArray[np.uint64],
    n_permutations: int,
    seed: int,
) -> FloatVector:
    order = np.argsort(event_uniform(event, replica=2**33, seed=seed), kind="stable")
    rng = np.random.default_rng(seed)
    return np.stack([measures(rank[order][rng.permutation(len(rank))]) for _ in range(n_permutations)])


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of equal width in each variable; every row is in one."""

    index: NDArray[np.intp]  # (row,) among the bins that are not empty
    number: int
    description: str

    @classmethod
    def of(cls, points: FloatVector, weight: FloatVector, bins: int) -> Bins:
        """Of points (row, variable) between their smallest and largest values."""
        if bins < 2:
            raise ConfigError(f"bins: expected at least 2 a variable, got {bins}")
        flat = np.zeros(len(points), dtype=np.intp)
        for x in points.T:
            edges = np.linspace(x.min(), x.max(), bins + 1)
            flat = flat * bins + np.searchsorted(edges[1:-1], x, side="left")
        _, index = np.unique(flat, return_inverse=True)
        sums = np.bincount(index, weight)
        if not (sums > 0).all():
            raise WeightError(
                f"{int((sums <= 0).sum())} of {len(sums)} bins have weights that do not sum to a positive number; "
                "an efficiency is a ratio of sums: use fewer bins"
            )
        return cls(index, len(sums), f"{bins} bins a variable")

    def measures(self, rank: NDArray[np.intp], weight: FloatVector, targets: FloatVector) -> FloatVector:
        """SDE, Theil, CvM."""
        total = np.bincount(self.index, weight, self.number).astype(np.float64)
        used = total > 0  # a replica may empty a bin
        share = np.where(used, total, 0.0) / total[used].sum()
        by_score = np.bincount(rank, weight)
        distribution = np.maximum.accumulate(np.cumsum(by_score)) / by_score.sum()  # signed weights: first crossing
        efficiencies = []
        for target in targets:
            passed = rank > np.searchsorted(distribution, 1 - target - 1e-12)
            inside = np.bincount(self.index[passed], weight[passed], self.number)
            efficiencies.append(np.divide(inside, total, out=np.zeros(self.number), where=used))
        order = np.argsort(rank, kind="stable")
        distance = _cvm_of_bins(self.index[order], rank[order], weight[order], by_score / by_score.sum(), total)
        return _measures(np.array(efficiencies), share, float(np.sum(share * distance)))


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The k nearest rows of each row, itself included."""

    members: NDArray[np.intp]  # (row, neighbour)
    occurrences: FloatVector  # (row,) in how many neighbourhoods a row is
    description: str

    @classmethod
    def of(cls, points: FloatVector, neighbours: int) -> Neighbourhoods:
        """Of points (row, variable), Euclidean."""
        from scipy.spatial import cKDTree

        if not 2 <= neighbours <= len(points):
            raise ConfigError(f"neighbours: expected 2 to {len(points)}, the number of rows, got {neighbours}")
        _, members = cKDTree(points).query(points, k=neighbours)
        occurrences = np.bincount(members.ravel(), minlength=len(points)).astype(np.float64)
        return cls(members, occurrences, f"{neighbours} nearest neighbours")

    def measures(self, rank: NDArray[np.intp], weight: FloatVector, targets: FloatVector) -> FloatVector:
        """SDE, Theil, CvM."""
        divided = weight / np.maximum(self.occurrences, 1.0)
        total = divided[self.members].sum(axis=1)
        used = total > 0
        share = np.where(used, total, 0.0) / total[used].sum()
        by_score = np.bincount(rank, weight)
        distribution = np.maximum.accumulate(np.cumsum(by_score)) / by_score.sum()  # signed weights: first crossing
        efficiencies = []
        for target in targets:
            passed = rank > np.searchsorted(distribution, 1 - target - 1e-12)
            inside = (divided * passed)[self.members].sum(axis=1)
            efficiencies.append(np.divide(inside, total, out=np.zeros(len(total)), where=used))
        distance = _cvm_of_neighbours(self.members, rank, weight, by_score / by_score.sum())
        return _measures(np.array(efficiencies), share, float(np.sum(share[used] * distance[used])))


def _measures(efficiency: FloatVector, share: FloatVector, cvm: float) -> FloatVector:
    """From efficiencies (target, group) and shares (group,)."""
    mean = (efficiency @ share)[:, None]  # (target, 1)
    deviation = math.sqrt(max(float(np.mean(((efficiency - mean) ** 2) @ share)), 0.0))
    if (efficiency[:, share > 0] < 0).any() or not (mean > 0).all():
        return np.array([deviation, np.nan, cvm])
    ratio = np.maximum(efficiency / mean, _TINY)
    return np.array([deviation, float(np.mean((ratio * np.log(ratio)) @ share)), cvm])


@numba.njit(nogil=True, cache=True)
def _cvm_of_bins(
    index: NDArray[np.intp], rank: NDArray[np.intp], weight: FloatVector, by_score: FloatVector, total: FloatVector
) -> FloatVector:
    """∫ (F_g − F)² dF of each bin, rows in rising rank; at a tie F is the mean of its two sides."""
    distance = np.zeros(len(total))
    below, above = np.zeros(len(total)), np.zeros(len(total))
    start, global_below = 0, 0.0
    for step in range(len(by_score)):
        stop = start
        while stop < len(rank) and rank[stop] == step:
            above[index[stop]] += weight[stop]
            stop += 1
        middle = global_below + 0.5 * by_score[step]
        for g in range(len(total)):
            if total[g] > 0:
                distance[g] += by_score[step] * (0.5 * (below[g] + above[g]) / total[g] - middle) ** 2
        for row in range(start, stop):
            below[index[row]] = above[index[row]]
        global_below += by_score[step]
        start = stop
    return distance


@numba.njit(nogil=True, cache=True)
def _cvm_of_neighbours(
    members: NDArray[np.intp], rank: NDArray[np.intp], weight: FloatVector, by_score: FloatVector
) -> FloatVector:
    """As for bins: between two members F_g is constant, so the integral is a difference of sums of F and F²."""
    steps = len(by_score)
    zeroth, first, second = np.zeros(steps + 1), np.zeros(steps + 1), np.zeros(steps + 1)
    middle, below = np.zeros(steps), 0.0
    for i in range(steps):
        middle[i] = below + 0.5 * by_score[i]
        below += by_score[i]
        zeroth[i + 1] = zeroth[i] + by_score[i]
        first[i + 1] = first[i] + by_score[i] * middle[i]
        second[i + 1] = second[i] + by_score[i] * middle[i] ** 2
    distance = np.zeros(len(members))
    for g in range(len(members)):
        ranks = rank[members[g]]
        order = np.argsort(ranks)
        total = 0.0
        for m in members[g]:
            total += weight[m]
        if total <= 0:
            continue
        value, done, position = 0.0, 0.0, 0
        k = 0
        while k < len(order):
            here = ranks[order[k]]
            value += done**2 * (zeroth[here] - zeroth[position])
            value += -2 * done * (first[here] - first[position]) + second[here] - second[position]
            new = done
            while k < len(order) and ranks[order[k]] == here:
                new += weight[members[g][order[k]]] / total
                k += 1
            value += by_score[here] * (0.5 * (done + new) - middle[here]) ** 2
            done, position = new, here + 1
        value += done**2 * (zeroth[steps] - zeroth[position])
        value += -2 * done * (first[steps] - first[position]) + second[steps] - second[position]
        distance[g] = value
    return distance
