"""A single decision tree by scikit-learn: a set of boxes that can be printed on a page."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier
from fivesigma.models.training_inputs import prediction_inputs, training_inputs
from fivesigma.trees.criterion import Criterion, splitting
from fivesigma.trees.scikit_learn_model import ScikitLearnModel


@ESTIMATORS.register("decision-tree")
class DecisionTree(ScikitLearnModel, BinaryClassifier):
    """One tree of cuts (Breiman et al. 1984); its output is the purity of the leaf that an event falls into.

    Parameters
    ----------
    criterion, depth, leaves, min_events_in_leaf, min_weight_fraction_in_leaf, min_gain
        as in ``RandomForest``.
    seed
        decides between cuts of equal gain.

    Negative weights are refused: nodes would have negative impurity.
    """

    estimator_name = "decision-tree"
    accepts_negative_weight = False
    kind = DecisionTreeClassifier

    def __init__(
        self,
        *,
        criterion: Criterion = "gini",
        depth: int | None = 4,
        leaves: int | None = None,
        min_events_in_leaf: int = 20,
        min_weight_fraction_in_leaf: float = 0.0,
        min_gain: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.criterion = criterion
        self.depth = depth
        self.leaves = leaves
        self.min_events_in_leaf = min_events_in_leaf
        self.min_weight_fraction_in_leaf = min_weight_fraction_in_leaf
        self.min_gain = min_gain
        self.seed = seed

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
            for an unknown criterion.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, dtype=np.float32)
        options = self.stopping() | splitting(self.criterion, self.min_gain)
        tree = DecisionTreeClassifier(random_state=self.seed, **options)
        self.forest_ = tree.fit(X, y, sample_weight=weight / weight.mean())
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Purity of background and signal in the event's leaf, shape (event, 2)."""
        X = prediction_inputs(self, X, dtype=np.float32)
        return np.asarray(self.forest_.predict_proba(X), dtype=np.float64)
