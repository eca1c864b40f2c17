"""How much a score depends on a continuous nuisance, within one class: four measures, each with a permutation p-value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError, WeightError
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas, event_uniform
from fivesigma.evaluate.measurement import Measurement, finite_or_none, json_list
from fivesigma.evaluate.scored_events import FloatVector, effective_size, event_vector, finite_vector, weight_vector

DEPENDENCES = ("kolmogorov_smirnov", "cramer_von_mises", "mutual_information", "distance_correlation")
"""Names of the measures, in results files ``<name>_of_<nuisance>``."""

N_PERMUTATIONS = 200
"""Permutations of the nuisance among rows: the smallest p-value that they can give is 1/201."""

CONDITIONAL_BINS = 10
"""Bins of the nuisance, of equal population, in which the score's distribution is compared with the inclusive one."""

INFORMATION_BINS = 16
"""Bins of score and of nuisance, of equal population, for mutual information."""

MOST_ROWS = 20_000
"""Rows used: more are thinned by event identity. Permutations need no more to tell a dependence that matters."""

THIN = 2**34  # replica number of the draw that thins


@dataclass(frozen=True)
class Dependent:
    """One measure of dependence."""

    value: Measurement
    if_independent: float  # mean over permutations: what this sample shows without any dependence
    p_value: float  # share of permutations with a value at least as large; NaN where the value is not defined

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            **self.value.to_json(),
            "if_independent": finite_or_none(self.if_independent),
            "p_value": finite_or_none(self.p_value),
        }


@dataclass(frozen=True, eq=False)
class Profile:
    """The score against the nuisance: weighted mean and quantiles in bins of equal population."""

    edges: FloatVector  # (bin + 1,)
    mean: FloatVector  # (bin,)
    mean_error: FloatVector  # (bin,) √(Σw²(f − mean)²)/Σw
    low: FloatVector  # (bin,) 16 % quantile of the score; NaN with signed weights
    median: FloatVector  # (bin,)
    high: FloatVector  # (bin,) 84 %

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            name: json_list(getattr(self, name)) for name in ("edges", "mean", "mean_error", "low", "median", "high")
        }


@dataclass(frozen=True)
class Dependence:
    """All measures, and the profile that shows what they mean."""

    nuisance: str
    rows: int  # used
    effective_rows: float
    measures: dict[str, Dependent]  # by the names of ``DEPENDENCES``
    profile: Profile

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "nuisance": self.nuisance,
            "rows": self.rows,
            "effective_rows": self.effective_rows,
            "measures": {name: measure.to_json() for name, measure in self.measures.items()},
            "profile": self.profile.to_json(),
        }


def dependence(
    score: ArrayLike,
    nuisance: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    name: str = "nuisance",
    n_permutations: int = N_PERMUTATIONS,
    n_replicas: int = N_REPLICAS,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
) -> Dependence:
    """Does the score of one class depend on the nuisance?

    - Kolmogorov–Smirnov: the largest |F(f | z in bin) − F(f)| over ten equally populated bins of z.
    - Cramér–von Mises: Σ_bin share × ∫ (F(f | bin) − F(f))² dF(f).
    - Mutual information in nats, of 16 × 16 equally populated bins. Its bias from finite samples is ``if_independent``.
    - Distance correlation (Székely, Rizzo, Bakirov, arXiv:0803.4101), 0 only for independence, in O(n log n).

    The values have bootstrap uncertainties over events; all but the last are biased upwards by about ``if_independent``,
    replicas once more. The test of independence is the permutation p-value, exact when rows are exchangeable: weights
    stay with the score, so with unequal weights it asks whether (score, weight) and z are independent, and rows of one
    event should not share z (they are permuted one by one).

    Signed weights: the first two are ratios of signed sums, defined where every bin's sum is positive; distance
    correlation is the same form in w_i w_j, not defined where a distance variance is not positive; mutual information is
    not defined where a cell's sum is negative. What is not defined is NaN, and ``how`` says why.

    Raises
    ------
    FeatureError
        a nuisance that is not finite for some events.
    NoEventsError
        fewer than 20 rows a bin of the nuisance.
    """
    f = finite_vector("score", score)
    z = finite_vector(name, nuisance, len(f))
    w = np.ones(len(f)) if weight is None else weight_vector(weight, len(f))
    events = np.arange(len(f), dtype=np.uint64) if event is None else event_vector(event, len(f))
    if max_rows < 20 * CONDITIONAL_BINS or n_permutations < 20:
        raise ConfigError(f"expected max_rows ≥ {20 * CONDITIONAL_BINS} and n_permutations ≥ 20")
    if len(f) > max_rows:
        kept = np.sort(np.argsort(event_uniform(events, replica=THIN, seed=seed), kind="stable")[:max_rows])
        f, z, w, events = f[kept], z[kept], w[kept], events[kept]
    if len(f) < 20 * CONDITIONAL_BINS:
        raise NoEventsError(f"{name}: {len(f)} rows are too few to test a dependence", remedy="at least 200 are needed")
    if not w.sum() > 0:
        raise WeightError(f"{name}: the weights of the {len(f)} rows sum to {w.sum():.6g}; expected a positive number")
    measures = _Measures.of(f, z)
    nominal = measures.values(np.arange(len(f)), w)
    replicas = bootstrap_replicas(
        lambda counts: measures.values(np.arange(len(f)), w * counts), events, n_replicas=n_replicas, seed=seed
    )
    rng = np.random.default_rng(seed)
    null = np.stack([measures.values(rng.permutation(len(f)), w) for _ in range(n_permutations)])
    found = {
        measure: _dependent(measure, float(nominal[i]), replicas[:, i], null[:, i])
        for i, measure in enumerate(DEPENDENCES)
    }
    return Dependence(name, len(f), effective_size(w), found, profile(f, z, w))


def _dependent(measure: str, value: float, replicas: FloatVector, null: FloatVector) -> Dependent:
    if math.isnan(value):
        reason = {
            "mutual_information": "a cell's signed weights sum to less than zero",
            "distance_correlation": "with these signed weights a distance variance is not positive",
        }.get(measure, "a bin of the nuisance has no positive sum of weights")
        return Dependent(Measurement(math.nan, math.nan, f"not defined: {reason}"), math.nan, math.nan)
    known = null[~np.isnan(null)]
    p_value = float((1 + np.sum(known >= value)) / (1 + len(known)))
    return Dependent(bootstrap_measurement(value, replicas), float(known.mean()) if len(known) else math.nan, p_value)


@dataclass(frozen=True, eq=False)
class _Measures:
    """What stays the same when the nuisance is permuted: orders, ranks and bins."""

    f: FloatVector
    z: FloatVector
    order: NDArray[np.intp]  # of rising score
    rank: NDArray[np.intp]  # (row,) of the score, ties equal
    z_bin: NDArray[np.intp]
    f_cell: NDArray[np.intp]
    z_cell: NDArray[np.intp]

    @classmethod
    def of(cls, f: FloatVector, z: FloatVector) -> _Measures:
        _, rank = np.unique(f, return_inverse=True)
        cells = (_equal_population(x, INFORMATION_BINS) for x in (f, z))
        return cls(f, z, np.argsort(f, kind="stable"), rank, _equal_population(z, CONDITIONAL_BINS), *cells)

    def values(self, permutation: NDArray[np.intp], weight: FloatVector) -> FloatVector:
        """The four measures with the nuisance of row ``permutation[i]`` at row i."""
        ks, cvm = _conditional(
            self.rank[self.order], self.z_bin[permutation][self.order], weight[self.order], CONDITIONAL_BINS
        )
        information = _information(self.f_cell, self.z_cell[permutation], weight)
        return np.array([ks, cvm, information, distance_correlation(self.f, self.z[permutation], weight)])


def _equal_population(values: FloatVector, bins: int) -> NDArray[np.intp]:
    inner = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(inner, values, side="right")


@numba.njit(nogil=True, cache=True)
def _conditional(
    rank: NDArray[np.intp], z_bin: NDArray[np.intp], weight: FloatVector, bins: int
) -> tuple[float, float]:
    """Kolmogorov–Smirnov and Cramér–von Mises, rows in rising rank; at a tie F is the mean of its two sides for the latter."""
    total = np.zeros(bins)
    for row in range(len(rank)):
        total[z_bin[row]] += weight[row]
    everything = total.sum()
    for b in range(bins):
        if total[b] < 0 or everything <= 0:
            return np.nan, np.nan
    below, above = np.zeros(bins), np.zeros(bins)
    largest, mean_square, sum_below, row = 0.0, 0.0, 0.0, 0
    while row < len(rank):
        here, sum_above = rank[row], sum_below
        while row < len(rank) and rank[row] == here:
            above[z_bin[row]] += weight[row]
            sum_above += weight[row]
            row += 1
        step = (sum_above - sum_below) / everything
        middle = 0.5 * (sum_above + sum_below) / everything
        for b in range(bins):
            if total[b] > 0:
                largest = max(largest, abs(above[b] / total[b] - sum_above / everything))
                local = 0.5 * (above[b] + below[b]) / total[b]
                mean_square += total[b] / everything * step * (local - middle) ** 2
            below[b] = above[b]
        sum_below = sum_above
    return largest, mean_square


def _information(first: NDArray[np.intp], second: NDArray[np.intp], weight: FloatVector) -> float:
    table = np.bincount(first * INFORMATION_BINS + second, weight, INFORMATION_BINS**2)
    table = table.reshape(INFORMATION_BINS, INFORMATION_BINS)
    rounding = 1e-12 * float(np.abs(weight).sum())
    if (table < -rounding).any():
        return math.nan
    joint = np.maximum(table, 0.0) / table.sum()
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    used = joint > 0
    return float(np.sum(joint[used] * np.log(joint[used] / product[used])))


def distance_correlation(first: ArrayLike, second: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Weighted distance correlation of two vectors (row,), between 0 and 1 for positive weights.

    dCor = dCov(x, y)/√(dVar(x) dVar(y)), where dCov² = E|x−x'||y−y'| + E|x−x'| E|y−y'| − 2 E|x−x'||y−y''| over the weighted
    sample; the biased (V-statistic) form. Square root of the ratio of squares. NaN where a variance is not positive.

    >>> x = np.array([1.0, 2.0, 4.0])
    >>> round(distance_correlation(x, 3 - 2 * x), 12)
    1.0
    """
    x, y = finite_vector("first", first), finite_vector("second", second)
    w = np.ones(len(x)) if weight is None else weight_vector(weight, len(x))
    w = w / w.sum()
    x, y = x - np.mean(x), y - np.mean(y)  # distances do not change, rounding of products does
    ax, ay = _mean_distances(x, w), _mean_distances(y, w)
    covariance = _covariance(_sum_of_products(x, y, w), ax, ay, w)
    # Σ_ij w_i w_j |x_i − x_j|² needs no sorting.
    variances = [
        _covariance(2 * (np.sum(w * v**2) * w.sum() - np.sum(w * v) ** 2), a, a, w) for v, a in ((x, ax), (y, ay))
    ]
    if not min(variances) > 0:
        return math.nan
    return math.sqrt(max(covariance, 0.0) / math.sqrt(variances[0] * variances[1]))


def _covariance(products: float, ax: FloatVector, ay: FloatVector, w: FloatVector) -> float:
    return float(products + np.sum(w * ax) * np.sum(w * ay) - 2 * np.sum(w * ax * ay))


def _mean_distances(x: FloatVector, w: FloatVector) -> FloatVector:
    """Σ_j w_j |x_i − x_j| for each i, from sums in the order of x."""
    order = np.argsort(x, kind="stable")
    sums, moments = np.cumsum(w[order]), np.cumsum((w * x)[order])
    means = np.empty(len(x))
    means[order] = x[order] * (2 * sums - sums[-1]) + moments[-1] - 2 * moments
    return means


def _sum_of_products(x: FloatVector, y: FloatVector, w: FloatVector) -> float:
    """Σ_ij w_i w_j |x_i − x_j||y_i − y_j| (X. Huo and G. Székely, arXiv:1410.1503), by a binary indexed tree over y."""
    order = np.argsort(x, kind="stable")
    _, rank = np.unique(y, return_inverse=True)
    # |a||b| = ab·(2·[signs agree] − 1), and Σ ab over all pairs is a sum of moments.
    agreeing = _pairs_below(x[order], y[order], w[order], rank[order], int(rank.max()) + 1)
    signed = 2 * (np.sum(w * x * y) * w.sum() - np.sum(w * x) * np.sum(w * y))
    return float(4 * agreeing - signed)


@numba.njit(nogil=True, cache=True)
def _pairs_below(x: FloatVector, y: FloatVector, w: FloatVector, rank: NDArray[np.intp], ranks: int) -> float:
    """Σ over pairs j < i (in x) with y_j ≤ y_i of w_i w_j (x_i − x_j)(y_i − y_j)."""
    tree = np.zeros((ranks + 1, 4))  # w, wx, wy, wxy by rank of y
    total = 0.0
    for i in range(len(x)):
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        k = rank[i] + 1
        while k > 0:
            s0 += tree[k, 0]
            s1 += tree[k, 1]
            s2 += tree[k, 2]
            s3 += tree[k, 3]
            k -= k & -k
        total += w[i] * (x[i] * y[i] * s0 - y[i] * s1 - x[i] * s2 + s3)
        k = rank[i] + 1
        while k <= ranks:
            tree[k, 0] += w[i]
            tree[k, 1] += w[i] * x[i]
            tree[k, 2] += w[i] * y[i]
            tree[k, 3] += w[i] * x[i] * y[i]
            k += k & -k
    return total


def profile(score: FloatVector, nuisance: FloatVector, weight: FloatVector, bins: int = CONDITIONAL_BINS) -> Profile:
    """Mean and quantiles of the score in equally populated bins of the nuisance; NaN where a bin has no positive sum."""
    edges = np.unique(np.quantile(nuisance, np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    index = np.clip(np.searchsorted(edges, nuisance, side="right") - 1, 0, len(edges) - 2)
    columns = np.full((5, len(edges) - 1), np.nan)
    for b in range(len(edges) - 1):
        f, w = score[index == b], weight[index == b]
        if not w.sum() > 0:
            continue
        mean = float(np.sum(w * f) / w.sum())
        columns[:2, b] = mean, math.sqrt(float(np.sum((w * (f - mean)) ** 2))) / w.sum()
        if (w >= 0).all():
            order = np.argsort(f)
            fraction = (np.cumsum(w[order]) - 0.5 * w[order]) / w.sum()
            columns[2:, b] = np.interp([0.158655, 0.5, 0.841345], fraction, f[order])
    return Profile(edges, *columns)
