"""What all our learners share as scikit-learn classifiers: two classes, ``predict``, and a folder on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from fivesigma.models.model_folder import Arrays, read_model, write_model


class BinaryClassifier(ClassifierMixin, BaseEstimator, ABC):
    """Signal (the second label) against background (the first).

    ``accepts_negative_weight`` says whether ``fit`` takes signed weights. ``fitted_arrays`` names the attributes, all
    of them arrays, that make a fitted learner; ``save`` and ``load`` write exactly these beside the options.
    """

    estimator_name: ClassVar[str]
    accepts_negative_weight: ClassVar[bool] = True
    fitted_arrays: ClassVar[tuple[str, ...]] = ()

    classes_: NDArray[Any]
    n_features_in_: int

    @abstractmethod
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""

    def predict(self, X: Any) -> NDArray[Any]:
        """The label whose probability is larger, shape (event,)."""
        label = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[label])

    def save(self, folder: Path) -> None:
        """Write options and fitted arrays into ``folder``."""
        arrays: Arrays = {name: np.asarray(getattr(self, name)) for name in self.fitted_arrays}
        write_model(folder, self.estimator_name, self._description(), arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content, arrays = read_model(folder, cls.estimator_name)
        model = cls._described(content)
        for name in cls.fitted_arrays:
            setattr(model, name, arrays[name])
        return model

    def _description(self) -> dict[str, Any]:
        options = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        return {"options": options, "classes": self.classes_.tolist(), "n_features_in": int(self.n_features_in_)}

    @classmethod
    def _described(cls, content: dict[str, Any]) -> Self:
        model = cls(**content["options"])
        model.classes_ = np.asarray(content["classes"])
        model.n_features_in_ = content["n_features_in"]
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _plain(value: Any) -> Any:
    """An option as JSON holds it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def two_columns(signal: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities of background and signal from that of signal, shape (event,) → (event, 2)."""
    p = np.asarray(signal, dtype=np.float64)
    return np.stack([1.0 - p, p], axis=1)
