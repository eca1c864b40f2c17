"""Do two classes agree after reweighting? Kolmogorov–Smirnov in each variable, and a classifier that tries to tell them.

A χ² of one-dimensional spectra cannot see correlations that are left; the classifier sees the variables together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.dataset.weight_policy import effective_sample_size

FloatArray = NDArray[np.float64]

MOST_EVENTS = 50_000
"""Events that the classifier is given, spread over the sample."""
TREES, LEAVES, LEARNING_RATE = 60, 15, 0.1


@dataclass(frozen=True)
class Separation:
    """How far two classes are apart under some weights.

    ``ks`` and ``p_value`` by variable: the largest difference of the weighted distribution functions, and its
    asymptotic p-value with effective numbers of events. ``auc`` of the classifier on events that it has not seen, and
    ``auc_uncertainty`` of an AUC of ½; both None where weights are negative, with which it cannot be fitted.
    """

    ks: dict[str, float]
    p_value: dict[str, float]
    auc: float | None
    auc_uncertainty: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        return {"ks": self.ks, "p_value": self.p_value, "auc": self.auc, "auc_uncertainty": self.auc_uncertainty}


def separation(table: FloatArray, names: Sequence[str], y: NDArray[Any], weight: FloatArray) -> Separation:
    """Of classes 0 and 1 in variables of shape (event, variable).

    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 1000)
    >>> same = separation(rng.normal(size=(2000, 2)), ["a", "b"], y, np.ones(2000))
    >>> abs(same.auc - 0.5) < 3 * same.auc_uncertainty
    True
    """
    from scipy.special import kolmogorov

    label = np.asarray(y) == 1
    sizes = [effective_sample_size(weight[label == c]) for c in (False, True)]
    effective = sizes[0] * sizes[1] / (sizes[0] + sizes[1])
    ks = {name: ks_distance(x, label, weight) for name, x in zip(names, table.T, strict=True)}
    p_value = {name: float(kolmogorov(np.sqrt(effective) * d)) for name, d in ks.items()}
    if (weight < 0).any():
        return Separation(ks, p_value, None, None)
    return Separation(ks, p_value, *classifier_auc(table, label, weight))


def ks_distance(x: FloatArray, label: NDArray[np.bool_], weight: FloatArray) -> float:
    """Largest difference between the two classes' weighted distribution functions."""
    order = np.argsort(x, kind="stable")
    w, in_one = weight[order], label[order]
    one = np.cumsum(np.where(in_one, w, 0.0)) / weight[label].sum()
    other = np.cumsum(np.where(in_one, 0.0, w)) / weight[~label].sum()
    last = np.append(np.diff(x[order]) > 0, True)  # of equal values, the last has counted all
    return float(np.abs(one - other)[last].max())


def classifier_auc(table: FloatArray, label: NDArray[np.bool_], weight: FloatArray) -> tuple[float, float]:
    """AUC of boosted trees fitted on one half of the events and tried on the other, and the uncertainty of an AUC of ½.

    √((n₀ + n₁ + 1) / (12 n₀ n₁)), that of the rank sum (Hanley and McNeil 1982 at ½), with effective numbers of events.
    """
    import lightgbm  # here, so that reading and converting do not wait for it

    some = slice(None, None, -(-len(label) // MOST_EVENTS))
    X, y, w = table[some], label[some], weight[some] / weight[some].mean()
    balance = np.where(y, w[~y].sum() / w[y].sum(), 1.0)
    score = np.zeros(len(y))
    half = np.arange(len(y)) % 2 == 0
    order = np.random.default_rng(0).permutation(len(y))
    half = half[order]
    options = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": LEARNING_RATE, "verbosity": -1}
    options |= {"num_threads": 1, "seed": 1, "deterministic": True, "force_row_wise": True}
    for fitted in (half, ~half):
        data = lightgbm.Dataset(
            X[fitted], y[fitted].astype(np.int8), weight=(w * balance)[fitted], params={"verbosity": -1}
        )
        raw = lightgbm.train(options, data, TREES).predict(X[~fitted], raw_score=True, num_threads=1)
        score[~fitted] = np.asarray(raw)
    sizes = [effective_sample_size(w[y == c]) for c in (False, True)]
    return _auc(score, y, w), float(np.sqrt((sizes[0] + sizes[1] + 1.0) / (12.0 * sizes[0] * sizes[1])))


def _auc(score: FloatArray, label: NDArray[np.bool_], weight: FloatArray) -> float:
    """Weighted, equal scores counting half."""
    _, rank = np.unique(score, return_inverse=True)
    one = np.bincount(rank, np.where(label, weight, 0.0))
    other = np.bincount(rank, np.where(label, 0.0, weight))
    below = np.cumsum(other) - other / 2.0
    return float(one @ below / (one.sum() * other.sum()))
