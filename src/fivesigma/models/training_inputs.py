"""What every learner checks before it learns: shapes, finite values, two classes, weights that it can take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from fivesigma.core.errors import FeatureError, WeightError


class InvalidInputsError(FeatureError, ValueError):
    """Inputs that no learner can take; also a ``ValueError``, as scikit-learn's tools expect."""


class InvalidWeightError(WeightError, ValueError):
    """Weights that this learner cannot take; also a ``ValueError``, as scikit-learn's tools expect."""


class TrainingInputs(NamedTuple):
    """Inputs that were checked: labels are 0 and 1, weights are there."""

    X: NDArray[Any]  # (event, …)
    y: NDArray[np.int8]  # (event,)
    weight: NDArray[np.float64]  # (event,)
    classes: NDArray[Any]  # (2,): what was called background and signal; (class,) with ``multi_class``


class RegressionInputs(NamedTuple):
    """Inputs that were checked: targets are finite numbers, weights are there."""

    X: NDArray[Any]  # (event, …)
    y: NDArray[np.float64]  # (event,)
    weight: NDArray[np.float64]  # (event,)


def training_inputs(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    weight: Any | None,
    *,
    images: bool = False,
    multi_class: bool = False,
    dtype: type | tuple[type, ...] = np.float64,
) -> TrainingInputs:
    """Check what ``fit`` was given; with ``images`` also (event, row, column), with ``multi_class`` more than two.

    The second of the two sorted labels is the signal. ``estimator.accepts_negative_weight`` decides about signed
    weights.

    Raises
    ------
    InvalidInputsError
        wrong shapes, NaN or infinity, not exactly two classes (with ``multi_class``: fewer than two, more than 127).
    InvalidWeightError
        weights of another length, not finite, without a positive sum in a class, or negative where they are refused.
    """
    try:
        X, y = validate_data(estimator, X, y, dtype=dtype, allow_nd=images)
        check_classification_targets(y)
    except ValueError as error:
        raise InvalidInputsError(str(error)) from error
    if type_of_target(y) == "multiclass" and not multi_class:
        raise InvalidInputsError("Only binary classification is supported. The type of the target is multiclass.")
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2 or len(classes) > np.iinfo(np.int8).max:
        raise InvalidInputsError(f"expected two classes, got {len(classes)} class: {classes[:5].tolist()}")
    checked = check_weight(estimator, weight, len(X))
    for label in range(len(classes)):
        if (total := checked[labels == label].sum()) <= 0:
            raise InvalidWeightError(
                f"expected a positive sum of weights in class {classes.tolist()[label]!r}, got {total:g}"
            )
    return TrainingInputs(X, labels.astype(np.int8), checked, classes)


def regression_inputs(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    weight: Any | None,
    *,
    images: bool = False,
    dtype: type | tuple[type, ...] = np.float64,
) -> RegressionInputs:
    """Check what ``fit`` of a regressor was given; see ``training_inputs``.

    Raises
    ------
    InvalidInputsError
        wrong shapes, NaN or infinity in inputs or targets.
    InvalidWeightError
        weights of another length, not finite, without a positive sum, or negative where they are refused.
    """
    try:
        X, y = validate_data(estimator, X, y, dtype=dtype, allow_nd=images, y_numeric=True)
    except ValueError as error:
        raise InvalidInputsError(str(error)) from error
    checked = check_weight(estimator, weight, len(X))
    if (total := checked.sum()) <= 0:
        raise InvalidWeightError(f"expected a positive sum of weights, got {total:g}")
    return RegressionInputs(X, np.asarray(y, dtype=np.float64), checked)


def check_weight(estimator: Any, weight: Any | None, events: int) -> NDArray[np.float64]:
    """Weights as float64 of shape (event,), ones if None; see ``training_inputs``."""
    if weight is None:
        return np.ones(events)
    array = np.asarray(weight, dtype=np.float64)
    if array.shape != (events,):
        raise InvalidWeightError(f"expected one weight per event ({events},), got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidWeightError(f"{(~np.isfinite(array)).sum()} of {events} weights are not finite")
    negative = int((array < 0).sum())
    if negative and not estimator.accepts_negative_weight:
        raise InvalidWeightError(
            f"{type(estimator).__name__} cannot learn from negative weights, and {negative} of {events} are negative; "
            "choose the weight policy 'absolute-rescaled', 'pair-cancel' or 'drop-negative'"
        )
    return array


def prediction_inputs(
    estimator: BaseEstimator, X: Any, *, images: bool = False, dtype: type | tuple[type, ...] = np.float64
) -> NDArray[Any]:
    """Check what ``predict_proba`` was given against what was seen in ``fit``."""
    check_is_fitted(estimator, "classes_" if is_classifier(estimator) else "n_features_in_")
    try:
        checked: NDArray[Any] = validate_data(estimator, X, dtype=dtype, reset=False, allow_nd=images)
    except ValueError as error:
        raise InvalidInputsError(str(error)) from error
    return checked
