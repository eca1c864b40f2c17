"""What all our learners of a number share as scikit-learn regressors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from fivesigma.models.saved_estimator import SavedEstimator


class Regressor(RegressorMixin, SavedEstimator, ABC):
    """A number for each event, such as an energy; see `SavedEstimator` for what subclasses declare."""

    task: ClassVar[str] = "regression"

    @abstractmethod
    def predict(self, X: Any) -> NDArray[np.float64]:
        """The number, shape (event,)."""
