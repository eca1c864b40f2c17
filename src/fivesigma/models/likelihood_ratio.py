"""Binned likelihood ratio in one or a few variables, as arXiv:1511.05190 combines a network with the mass."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import prediction_inputs, training_inputs

_MOST_BINS = 64
_FEWEST_BINS = 4


@ESTIMATORS.register("likelihood-ratio")
class LikelihoodRatio(BinaryClassifier):
    """s/(s + b) with the densities s and b of signal and background counted in bins: the optimum, if the bins were
    fine enough.

    Bins are adaptive: the first variable is cut at its quantiles, then inside each of these slices the second, and so
    on, so that every bin holds the same weight of events (both classes count the same). This follows strongly
    correlated variables where a grid would be mostly empty. Only for few variables: bins per variable fall as
    events^(1/variables).

    Parameters
    ----------
    bins
        bins per variable, or None: as many (4 to 64) as leave ``events_per_bin`` effective events in each.
    events_per_bin
        effective events (Σ|w|)²/Σw² wanted in a bin when ``bins`` is None.
    smoothing
        effective events added to each bin for each class: a bin without background is not certain signal.

    Signed weights are allowed; a bin whose sum is negative counts as empty.
    """

    estimator_name = "likelihood-ratio"
    accepts_negative_weight = True
    fitted_arrays = ("edges_", "probability_")

    edges_: NDArray[np.float64]  # (node, bin − 1): inner edges, root first, then the nodes of each next variable
    probability_: NDArray[np.float64]  # (bins ** variables,)

    def __init__(self, *, bins: int | None = None, events_per_bin: float = 40.0, smoothing: float = 1.0) -> None:
        self.bins = bins
        self.events_per_bin = events_per_bin
        self.smoothing = smoothing

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on X of shape (event, variable); ``validation`` is not needed.

        Raises
        ------
        ConfigError
            if an option cannot be meant.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        if (self.bins is not None and self.bins < 2) or self.events_per_bin <= 0 or self.smoothing <= 0:
            raise ConfigError("likelihood-ratio needs bins ≥ 2, events_per_bin > 0 and smoothing > 0")
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        balanced = np.abs(weight) / np.where(y == 1, np.abs(weight[y == 1]).sum(), np.abs(weight[y == 0]).sum())
        effective = [np.abs(weight[y == c]).sum() ** 2 / (weight[y == c] ** 2).sum() for c in (0, 1)]
        bins = self.bins or int(
            np.clip((sum(effective) / self.events_per_bin) ** (1 / X.shape[1]), _FEWEST_BINS, _MOST_BINS)
        )
        self.edges_ = _conditional_quantiles(X, balanced, bins)
        cell = self._bin(X)
        n_cells = bins ** X.shape[1]
        density = []
        for label in (0, 1):
            w = weight[y == label]
            count = np.bincount(cell[y == label], w, minlength=n_cells).clip(0.0) * (effective[label] / w.sum())
            density.append((count + self.smoothing) / (count.sum() + self.smoothing * n_cells))
        self.probability_ = density[1] / (density[0] + density[1])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """s/(s + b) of the bin, shape (event, 2)."""
        X = prediction_inputs(self, X)
        return two_columns(self.probability_[self._bin(X)])

    def _bin(self, X: NDArray[np.float64]) -> NDArray[np.intp]:
        bins = self.edges_.shape[1] + 1
        node, first = np.zeros(len(X), dtype=np.intp), 0
        for variable in range(X.shape[1]):
            edges = self.edges_[first + node]  # (event, bin − 1)
            first += bins**variable
            node = node * bins + (X[:, variable, None] >= edges).sum(axis=1)
        return node


def _conditional_quantiles(X: NDArray[np.float64], weight: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Inner edges per node: each variable's weighted quantiles inside the bins of the variables before it."""
    fractions = np.arange(1, bins) / bins
    node, n_nodes, edges = np.zeros(len(X), dtype=np.intp), 1, []
    for variable in range(X.shape[1]):
        level = np.full((n_nodes, bins - 1), np.inf)
        order = np.lexsort((X[:, variable], node))
        starts = np.searchsorted(node[order], np.arange(n_nodes + 1))
        for i in range(n_nodes):
            inside = order[starts[i] : starts[i + 1]]
            if len(inside):
                cumulative = np.cumsum(weight[inside])
                # the tolerance keeps edges the same when weights are rescaled
                position = np.searchsorted(cumulative, fractions * cumulative[-1] * (1 + 1e-12))
                level[i] = X[inside[np.minimum(position, len(inside) - 1)], variable]
        edges.append(level)
        node = node * bins + (X[:, variable, None] >= level[node]).sum(axis=1)
        n_nodes *= bins
    return np.concatenate(edges)
