"""Random forest by scikit-learn, for classification."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier
from fivesigma.models.training_inputs import prediction_inputs, training_inputs
from fivesigma.trees.criterion import Criterion, splitting
from fivesigma.trees.scikit_learn_model import ScikitLearnModel


@ESTIMATORS.register("random-forest")
class RandomForest(ScikitLearnModel, BinaryClassifier):
    """Trees on bootstrapped events with random variables at each node (Breiman 2001); TMVA's ``UseRandomisedTrees``
    BDT.

    Parameters
    ----------
    trees
        NTrees.
    criterion
        "gini", "entropy" or "squared-error" (SeparationType).
    depth, leaves
        the greatest depth (MaxDepth) and the most leaves of a tree, or None.
    min_events_in_leaf
        MinNodeSize, as a number of events.
    min_weight_fraction_in_leaf
        MinNodeSize, as a fraction of the sum of weights.
    min_gain
        the least decrease of impurity for which a node is split, weighted by the node's share of all weight.
    variables_per_node
        variables tried at each node (UseNvars): a number, a fraction or "sqrt".
    seed, threads
        the same seed gives the same trees with any number of threads.

    Negative weights are refused: nodes would have negative impurity.
    """

    estimator_name = "random-forest"
    accepts_negative_weight = False
    kind = RandomForestClassifier

    def __init__(
        self,
        *,
        trees: int = 200,
        criterion: Criterion = "gini",
        depth: int | None = 12,
        leaves: int | None = None,
        min_events_in_leaf: int = 20,
        min_weight_fraction_in_leaf: float = 0.0,
        min_gain: float = 0.0,
        variables_per_node: int | float | str = "sqrt",
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.trees = trees
        self.criterion = criterion
        self.depth = depth
        self.leaves = leaves
        self.min_events_in_leaf = min_events_in_leaf
        self.min_weight_fraction_in_leaf = min_weight_fraction_in_leaf
        self.min_gain = min_gain
        self.variables_per_node = variables_per_node
        self.seed = seed
        self.threads = threads

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
        self.forest_ = RandomForestClassifier(
            n_estimators=self.trees,
            max_features=self.variables_per_node,
            random_state=self.seed,
            n_jobs=self.threads,
            **self.stopping() | splitting(self.criterion, self.min_gain),
        ).fit(X, y, sample_weight=weight / weight.mean())
        self.forest_.n_jobs = 1  # threads would add the trees up in any order: predictions would differ in the last bit
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        X = prediction_inputs(self, X, dtype=np.float32)
        return np.asarray(self.forest_.predict_proba(X), dtype=np.float64)
