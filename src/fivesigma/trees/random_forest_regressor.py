"""Random forest by scikit-learn, for regression."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor as Forest

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.registry import unknown_name
from fivesigma.models.regressor import Regressor
from fivesigma.models.training_inputs import prediction_inputs, regression_inputs
from fivesigma.trees.scikit_learn_model import ScikitLearnModel

Loss = Literal["squared", "absolute"]
_CRITERIA: dict[Loss, str] = {"squared": "squared_error", "absolute": "absolute_error"}


@ESTIMATORS.register("random-forest-regressor")
class RandomForestRegressor(ScikitLearnModel, Regressor):
    """The mean of trees grown on bootstrapped events, for a number such as an energy.

    Parameters
    ----------
    loss
        "squared" (leaves hold the mean), "absolute" (the median; needs some ten times as long).
    variables_per_node
        variables tried at each node: a number, or a fraction (1.0: all, as Breiman's for regression is a third).
    trees, depth, leaves, min_events_in_leaf, min_weight_fraction_in_leaf, min_gain, seed, threads
        as in ``RandomForest``; ``min_gain`` in the unit of the loss.

    Negative weights are refused: nodes would have negative impurity.
    """

    estimator_name = "random-forest-regressor"
    accepts_negative_weight = False
    kind = Forest

    def __init__(
        self,
        *,
        loss: Loss = "squared",
        trees: int = 200,
        depth: int | None = None,
        leaves: int | None = None,
        min_events_in_leaf: int = 5,
        min_weight_fraction_in_leaf: float = 0.0,
        min_gain: float = 0.0,
        variables_per_node: int | float | str = 1.0,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.loss = loss
        self.trees = trees
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
        """Fit on X of shape (event, variable) and y of shape (event,); ``validation`` is not needed.

        Raises
        ------
        ConfigError
            for an unknown loss.
        InvalidInputsError, InvalidWeightError
            see ``regression_inputs``.
        """
        if self.loss not in _CRITERIA:
            raise ConfigError(unknown_name("loss", self.loss, get_args(Loss)))
        X, y, weight = regression_inputs(self, X, y, weight, dtype=np.float32)
        self.forest_ = Forest(
            n_estimators=self.trees,
            criterion=_CRITERIA[self.loss],
            max_features=self.variables_per_node,
            random_state=self.seed,
            n_jobs=self.threads,
            **self.stopping(),
        ).fit(X, y, sample_weight=weight / weight.mean())
        self.forest_.n_jobs = 1  # threads would add the trees up in any order: predictions would differ in the last bit
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The target's estimate, shape (event,)."""
        X = prediction_inputs(self, X, dtype=np.float32)
        return np.asarray(self.forest_.predict(X), dtype=np.float64)
