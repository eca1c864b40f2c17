"""AdaBoost of decision trees by scikit-learn: TMVA's classic BDT."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier

from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import prediction_inputs, training_inputs
from fivesigma.trees.criterion import Criterion, splitting
from fivesigma.trees.scikit_learn_model import ScikitLearnModel


@ESTIMATORS.register("adaboost")
class AdaBoost(ScikitLearnModel, BinaryClassifier):
    """Each tree is fitted with more weight on events that those before it got wrong (Freund and Schapire 1997).

    Discrete AdaBoost, TMVA's ``BoostType=AdaBoost`` with ``UseYesNoLeaf``. The classes enter with equal sums of weights,
    as in TMVA: otherwise the rarer class is never the majority of a leaf. ``decision_function`` is the trees' weighted
    vote Σαh / Σα, from −1 to 1 as TMVA's output; the probability is σ(Σαh), which minimises the exponential loss where
    ``learning_rate`` is 1 (Friedman, Hastie, Tibshirani 2000), and is not calibrated otherwise.

    Parameters
    ----------
    trees
        the most trees (NTrees); fewer if one makes no error, or is no better than a guess.
    learning_rate
        exponent β of the boost (AdaBoostBeta).
    criterion, depth, leaves, min_events_in_leaf, min_weight_fraction_in_leaf, min_gain
        of each tree, as in ``RandomForest``.
    seed
        decides between cuts of equal gain.

    Negative weights are refused: boosting would make them ever more negative.
    """

    estimator_name = "adaboost"
    accepts_negative_weight = False
    kind = AdaBoostClassifier

    def __init__(
        self,
        *,
        trees: int = 200,
        learning_rate: float = 0.5,
        criterion: Criterion = "gini",
        depth: int | None = 3,
        leaves: int | None = None,
        min_events_in_leaf: int = 20,
        min_weight_fraction_in_leaf: float = 0.0,
        min_gain: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.trees = trees
        self.learning_rate = learning_rate
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
        tree = DecisionTreeClassifier(**self.stopping() | splitting(self.criterion, self.min_gain))
        boosted = AdaBoostClassifier(
            tree, n_estimators=self.trees, learning_rate=self.learning_rate, random_state=self.seed
        )
        self.forest_ = boosted.fit(X, y, sample_weight=equal_classes(y, weight))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The trees' weighted vote, from −1 (background) to 1; shape (event,)."""
        X = prediction_inputs(self, X, dtype=np.float32)
        both = np.asarray(self.forest_.decision_function(X), dtype=np.float64)  # of signal and minus that of background
        return both / 2.0

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        margin = self.decision_function(X)  # checks that it is fitted, and X
        return two_columns(expit(margin * float(np.sum(self.forest_.estimator_weights_))))


def equal_classes(y: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights with the same sum in both classes, and mean 1.

    >>> equal_classes(np.array([0, 0, 1]), np.array([1.0, 3.0, 5.0])).tolist()
    [0.375, 1.125, 1.5]
    """
    sums = np.bincount(y, weight, 2)
    shares: NDArray[np.float64] = weight / sums[y] * (len(y) / 2.0)
    return shares
