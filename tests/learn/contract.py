"""Which options estimators are tested with, and every exception to scikit-learn's contract, each with its reason.

A new estimator is tested with its own defaults unless it stands here; docs/networks.md shows the exceptions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fivesigma.learn import ESTIMATORS

NOT_TABULAR = {
    "cnn": "takes images only",
    "locally-connected": "takes images only",
}
"""Estimators that scikit-learn's checks, with their tables of numbers, cannot call."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "single-variable": {"check_classifiers_train": "wants an accuracy that needs both of its two variables"},
}
"""Estimator → check of scikit-learn that cannot pass → why. One that passes all the same is an error."""

_NETWORK: dict[str, Any] = {"epochs": 12, "batch_size": 32, "learning_rate": 0.03, "precision": "float32"}
_ERROR_BARS: dict[str, Any] = {"nodes": [16], "epochs": 12, "batch_size": 32, "learning_rate": 0.03}
_SMALL = {"trunk": {"from": "x", "layers": [{"dense": 16, "activation": "relu"}]}}
CHECKED: dict[str, dict[str, Any]] = {
    "adaboost": {"trees": 10, "min_events_in_leaf": 1},
    "boosted-trees": {"trees": 20, "min_events_in_leaf": 1},
    "boosted-trees-regressor": {"trees": 50, "learning_rate": 0.1, "min_events_in_leaf": 1},
    "decision-tree": {"min_events_in_leaf": 1},
    "deep-ensemble": {**_ERROR_BARS, "members": 2},
    "deep-ensemble-regressor": {**_ERROR_BARS, "members": 2},
    "dense": {**_NETWORK, "dropout": 0.0, "architecture": {"nodes": [8]}},
    "laplace": {**_ERROR_BARS, "draws": 20},
    "laplace-regressor": {**_ERROR_BARS, "draws": 20},
    "maxout": {**_NETWORK, "dropout": 0.0, "architecture": {"maxout_nodes": [8], "nodes": [4]}},
    "mc-dropout": {**_ERROR_BARS, "draws": 20},
    "mc-dropout-regressor": {**_ERROR_BARS, "draws": 20},
    "network": {**_NETWORK, "blocks": _SMALL},
    "network-regressor": {**_NETWORK, "blocks": _SMALL},
    "random-forest": {"trees": 10, "min_events_in_leaf": 1},
    "random-forest-regressor": {"trees": 10, "min_events_in_leaf": 1},
    "variational": {**_ERROR_BARS, "draws": 20},
    "variational-regressor": {**_ERROR_BARS, "draws": 20},
}
"""Options for scikit-learn's checks: small, but trained long enough to learn something."""

_FEW_EPOCHS: dict[str, Any] = {"epochs": 1, "nodes": [4]}
QUICK: dict[str, dict[str, Any]] = {
    "adaboost": {"trees": 3},
    "boosted-trees": {"trees": 5},
    "boosted-trees-regressor": {"trees": 5},
    "deep-ensemble": {**_FEW_EPOCHS, "members": 2},
    "deep-ensemble-regressor": {**_FEW_EPOCHS, "members": 2},
    "dense": {"epochs": 1, "architecture": {"nodes": [4]}},
    "flatness-boosting": {"trees": 5},
    "gradient-reversal": {"epochs": 1, "network_options": {"architecture": {"nodes": [4]}}},
    "laplace": {**_FEW_EPOCHS, "draws": 5},
    "laplace-regressor": {**_FEW_EPOCHS, "draws": 5},
    "maxout": {"epochs": 1, "architecture": {"maxout_nodes": [4], "nodes": [4]}},
    "mc-dropout": {**_FEW_EPOCHS, "draws": 5},
    "mc-dropout-regressor": {**_FEW_EPOCHS, "draws": 5},
    "network": {"epochs": 1, "blocks": _SMALL},
    "network-regressor": {"epochs": 1, "blocks": _SMALL},
    "pivot": {"iterations": 1, "adversary_steps": 1, "adversary_pretraining": 1, "network_options": {"epochs": 5}},
    "random-forest": {"trees": 3},
    "random-forest-regressor": {"trees": 3},
    "uboost": {"trees": 5},
    "variational": {**_FEW_EPOCHS, "draws": 5},
    "variational-regressor": {**_FEW_EPOCHS, "draws": 5},
}
"""Options where it matters only that something is fitted."""

TABULAR = [name for name in ESTIMATORS if name not in NOT_TABULAR]

_RNG = np.random.default_rng(7)
Y = _RNG.integers(0, 2, 400)
X = _RNG.normal(size=(400, 2)) + Y[:, None]


def is_regressor(name: str) -> bool:
    """Whether it predicts a number."""
    return getattr(ESTIMATORS[name], "task", "classification") == "regression"


def told(name: str) -> dict[str, Any]:
    """What ``fit`` needs beside X, y and weight: nuisances, or the domain of each event of X."""
    given: dict[str, Any] = {}
    if getattr(ESTIMATORS[name], "takes_nuisance", False):
        given["nuisance"] = X[:, :1] + _NOISE[:, None]
    if getattr(ESTIMATORS[name], "takes_domain", False):
        given["domain"] = (_NOISE > 0).astype(np.int8)
    return given


_NOISE = _RNG.normal(size=len(Y))
CHECKABLE = [name for name in TABULAR if not told(name)]
"""Those that scikit-learn's checks can fit: with X, y and weight alone."""
COSTLY = ("deep-ensemble", "deep-ensemble-regressor", "laplace-regressor", "mc-dropout", "variational-regressor")
"""Of these, the ones whose checks are left to `make test-slow`; their sisters share the code that is checked always."""


def predicted(model: Any, inputs: Any) -> Any:
    """Probabilities, or the number."""
    return model.predict_proba(inputs) if hasattr(model, "predict_proba") else model.predict(inputs)
