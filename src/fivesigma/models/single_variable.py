"""One variable alone: τ21 by its value, or the jet mass by its likelihood ratio."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.likelihood_ratio import LikelihoodRatio
from fivesigma.models.monotone_probability import fit_monotone_probability, monotone_probability
from fivesigma.models.training_inputs import prediction_inputs, training_inputs


@ESTIMATORS.register("single-variable")
class SingleVariable(BinaryClassifier):
    """The discrimination of one column of X.

    Parameters
    ----------
    column
        which column of X, from 0; the others are ignored.
    method
        "likelihood-ratio": binned, for variables that peak (the mass); "greater" or "less": the plain variable, signal at
        large or at small values, for cuts such as τ21 < c.
    bins
        bins of the likelihood ratio, see ``LikelihoodRatio``.
    """

    estimator_name = "single-variable"
    accepts_negative_weight = True
    fitted_arrays = ("knots_", "probability_")

    knots_: NDArray[np.float64]  # (knot,): bin edges of the likelihood ratio, or points of the interpolation
    probability_: NDArray[np.float64]  # (knot + 1,) or (knot,)

    def __init__(
        self,
        *,
        column: int = 0,
        method: Literal["likelihood-ratio", "greater", "less"] = "likelihood-ratio",
        bins: int | None = None,
    ) -> None:
        self.column = column
        self.method = method
        self.bins = bins

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on one column of X (event, variable); ``validation`` is not needed.

        Raises
        ------
        ConfigError
            if the method is unknown or X has no such column.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        if self.method not in {"likelihood-ratio", "greater", "less"}:
            raise ConfigError(f"unknown method {self.method!r}; known: likelihood-ratio, greater, less")
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        if not 0 <= self.column < X.shape[1]:
            raise ConfigError(f"column {self.column} is not in X, which has {X.shape[1]} columns")
        value = X[:, self.column]
        if self.method == "likelihood-ratio":
            ratio = LikelihoodRatio(bins=self.bins).fit(value[:, None], y, weight)
            self.knots_, self.probability_ = ratio.edges_[0], ratio.probability_
        else:
            self.knots_, self.probability_ = fit_monotone_probability(self._signed(value), y, weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """s/(s + b) of the bin, or a probability in the order of the variable; shape (event, 2)."""
        value = prediction_inputs(self, X)[:, self.column]
        if self.method == "likelihood-ratio":
            return two_columns(self.probability_[np.searchsorted(self.knots_, value, side="right")])
        return two_columns(monotone_probability(self._signed(value), self.knots_, self.probability_))

    def _signed(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return value if self.method == "greater" else -value
