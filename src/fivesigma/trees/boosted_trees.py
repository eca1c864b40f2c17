"""Gradient-boosted decision trees by LightGBM, saved as its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.integrity import atomic_path, file_digest, write_json
from fivesigma.core.progress import progress
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.model_folder import read_model_json
from fivesigma.models.training_inputs import check_weight, prediction_inputs, training_inputs


@ESTIMATORS.register("boosted-trees")
class BoostedTrees(BinaryClassifier):
    """Boosted trees with log loss; what TMVA calls BDTG (``NTrees, Shrinkage, MaxDepth, MinNodeSize``).

    Stops early where a validation sample is given, and keeps the best number of trees. Negative weights are refused:
    LightGBM would train on them silently, with leaves whose Hessian is negative.

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
    accepts_negative_weight = False

    history_: list[dict[str, float]]
    """Log loss after each tree: ``{"tree", "train_loss", "validation_loss"}`` (validation only if given)."""

    def __init__(
        self,
        *,
        trees: int = 500,
        learning_rate: float = 0.05,
        leaves: int = 31,
        depth: int = -1,
        min_events_in_leaf: int = 50,
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
            see ``training_inputs``; negative weights are refused, in ``validation`` too.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        train = lightgbm.Dataset(X, y, weight=weight / weight.mean(), params={"verbosity": -1})
        valid_sets, valid_names = [train], ["train"]
        if validation is not None:
            w = check_weight(self, validation.weight, len(validation.X))
            X_validation = prediction_inputs(self, validation.X)
            y_validation = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
            valid_sets.append(train.create_valid(X_validation, y_validation, weight=w / w.mean()))
            valid_names.append("validation")
        self.history_ = []
        with progress(self.trees, "boosted trees", "trees") as advance:
            callbacks: list[Any] = [_History(self.history_, advance)]
            if validation is not None and self.patience > 0:
                callbacks.append(lightgbm.early_stopping(self.patience, verbose=False))
            self.booster_ = lightgbm.train(
                self._parameters(),
                train,
                self.trees,
                valid_sets=valid_sets,
                valid_names=valid_names,
                callbacks=callbacks,
            )
        best = self.booster_.best_iteration if self.booster_.best_iteration > 0 else self.booster_.current_iteration()
        self.booster_ = lightgbm.Booster(model_str=self.booster_.model_to_string(num_iteration=best))
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        X = prediction_inputs(self, X)
        return two_columns(np.asarray(self.booster_.predict(X, num_threads=self.threads)))

    @property
    def n_parameters(self) -> int:
        """Cuts and leaf values of all trees."""
        leaves = sum(tree["num_leaves"] for tree in self.booster_.dump_model()["tree_info"])
        return int(leaves + 2 * (leaves - self.booster_.num_trees()))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``trees.txt`` (LightGBM's text) into ``folder``."""
        path = Path(folder) / "trees.txt"
        with atomic_path(path) as temporary:
            temporary.write_text(self.booster_.model_to_string(), encoding="utf-8")
        content = {"files": {path.name: file_digest(path)}, **self._description(), "history": self.history_}
        write_json(Path(folder) / "model.json", {"estimator": self.estimator_name, **content})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content = read_model_json(folder, cls.estimator_name)
        model = cls._described(content)
        model.history_ = content["history"]
        try:
            model.booster_ = lightgbm.Booster(model_str=(Path(folder) / "trees.txt").read_text(encoding="utf-8"))
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"cannot read {Path(folder) / 'trees.txt'}: {error}") from error
        return model

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "min_data_in_leaf": self.min_events_in_leaf,
            "bagging_fraction": self.row_fraction,
            "bagging_freq": 1 if self.row_fraction < 1.0 else 0,
            "feature_fraction": self.column_fraction,
            "lambda_l2": self.l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }


class _History:
    """LightGBM's callback: losses after each tree, and progress."""

    def __init__(self, history: list[dict[str, float]], advance: Any) -> None:
        self.history, self.advance = history, advance
        self.order = 10  # before early stopping, which leaves by an exception
        self.before_iteration = False

    def __call__(self, env: Any) -> None:
        losses = {f"{name}_loss": float(value) for name, _, value, *_ in env.evaluation_result_list}
        self.history.append({"tree": env.iteration + 1, **losses})
        self.advance(1)
