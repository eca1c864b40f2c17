"""Fisher's linear discriminant, on tabular features or on jet images ("Fisher-jet", arXiv:1407.5675)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.training_inputs import prediction_inputs, training_inputs


@ESTIMATORS.register("fisher")
class Fisher(BinaryClassifier):
    """The direction that separates the class means best in units of the covariance inside the classes.

    direction = C⁻¹ (mean_signal − mean_background), with C the weighted covariance inside the classes. C is shrunk
    towards its mean variance, C → (1 − s) C + s · trace(C)/features · 1, which jet images need: pixels at the rim are
    nearly always empty. Both classes count the same (prior 1/2): their normalisation changes nothing.

    Parameters
    ----------
    shrinkage
        s between 0 and 1; 0 is Fisher's original (a pseudo-inverse if C is singular).

    Signed weights are allowed: means and covariances are sums over events.
    """

    estimator_name = "fisher"
    accepts_negative_weight = True
    fitted_arrays = ("direction_", "offset_")

    direction_: NDArray[np.float64]  # (feature,)
    offset_: NDArray[np.float64]  # (): makes σ(direction · x + offset) the signal probability of two Gaussians

    def __init__(self, *, shrinkage: float = 1e-3) -> None:
        self.shrinkage = shrinkage

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on X of shape (event, feature) or (event, row, column); ``validation`` is not needed.

        Raises
        ------
        ConfigError
            if ``shrinkage`` is outside [0, 1].
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        if not 0.0 <= self.shrinkage <= 1.0:
            raise ConfigError(f"shrinkage must lie between 0 and 1, got {self.shrinkage}")
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, images=True)
        X = X.reshape(len(X), -1)  # (event, feature)
        means, covariance = [], np.zeros((X.shape[1], X.shape[1]))
        for label in (0, 1):
            w = weight[y == label] / weight[y == label].sum()
            mean = w @ X[y == label]  # (feature,)
            centred = X[y == label] - mean
            covariance += (centred.T @ (w[:, None] * centred)) / 2.0
            means.append(mean)
        variance = np.trace(covariance) / len(covariance)
        covariance = (1.0 - self.shrinkage) * covariance + self.shrinkage * variance * np.eye(len(covariance))
        self.direction_ = linalg.lstsq(covariance, means[1] - means[0])[0]
        self.offset_ = np.asarray(-self.direction_ @ (means[0] + means[1]) / 2.0)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Direction · x + offset: positive on the signal's side; shape (event,)."""
        X = prediction_inputs(self, X, images=True)
        return np.asarray(X.reshape(len(X), -1) @ self.direction_ + self.offset_)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """σ(direction · x + offset), exact for two Gaussians of one covariance; shape (event, 2)."""
        return two_columns(special.expit(self.decision_function(X)))
