"""How a node of a classification tree is judged: by the impurity that a cut takes away."""

from __future__ import annotations

from typing import Any, Literal, get_args

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name

Criterion = Literal["gini", "entropy", "squared-error"]
"""gini: 2 p (1 − p); entropy: −p log₂ p − (1 − p) log₂(1 − p); squared-error: p (1 − p), the variance of the label.

The squared error of labels 0 and 1 is half of Gini's index, so both choose the same cuts; only ``min_gain`` counts in
other units.
"""


def splitting(criterion: Criterion, min_gain: float) -> dict[str, Any]:
    """scikit-learn's names for a criterion and its least gain.

    >>> splitting("squared-error", 0.01)
    {'criterion': 'gini', 'min_impurity_decrease': 0.02}

    Raises
    ------
    ConfigError
        for an unknown criterion.
    """
    if criterion not in get_args(Criterion):
        raise ConfigError(unknown_name("criterion", criterion, get_args(Criterion)))
    if criterion == "squared-error":
        return {"criterion": "gini", "min_impurity_decrease": 2.0 * min_gain}
    return {"criterion": criterion, "min_impurity_decrease": min_gain}
