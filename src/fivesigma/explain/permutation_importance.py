"""Permutation importance: how much AUC is lost when one input is shuffled among the events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, FeatureError, NoEventsError, WeightError
from fivesigma.explain.weighted_images import Floats, Mask, aligned, json_array, weights_of


class ProbabilisticEstimator(Protocol):
    """What is asked of a model."""

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """(event, 2): background, signal."""


@dataclass(frozen=True, eq=False)
class PermutationImportance:
    """Loss of AUC by shuffling each feature, the most important first.

    Correlated features stand in for each other: both may look unimportant while neither is.
    """

    auc: float  # with nothing shuffled
    feature: tuple[str, ...]
    importance: Floats  # (feature,) AUC − AUC with the feature shuffled, mean over repeats
    uncertainty: Floats  # (feature,) of the sample (paired DeLong over events) and of the shuffling, in quadrature
    repeats: int

    how = "paired DeLong over events, and spread of the repeats"

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "auc": self.auc,
            "feature": list(self.feature),
            "importance": json_array(self.importance),
            "uncertainty": json_array(self.uncertainty),
            "repeats": self.repeats,
            "how": self.how,
        }


def permutation_importance(
    estimator: ProbabilisticEstimator,
    X: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    features: Sequence[str] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> PermutationImportance:
    """Shuffle one feature at a time and see what is lost (Breiman, Machine Learning 45 (2001) 5).

    Use events that the model was not trained on.

    Parameters
    ----------
    estimator : with ``predict_proba``.
    X : (event, feature).
    y, weight : (row,) as everywhere; signed weights allowed.
    event : (row,) identities: rows of one event count as one piece of information in the uncertainty.
    features : names; numbers if left out.
    """
    matrix = np.asarray(X)
    if matrix.ndim != 2:
        raise FeatureError(f"X: expected shape (event, feature), got {matrix.shape}")
    rows, columns = matrix.shape
    names = tuple(features) if features is not None else tuple(f"feature {i}" for i in range(columns))
    if len(names) != columns:
        raise FeatureError(f"features: expected {columns} names, got {len(names)}: {', '.join(names)}")
    if repeats < 2:
        raise ConfigError(f"repeats: expected at least 2 to see their spread, got {repeats}")
    signal, weights = aligned("y", y, rows) == 1, weights_of(weight, rows)
    groups = np.arange(rows) if event is None else np.unique(np.asarray(event), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    auc, influence = auc_influence(estimator.predict_proba(matrix)[:, 1], signal, weights)
    importance, uncertainty = np.empty(columns), np.empty(columns)
    for column in range(columns):
        losses, shuffled_influence = np.empty(repeats), np.zeros(rows)
        for repeat in range(repeats):
            shuffled = matrix.copy()
            shuffled[:, column] = rng.permutation(matrix[:, column])
            value, one = auc_influence(estimator.predict_proba(shuffled)[:, 1], signal, weights)
            losses[repeat] = auc - value
            shuffled_influence += one / repeats
        per_event = np.bincount(groups, influence - shuffled_influence)
        importance[column] = losses.mean()
        uncertainty[column] = math.hypot(float(np.sqrt((per_event**2).sum())), losses.std(ddof=1) / math.sqrt(repeats))
    order = np.argsort(-importance, kind="stable")
    return PermutationImportance(auc, tuple(names[i] for i in order), importance[order], uncertainty[order], repeats)


def auc_influence(score: NDArray[Any], signal: Mask, weight: Floats) -> tuple[float, Floats]:
    """Weighted AUC, and by how much each row moves it (DeLong et al., Biometrics 44 (1988) 837, with weights).

    The variance of the AUC is the sum over events of the squared sum of their rows' influences.
    """
    for name, mask in (("signal", signal), ("background", ~signal)):
        if not mask.any():
            raise NoEventsError(f"no {name} events among {len(signal)}")
        if not weight[mask].sum() > 0:
            raise WeightError(f"the weights of the {name} events sum to {weight[mask].sum():.6g}, expected more than 0")
    s, b = weight[signal] / weight[signal].sum(), weight[~signal] / weight[~signal].sum()
    beaten = _fraction_below(score[signal], score[~signal], b)  # of background, by each signal row
    beating = 1 - _fraction_below(score[~signal], score[signal], s)  # of signal, over each background row
    auc = float(s @ beaten)
    influence = np.empty(len(score))
    influence[signal] = s * (beaten - auc)
    influence[~signal] = b * (beating - auc)
    return auc, influence


def _fraction_below(score: NDArray[Any], others: NDArray[Any], share: Floats) -> Floats:
    """The share of ``others`` that lie below each score, ties counting half."""
    order = np.argsort(others, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(share[order])])
    below = np.searchsorted(others[order], score, side="left")
    not_above = np.searchsorted(others[order], score, side="right")
    fraction: Floats = (cumulative[below] + cumulative[not_above]) / 2
    return fraction
