"""Boosted trees whose score is uniform in chosen variables: BinFlatness and KnnFlatness of arXiv:1410.4140 on LightGBM."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.registry import unknown_name
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import prediction_inputs, training_inputs
from fivesigma.trees.adaboost import equal_classes
from fivesigma.trees.flatness_loss import UniformClass, binned_class, neighbouring_class
from fivesigma.trees.lightgbm_model import LightGbmModel, lightgbm_dataset
from fivesigma.trees.uniform_inputs import UniformLabel, uniform_labels, uniform_variables

Locality = Literal["bins", "neighbours"]
LARGEST_MARGIN = 2.0
"""The exponential loss grows linearly for events that are wrong by more: no single event drives the boosting."""


@ESTIMATORS.register("flatness-boosting")
class FlatnessBoosting(LightGbmModel, BinaryClassifier):
    """Exponential loss + ``flatness_weight`` · flatness loss (arXiv:1410.4140, section 4.3), descended by trees.

    The gradient is that of hep_ml's ``BinFlatnessLossFunction`` and ``KnnFlatnessLossFunction``, and so is a leaf: the
    mean of minus the gradient over its events, times the learning rate. The classes enter with equal sums of weights.
    The uniform variables are given to ``fit`` as ``nuisance``, and are not needed for predictions. There is no early
    stopping: the flatness loss of other events than those trained on is not followed.

    Parameters
    ----------
    uniform_label
        the class whose score is to be uniform: "background", "signal" or "both".
    flatness_weight
        how much flatness counts against separation; 0 is plain boosting with exponential loss.
    power
        of the difference of positions in the flatness loss.
    locality
        "bins" (``bins`` in each variable, and the same shifted by half a bin) or "neighbours" (the ``neighbours``
        nearest events around at most ``most_groups`` events of a class; distances in standard deviations).
    trees, learning_rate, leaves, depth, min_events_in_leaf, row_fraction, column_fraction, seed, threads
        as in ``BoostedTrees``.

    Negative weights are refused: a position is the share of weight with a lower score, and would not rise with the
    score.
    """

    estimator_name = "flatness-boosting"
    accepts_negative_weight = False
    takes_nuisance = True

    def __init__(
        self,
        *,
        uniform_label: UniformLabel = "background",
        flatness_weight: float = 3.0,
        power: float = 2.0,
        locality: Locality = "bins",
        bins: int = 10,
        neighbours: int = 100,
        most_groups: int = 5000,
        trees: int = 200,
        learning_rate: float = 0.1,
        leaves: int = 16,
        depth: int = 4,
        min_events_in_leaf: int = 20,
        row_fraction: float = 1.0,
        column_fraction: float = 1.0,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.uniform_label = uniform_label
        self.flatness_weight = flatness_weight
        self.power = power
        self.locality = locality
        self.bins = bins
        self.neighbours = neighbours
        self.most_groups = most_groups
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
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on X of shape (event, variable), uniform in ``nuisance`` of shape (event, nuisance).

        Raises
        ------
        ConfigError
            for options that cannot be meant.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs`` and ``uniform_variables``.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        variables = uniform_variables(nuisance, len(X), type(self).__name__)
        w, sign = equal_classes(y, weight), np.where(y == 1, 1.0, -1.0)
        uniform = self._uniform_classes(variables, y, w)
        second, signed = np.ones(len(y), dtype=np.float32), -sign * w

        def gradient(score: NDArray[np.float64], _: Any) -> tuple[NDArray[Any], NDArray[Any]]:
            slope = signed * np.exp(np.minimum(-sign * score, LARGEST_MARGIN))
            for one in uniform:
                slope[one.events] -= self.flatness_weight * one.pull(score, self.power)
            return slope, second

        self.grow(lightgbm_dataset(X, y), {"objective": gradient, "metric": "none"})
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """σ(score) and its complement, shape (event, 2): ranks events, and is not calibrated."""
        return two_columns(expit(self.raw_score(prediction_inputs(self, X))))

    def _uniform_classes(
        self, variables: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]
    ) -> list[UniformClass]:
        if not self.power > 1.0 or not self.flatness_weight >= 0.0:
            raise ConfigError(
                f"expected power > 1 and flatness_weight ≥ 0, got {self.power} and {self.flatness_weight}"
            )
        labels = uniform_labels(self.uniform_label)
        if self.locality == "bins":
            return [binned_class(variables, y, label, weight, self.bins) for label in labels]
        if self.locality == "neighbours":
            rng = np.random.default_rng(self.seed)
            sizes = (self.neighbours, self.most_groups)
            return [neighbouring_class(variables, y, label, weight, *sizes, rng) for label in labels]
        raise ConfigError(unknown_name("locality", str(self.locality), get_args(Locality)))
