"""What all learners on LightGBM share: how trees grow, the loop over trees, LightGBM's text on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError
from fivesigma.core.integrity import atomic_path, file_digest, write_json
from fivesigma.core.progress import progress
from fivesigma.models.model_folder import read_model_json

Objective = Callable[[NDArray[np.float64], lightgbm.Dataset], tuple[NDArray[Any], NDArray[Any]]]
"""Scores of all events → gradient and Hessian of the loss, each of the scores' shape."""
FILE = "trees.txt"


class LightGbmModel:
    """A learner whose trees are ``booster_``; options as attributes, named as in ``growth``."""

    estimator_name: ClassVar[str]

    booster_: lightgbm.Booster
    history_: list[dict[str, float]]
    """Loss after each tree: ``{"tree", "train_loss", "validation_loss"}``, where the loss has a value."""

    def growth(self) -> dict[str, Any]:
        """LightGBM's names of the options that all its learners have."""
        row_fraction = getattr(self, "row_fraction", 1.0)
        return {
            "learning_rate": self.learning_rate,  # type: ignore[attr-defined]
            "num_leaves": self.leaves,  # type: ignore[attr-defined]
            "max_depth": self.depth,  # type: ignore[attr-defined]
            "min_data_in_leaf": self.min_events_in_leaf,  # type: ignore[attr-defined]
            "min_sum_hessian_in_leaf": getattr(self, "min_hessian_in_leaf", 1e-3),
            "min_gain_to_split": getattr(self, "min_gain", 0.0),
            "bagging_fraction": row_fraction,
            "bagging_freq": 1 if row_fraction < 1.0 else 0,
            "feature_fraction": getattr(self, "column_fraction", 1.0),
            "lambda_l2": getattr(self, "l2", 0.0),
            "seed": self.seed,  # type: ignore[attr-defined]
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,  # type: ignore[attr-defined]
            "verbosity": -1,
        }

    def grow(
        self,
        train: lightgbm.Dataset,
        parameters: Mapping[str, Any],
        *,
        validation: lightgbm.Dataset | None = None,
        loss: Callable[..., Any] | None = None,
        patience: int = 0,
    ) -> None:
        """Grow ``self.trees`` trees into ``booster_``, fewer if the validation loss has not improved for ``patience``."""
        measured = loss is not None or parameters.get("metric", "none") != "none"
        sets = [train] if validation is None else [train, validation]
        self.history_ = []
        with progress(self.trees, "boosted trees", "trees") as advance:  # type: ignore[attr-defined]
            callbacks: list[Any] = [_History(self.history_, advance)]
            if validation is not None and patience > 0:
                callbacks.append(lightgbm.early_stopping(patience, verbose=False))
            booster = lightgbm.train(
                {**self.growth(), **parameters},
                train,
                self.trees,  # type: ignore[attr-defined]
                valid_sets=sets if measured else None,
                valid_names=["train", "validation"][: len(sets)] if measured else None,
                feval=loss,
                callbacks=callbacks,
            )
        best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
        self.booster_ = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best))

    def raw_score(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of all trees, shape (event,) or (event, output)."""
        return np.asarray(self.booster_.predict(X, num_threads=self.threads, raw_score=True))  # type: ignore[attr-defined]

    @property
    def n_parameters(self) -> int:
        """Cuts (variable and value) and leaf values of all trees."""
        leaves = sum(tree["num_leaves"] for tree in self.booster_.dump_model()["tree_info"])
        return int(leaves + 2 * (leaves - self.booster_.num_trees()))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``trees.txt`` (LightGBM's text) into ``folder``."""
        path = Path(folder) / FILE
        with atomic_path(path) as temporary:
            temporary.write_text(self.booster_.model_to_string(), encoding="utf-8")
        content = {"files": {path.name: file_digest(path)}, **self._description(), "history": self.history_}  # type: ignore[attr-defined]
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
        model: Self = cls._described(content)  # type: ignore[attr-defined]
        model.history_ = content["history"]
        path = Path(folder) / FILE
        try:
            model.booster_ = lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"cannot read {path}: {error}") from error
        return model


def lightgbm_dataset(
    X: NDArray[Any], y: NDArray[Any], weight: NDArray[np.float64] | None = None, *, start: float = 0.0
) -> lightgbm.Dataset:
    """Events as LightGBM takes them; ``start`` is a score that all have before the first tree."""
    init = np.full(len(X), start) if start else None
    return lightgbm.Dataset(X, y, weight=weight, init_score=init, params={"verbosity": -1})


def add_to_first_tree(booster: lightgbm.Booster, start: float) -> None:
    """Put a common score into the leaves of the first tree, as LightGBM does with its own."""
    for leaf in range(booster.dump_model(num_iteration=1)["tree_info"][0]["num_leaves"]):
        booster.set_leaf_output(0, leaf, booster.get_leaf_output(0, leaf) + start)


class _History:
    """LightGBM's callback: losses after each tree, and progress."""

    def __init__(self, history: list[dict[str, float]], advance: Callable[[int], Any]) -> None:
        self.history, self.advance = history, advance
        self.order = 10  # before early stopping, which leaves by an exception
        self.before_iteration = False

    def __call__(self, env: Any) -> None:
        measured: Sequence[Any] = env.evaluation_result_list
        if measured:
            losses = {f"{name}_loss": float(value) for name, _, value, *_ in measured}
            self.history.append({"tree": env.iteration + 1, **losses})
        self.advance(1)
