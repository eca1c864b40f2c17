"""Gradient-boosted decision trees by LightGBM, for classification."""

from __future__ import annotations

from typing import Any, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import check_weight, prediction_inputs, training_inputs
from fivesigma.trees.lightgbm_model import LightGbmModel, add_to_first_tree, lightgbm_dataset


@ESTIMATORS.register("boosted-trees")
class BoostedTrees(LightGbmModel, BinaryClassifier):
    """Boosted trees with log loss; what TMVA calls BDTG and scikit-learn gradient boosting.

    Stops early where a validation sample is given, and keeps the best number of trees.

    Signed weights are taken as they are: the gradient w (p − y) of each event is signed, its second derivative counts
    as |w| p (1 − p). A leaf that stands still then has Σ w (p − y) = 0, as it should, and no step can go the wrong
    way. LightGBM's own step divides by Σ w p (1 − p), which is near zero or negative in leaves where weights cancel.
    Without negative weights both are the same, and LightGBM's own is used.

    Parameters
    ----------
    trees
        the most trees (NTrees).
    learning_rate
        Shrinkage.
    leaves, depth
        the most leaves of a tree, and its depth (MaxDepth), −1 for any.
    min_events_in_leaf
        MinNodeSize, as a number of events.
    min_hessian_in_leaf
        the least sum of w p (1 − p) in a leaf, with weights of mean 1.
    min_gain
        the least gain in loss for which a node is split.
    row_fraction, column_fraction
        fractions of events and of variables drawn for each tree.
    l2
        L2 penalty on the leaves.
    patience
        stop after so many trees without a better validation loss; 0 never.
    seed, threads
        the same seed gives the same trees with any number of threads.
    """

    estimator_name = "boosted-trees"
    accepts_negative_weight = True

    def __init__(
        self,
        *,
        trees: int = 500,
        learning_rate: float = 0.05,
        leaves: int = 31,
        depth: int = -1,
        min_events_in_leaf: int = 50,
        min_hessian_in_leaf: float = 1e-3,
        min_gain: float = 0.0,
        row_fraction: float = 1.0,
        column_fraction: float = 1.0,
        l2: float = 0.0,
        patience: int = 30,
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.trees = trees
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.depth = depth
        self.min_events_in_leaf = min_events_in_leaf
        self.min_hessian_in_leaf = min_hessian_in_leaf
        self.min_gain = min_gain
        self.row_fraction = row_fraction
        self.column_fraction = column_fraction
        self.l2 = l2
        self.patience = patience
        self.seed = seed
        self.threads = threads

    def fit(self, X: Any, y: Any, weight: Any | None = None, *, validation: Labelled | None = None) -> Self:
        """Fit on X of shape (event, variable).

        Raises
        ------
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``; the weights of ``validation`` need a positive sum, too.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        held_out = None if validation is None else self._held_out(validation)
        if (weight < 0).any() or (held_out is not None and (held_out[2] < 0).any()):
            return self._fit_signed(X, y, weight / weight.mean(), held_out)
        train = lightgbm_dataset(X, y, weight / weight.mean())
        check = None if held_out is None else train.create_valid(held_out[0], held_out[1], weight=held_out[2])
        self.grow(train, {"objective": "binary", "metric": "binary_logloss"}, validation=check, patience=self.patience)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        return two_columns(expit(self.raw_score(prediction_inputs(self, X))))

    def _held_out(self, validation: Labelled) -> tuple[NDArray[Any], NDArray[np.int8], NDArray[np.float64]]:
        weight = check_weight(self, validation.weight, len(validation.X))
        y = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
        return prediction_inputs(self, validation.X), y, weight / weight.mean()

    def _fit_signed(self, X: NDArray[Any], y: NDArray[np.int8], weight: NDArray[np.float64], held_out: Any) -> Self:
        signal = weight[y == 1].sum() / weight.sum()
        start = float(np.log(signal / (1.0 - signal)))
        train, check = lightgbm_dataset(X, y, weight, start=start), None
        if held_out is not None:
            init = np.full(len(held_out[1]), start)
            check = train.create_valid(held_out[0], held_out[1], weight=held_out[2], init_score=init)
        self.grow(
            train,
            {"objective": signed_gradient, "metric": "none"},
            validation=check,
            loss=signed_log_loss,
            patience=self.patience,
        )
        add_to_first_tree(self.booster_, start)
        return self


def signed_gradient(score: NDArray[np.float64], data: lightgbm.Dataset) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gradient w (p − y), and |w| p (1 − p) in the place of the second derivative, shape (event,) each."""
    p, (y, weight) = expit(score), _labelled(data)
    return weight * (p - y), np.abs(weight) * p * (1.0 - p)


def signed_log_loss(score: NDArray[np.float64], data: lightgbm.Dataset) -> tuple[str, float, bool]:
    """Mean log loss with signed weights, as LightGBM asks for it: name, value, whether larger is better."""
    y, weight = _labelled(data)
    loss = np.logaddexp(0.0, np.where(y > 0, -score, score))
    return "loss", float(weight @ loss / weight.sum()), False


def _labelled(data: lightgbm.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and weights as LightGBM holds them (float32)."""
    return np.asarray(data.get_label(), np.float64), np.asarray(data.get_weight(), np.float64)
