"""The one contract that every learner keeps, trees and networks alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.registry import Registry

FloatArray = NDArray[np.floating[Any]]


class Labelled(NamedTuple):
    """Events to validate on: inputs, labels (0 background, 1 signal) and weights."""

    X: FloatArray  # (event, …)
    y: NDArray[Any]  # (event,)
    weight: NDArray[np.float64]  # (event,)
    nuisance: NDArray[np.float64] | None = None  # (event, nuisance), if the learner was given nuisances


@runtime_checkable
class Estimator(Protocol):
    """scikit-learn's contract, with ``weight`` as the field calls it.

    ``X`` has shape (event, feature) for tabular features and (event, row, column) for jet images;
    ``predict_proba`` returns (event, 2): background, signal. Saving never uses pickle.
    """

    def fit(
        self, X: FloatArray, y: NDArray[Any], weight: NDArray[Any] | None = None, *, validation: Labelled | None = None
    ) -> Self:
        """Learn; learners that do not stop early ignore ``validation``."""

    def predict_proba(self, X: FloatArray) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""

    def save(self, folder: Path) -> None:
        """Write the fitted learner into ``folder`` (created); readable by ``load`` without executing code."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical."""


ESTIMATORS: Registry[type[Any]] = Registry("estimator")
"""Every learner by the name that studies use; filled by the decorator where each is defined."""
