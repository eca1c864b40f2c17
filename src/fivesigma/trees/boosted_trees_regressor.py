"""Gradient-boosted decision trees by LightGBM, for regression."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.registry import unknown_name
from fivesigma.models.regressor import Regressor
from fivesigma.models.training_inputs import check_weight, prediction_inputs, regression_inputs
from fivesigma.trees.lightgbm_model import LightGbmModel, lightgbm_dataset

Loss = Literal["squared", "absolute", "huber", "quantile"]
_OBJECTIVES: dict[Loss, str] = {"squared": "l2", "absolute": "l1", "huber": "huber", "quantile": "quantile"}


@ESTIMATORS.register("boosted-trees-regressor")
class BoostedTreesRegressor(LightGbmModel, Regressor):
    """Boosted trees for a number, such as an energy; TMVA's BDTG with ``AnalysisType=Regression``.

    Parameters
    ----------
    loss
        "squared" (predicts the mean), "absolute" (the median), "huber" (squared within ``huber_width``, absolute
        beyond), "quantile" (the ``quantile``, for intervals).
    huber_width
        where the Huber loss turns from squared to absolute, in the target's unit.
    quantile
        between 0 and 1.
    trees, learning_rate, leaves, depth, min_events_in_leaf, min_gain, row_fraction, column_fraction, l2, patience, \
seed, threads
        as in ``BoostedTrees``.

    Negative weights are refused: medians and quantiles of a leaf are not defined with them.
    """

    estimator_name = "boosted-trees-regressor"
    accepts_negative_weight = False

    def __init__(
        self,
        *,
        loss: Loss = "squared",
        huber_width: float = 1.0,
        quantile: float = 0.5,
        trees: int = 500,
        learning_rate: float = 0.05,
        leaves: int = 31,
        depth: int = -1,
        min_events_in_leaf: int = 50,
        min_gain: float = 0.0,
        row_fraction: float = 1.0,
        column_fraction: float = 1.0,
        l2: float = 0.0,
        patience: int = 30,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.loss = loss
        self.huber_width = huber_width
        self.quantile = quantile
        self.trees = trees
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.depth = depth
        self.min_events_in_leaf = min_events_in_leaf
        self.min_gain = min_gain
        self.row_fraction = row_fraction
        self.column_fraction = column_fraction
        self.l2 = l2
        self.patience = patience
        self.seed = seed
        self.threads = threads

    def fit(self, X: Any, y: Any, weight: Any | None = None, *, validation: Labelled | None = None) -> Self:
        """Fit on X of shape (event, variable) and y of shape (event,), float64.

        Raises
        ------
        ConfigError
            for an unknown loss, a quantile outside (0, 1) or a ``huber_width`` that is not positive.
        InvalidInputsError, InvalidWeightError
            see ``regression_inputs``.
        """
        parameters = self._objective()
        X, y, weight = regression_inputs(self, X, y, weight)
        train, check = lightgbm_dataset(X, y, weight / weight.mean()), None
        if validation is not None:
            X_validation = prediction_inputs(self, validation.X)
            w = check_weight(self, validation.weight, len(X_validation))
            check = train.create_valid(X_validation, np.asarray(validation.y, np.float64), weight=w / w.mean())
        self.grow(train, parameters, validation=check, patience=self.patience)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The target's estimate, shape (event,)."""
        return self.raw_score(prediction_inputs(self, X))

    def _objective(self) -> dict[str, Any]:
        if self.loss not in _OBJECTIVES:
            raise ConfigError(unknown_name("loss", self.loss, get_args(Loss)))
        if self.loss == "quantile" and not 0.0 < self.quantile < 1.0:
            raise ConfigError(f"quantile must lie between 0 and 1, got {self.quantile}")
        if self.loss == "huber" and not self.huber_width > 0.0:
            raise ConfigError(f"huber_width must be positive, in the target's unit, got {self.huber_width}")
        name = _OBJECTIVES[self.loss]
        alpha = self.quantile if self.loss == "quantile" else self.huber_width
        return {"objective": name, "metric": name} | ({} if self.loss in ("squared", "absolute") else {"alpha": alpha})
