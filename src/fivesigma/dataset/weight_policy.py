"""What to do with negative weights, for learners that cannot take them. Stated, never silent.

``keep``
    as they are; for learners and metrics that are defined for signed weights.
``absolute-rescaled``
    absolute values, scaled so that each class keeps its signed sum of weights.
``drop-negative``
    events of negative weight are left out, the others scaled likewise.
``pair-cancel``
    each negative weight is taken off the nearest events of positive weight of its class, until it is absorbed; every
    class keeps its sum exactly, and so does every neighbourhood, approximately.

``pair-cancel`` is a plain form of cell resampling (Andersen, Maier, arXiv:2109.07851; the idea of local cancellation
also in Andersen, Gütschow, Maier, Prestel, arXiv:2005.09375): there the cells grow around negative events in a metric
of infrared-safe objects, here around them in the given features, each scaled to unit standard deviation. The first two
policies change the shapes of distributions wherever the fraction of negative weights is not constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.core.registry import unknown_name

WeightPolicy = Literal["keep", "absolute-rescaled", "pair-cancel", "drop-negative"]
_FIRST_NEIGHBOURS = 8  # positive neighbours asked for at once; doubled while a negative weight is not absorbed


@dataclass(frozen=True)
class PolicyWeights:
    """Weights under a policy.

    ``weight`` float64 of shape (events,), ``keep`` the events that a learner should see, ``mean_distance`` of cancelled
    pairs in standard deviations of the features (NaN for other policies).
    """

    policy: WeightPolicy
    weight: NDArray[np.float64]
    keep: NDArray[np.bool_]
    negative: int
    effective_before: float
    effective_after: float
    mean_distance: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """Policy, number of negative weights, effective sample sizes (Σw)²/Σw², distance (None where it has none)."""
        return {
            "policy": self.policy,
            "negative": self.negative,
            "effective_before": self.effective_before,
            "effective_after": self.effective_after,
            "mean_distance": None if np.isnan(self.mean_distance) else self.mean_distance,
        }


def apply_weight_policy(
    policy: WeightPolicy, y: NDArray[Any], weight: NDArray[Any], features: NDArray[Any] | None = None
) -> PolicyWeights:
    """Weights that a learner can take; each class keeps its sum of weights.

    Parameters
    ----------
    policy
        see above.
    y, weight
        labels 0 and 1, and signed weights, of shape (events,).
    features
        of shape (events, feature), for "pair-cancel" only: in which events are near each other.

    Examples
    --------
    >>> y, weight = np.array([1, 1, 1, 0]), np.array([2.0, 1.0, -1.0, 3.0])
    >>> apply_weight_policy("absolute-rescaled", y, weight).weight.tolist()
    [1.0, 0.5, 0.5, 3.0]
    >>> apply_weight_policy("pair-cancel", y, weight, np.array([[0.0], [5.0], [4.0], [1.0]])).weight.tolist()
    [2.0, 0.0, 0.0, 3.0]

    Raises
    ------
    WeightError
        if a weight is not finite, a class with negative weights has no positive sum, or features are missing.
    ConfigError
        for an unknown policy.
    """
    if policy not in get_args(WeightPolicy):
        raise ConfigError(unknown_name("weight policy", policy, get_args(WeightPolicy)))
    w = np.asarray(weight, dtype=np.float64)
    if not np.isfinite(w).all():
        raise WeightError(
            f"{int((~np.isfinite(w)).sum())} weights are not finite, first event {int(np.argmin(np.isfinite(w)))}"
        )
    result, distance = w.copy(), float("nan")
    if policy != "keep" and (w < 0).any():
        for label in np.unique(y):
            members = y == label
            _refuse_negative_sum(label, w[members])
            if policy == "pair-cancel":
                continue
            positive = np.abs(w[members]) if policy == "absolute-rescaled" else np.maximum(w[members], 0.0)
            result[members] = positive * (w[members].sum() / positive.sum()) if positive.any() else positive
        if policy == "pair-cancel":
            result, distance = _pair_cancel(y, w, features)
    keep = np.ones(len(w), dtype=np.bool_)
    if policy == "drop-negative":
        keep = w >= 0
    elif policy == "pair-cancel":
        keep = (result > 0) | (w == 0)
    return PolicyWeights(
        policy, result, keep, int((w < 0).sum()), effective_sample_size(w), effective_sample_size(result), distance
    )


def effective_sample_size(weight: NDArray[Any]) -> float:
    """(Σw)²/Σw²: the number of unweighted events of the same relative uncertainty; 0 for no events."""
    squares = float(np.square(weight, dtype=np.float64).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def require_non_negative(weight: NDArray[Any], learner: str) -> None:
    """For learners that cannot take negative weights.

    >>> require_non_negative(np.array([1.0, -1.0]), "random-forest")
    Traceback (most recent call last):
    fivesigma.core.errors.WeightError: random-forest cannot take negative weights (1 of 2 events)...

    Raises
    ------
    WeightError
        if there is one; the message says which policies would do.
    """
    negative = int((np.asarray(weight) < 0).sum())
    if negative:
        raise WeightError(
            f"{learner} cannot take negative weights ({negative:,} of {len(weight):,} events): choose the policy "
            "'pair-cancel' (keeps local sums), 'absolute-rescaled' or 'drop-negative' (keep the sum of each class)"
        )


def _refuse_negative_sum(label: Any, weight: NDArray[np.float64]) -> None:
    if (weight < 0).any() and weight.sum() <= 0:
        raise WeightError(
            f"class {label} has a sum of weights of {weight.sum():.6g}: no non-negative weights have this sum; "
            "check the weights, or use 'keep' with a learner that takes them"
        )


def _pair_cancel(
    y: NDArray[Any], weight: NDArray[np.float64], features: NDArray[Any] | None
) -> tuple[NDArray[np.float64], float]:
    """Negative weights cancelled against the nearest positive ones of the class, and the mean distance of pairs."""
    if features is None:
        raise WeightError(
            "'pair-cancel' needs features: which events are near each other? Or choose 'absolute-rescaled'"
        )
    from scipy.spatial import cKDTree

    table = np.asarray(features, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(weight):
        raise WeightError(f"expected features of shape ({len(weight)}, feature), got {table.shape}")
    if not np.isfinite(table).all():
        raise WeightError("'pair-cancel' needs finite features")
    scale = table.std(axis=0)
    table = table / np.where(scale > 0, scale, 1.0)
    result = weight.copy()
    moved = far = 0.0
    for label in np.unique(y):
        positive = np.flatnonzero((y == label) & (weight > 0))
        negative = np.flatnonzero((y == label) & (weight < 0))
        if not negative.size:
            continue
        tree = cKDTree(table[positive])
        # The largest first: it needs the most of its neighbourhood. Ties by order of events: the result is unique.
        for event in negative[np.argsort(weight[negative], kind="stable")]:
            far += _absorb(result, event, positive, tree, table)
            moved -= weight[event]
            result[event] = 0.0
    return result, float(far / moved)


def _absorb(
    weight: NDArray[np.float64], event: int, positive: NDArray[np.int64], tree: Any, table: NDArray[np.float64]
) -> float:
    """Take the event's negative weight off its positive neighbours, in place; Σ of distance × weight taken."""
    missing, far, asked = -float(weight[event]), 0.0, 0
    neighbours = _FIRST_NEIGHBOURS
    while missing > 0 and asked < len(positive):
        neighbours = min(neighbours, len(positive))
        distance, found = (np.atleast_1d(a) for a in tree.query(table[event], k=neighbours))
        for d, i in zip(distance[asked:], positive[found[asked:]], strict=True):
            taken = min(missing, float(weight[i]))
            weight[i] -= taken
            missing -= taken
            far += d * taken
            if missing <= 0:
                break
        asked, neighbours = neighbours, 2 * neighbours
    return far
