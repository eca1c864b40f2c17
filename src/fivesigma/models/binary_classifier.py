"""What all our classifiers share as scikit-learn's: two classes, ``predict``, and a folder on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from fivesigma.models.saved_estimator import SavedEstimator


class BinaryClassifier(ClassifierMixin, SavedEstimator, ABC):
    """Signal (the second label) against background (the first); see `SavedEstimator` for what subclasses declare."""

    classes_: NDArray[Any]

    @abstractmethod
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""

    def predict(self, X: Any) -> NDArray[Any]:
        """The label whose probability is larger, shape (event,)."""
        label = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[label])

    def _description(self) -> dict[str, Any]:
        return {**super()._description(), "classes": self.classes_.tolist()}

    @classmethod
    def _described(cls, content: dict[str, Any]) -> Self:
        model = super()._described(content)
        model.classes_ = np.asarray(content["classes"])
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def two_columns(signal: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities of background and signal from that of signal, shape (event,) → (event, 2)."""
    p = np.asarray(signal, dtype=np.float64)
    return np.stack([1.0 - p, p], axis=1)
