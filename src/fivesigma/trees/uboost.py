"""uBoost: boosting towards a uniform efficiency at one cut (J. Stevens, M. Williams, arXiv:1305.7248), on LightGBM."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import check_weight, prediction_inputs, training_inputs
from fivesigma.trees.adaboost import equal_classes
from fivesigma.trees.flatness_loss import in_standard_deviations
from fivesigma.trees.lightgbm_model import LightGbmModel, add_to_first_tree, lightgbm_dataset
from fivesigma.trees.uniform_inputs import uniform_labels, uniform_variables

SMALLEST_UNEVENNESS = 1e-3
"""Mean |local − target| efficiency is taken as at least this, so that ln(1/e′) stays finite."""


@ESTIMATORS.register("uboost")
class UBoost(LightGbmModel, BinaryClassifier):
    """AdaBoost in which signal events gain weight where the local efficiency is below that of the whole class.

    After each tree, the cut that ``target_efficiency`` ε̄ of the uniform class passes gives each of its events a local
    efficiency ε_i among its ``neighbours`` nearest, and its weight is multiplied by exp(β (ε̄ − ε_i)), for background
    exp(β (ε_i − ε̄)), with β = ln(1/e′) and e′ the mean |ε̄ − ε_i|. The paper has β = ln((1 − e′)/e′), which turns
    negative for e′ > ½; like hep_ml we leave out 1 − e′.

    A tree is LightGBM's Newton step on Σ w exp(−y F), as in Gentle AdaBoost, in the place of a vote of ±1.
    Flat is the efficiency at the target alone; other targets want other fits, or `FlatnessBoosting`. The probability is
    σ(2 (F − cut)), ½ at the cut of the target.

    Parameters
    ----------
    uniform_label
        "background" or "signal".
    target_efficiency
        the share of the uniform class that passes the cut at which it shall be flat.
    neighbours
        events among which a local efficiency is counted; distances in standard deviations of each variable.
    uniforming_rate
        multiplies β; 0 is plain boosting.
    trees, learning_rate, leaves, depth, min_events_in_leaf, row_fraction, column_fraction, seed, threads
        as in ``BoostedTrees``.

    Negative weights are refused: boosting would make them ever more negative.
    """

    estimator_name = "uboost"
    accepts_negative_weight = False
    takes_nuisance = True

    def __init__(
        self,
        *,
        uniform_label: Literal["background", "signal"] = "background",
        target_efficiency: float = 0.5,
        neighbours: int = 50,
        uniforming_rate: float = 1.0,
        trees: int = 100,
        learning_rate: float = 0.5,
        leaves: int = 16,
        depth: int = 4,
        min_events_in_leaf: int = 20,
        row_fraction: float = 1.0,
        column_fraction: float = 1.0,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.uniform_label = uniform_label
        self.target_efficiency = target_efficiency
        self.neighbours = neighbours
        self.uniforming_rate = uniforming_rate
        self.trees = trees
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.depth = depth
        self.min_events_in_leaf = min_events_in_leaf
        self.row_fraction = row_fraction
        self.column_fraction = column_fraction
        self.seed = seed
        self.threads = threads

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        nuisance: Any | None = None,
        validation: Labelled | None = None,
    ) -> Self:
        """Fit on X of shape (event, variable), uniform in ``nuisance`` of shape (event, nuisance).

        The final cut is that of the validation events if there are any: training events pass it less or more often than
        others do.

        Raises
        ------
        ConfigError
            for options that cannot be meant.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs`` and ``uniform_variables``.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        variables = uniform_variables(nuisance, len(X), type(self).__name__)
        boosting = _Boosting(self, equal_classes(y, weight), np.where(y == 1, 1.0, -1.0), variables)
        self.grow(lightgbm_dataset(X, y), {"objective": boosting.gradient, "metric": "none"})
        cut = boosting.cut(self.raw_score(X))
        if validation is not None:
            own = (np.asarray(validation.y) == self.classes_[1]) == (boosting.direction > 0)
            held_out = check_weight(self, validation.weight, len(own))
            cut = _cut(self.raw_score(prediction_inputs(self, validation.X))[own], held_out[own], boosting.target)
        add_to_first_tree(self.booster_, -cut)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """σ(2 (F − cut)) and its complement, shape (event, 2)."""
        return two_columns(expit(2.0 * self.raw_score(prediction_inputs(self, X))))


class _Boosting:
    """Weights of the events as boosting goes on."""

    def __init__(
        self, options: UBoost, weight: NDArray[np.float64], sign: NDArray[np.float64], variables: NDArray[np.float64]
    ) -> None:
        (label,) = _one_label(options)
        self.weight, self.sign = weight, sign
        self.uniform = np.flatnonzero(sign == (1.0 if label == 1 else -1.0))  # events of the class
        if len(self.uniform) < options.neighbours:
            raise ConfigError(
                f"{options.neighbours} neighbours, but the {options.uniform_label} has {len(self.uniform)} events: "
                "ask for fewer"
            )
        points = in_standard_deviations(variables)[self.uniform]
        nearest = cKDTree(points).query(points, k=options.neighbours)[1]
        self.nearest = nearest.reshape(len(points), options.neighbours)  # (event of the class, neighbour)
        nearby = weight[self.uniform][self.nearest].sum(axis=1)
        self.nearby = np.maximum(nearby, np.finfo(float).tiny)  # (event of the class,): weight of its neighbours
        self.target, self.rate = options.target_efficiency, options.uniforming_rate
        self.boost = np.zeros(len(weight))  # Σ of ± β (ε̄ − ε_i), the logarithm of what uniformity has multiplied
        self.direction = 1.0 if label == 1 else -1.0
        self.grown = 0

    def gradient(self, score: NDArray[np.float64], _: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of Σ w exp(−y F), with the weights that the trees so far have led to."""
        if self.grown:
            self._even_out(score)
        self.grown += 1
        w = self._boosted(score)
        return -self.sign * w, w

    def cut(self, score: NDArray[np.float64]) -> float:
        """Where the target's share of the uniform class is above."""
        return _cut(score[self.uniform], self.weight[self.uniform], self.target)

    def _boosted(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        exponent = self.boost - self.sign * score
        w = self.weight * np.exp(exponent - exponent.max())
        return equal_classes((self.sign > 0).astype(np.int8), w)

    def _even_out(self, score: NDArray[np.float64]) -> None:
        w = self._boosted(score)[self.uniform]
        passed = self.weight[self.uniform] * (score[self.uniform] >= self.cut(score))
        local = passed[self.nearest].sum(axis=1) / self.nearby
        unevenness = max(float(w @ np.abs(self.target - local) / w.sum()), SMALLEST_UNEVENNESS)
        self.boost[self.uniform] += self.direction * self.rate * np.log(1.0 / unevenness) * (self.target - local)


def _cut(score: NDArray[np.float64], weight: NDArray[np.float64], efficiency: float) -> float:
    """The highest score at or above which there is that share of the weight."""
    order = np.argsort(-score, kind="stable")
    passed = np.cumsum(weight[order])
    return float(score[order[min(np.searchsorted(passed, efficiency * passed[-1]), len(order) - 1)]])


def _one_label(options: UBoost) -> tuple[int, ...]:
    labels = uniform_labels(options.uniform_label)
    if len(labels) != 1:
        raise ConfigError("uboost is uniform in one class: uniform_label must be 'background' or 'signal'")
    if not 0.0 < options.target_efficiency < 1.0 or not options.uniforming_rate >= 0.0:
        raise ConfigError(
            "expected target_efficiency between 0 and 1 and uniforming_rate ≥ 0, got "
            f"{options.target_efficiency} and {options.uniforming_rate}"
        )
    return labels
