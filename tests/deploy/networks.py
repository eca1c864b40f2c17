"""Small networks with every kind of layer that can be written in C, random but for what training must give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tests.deploy.models import INPUTS, Scaling, toy_events, toy_model

from fivesigma.deploy import TrainedModel
from fivesigma.learn import (
    DeclaredClassifier,
    DeclaredRegressor,
    DeepEnsembleClassifier,
    DeepEnsembleRegressor,
    DenseClassifier,
    MaxoutClassifier,
    PivotClassifier,
)

BLOCKS: dict[str, Any] = {
    "first": {
        "from": "x",
        "layers": [
            {"dense": 12, "activation": "tanh"},
            {"residual": ["batch-norm", {"dense": 12, "activation": "prelu"}, {"dense": 12}]},
            "batch-norm",
        ],
    },
    "second": {
        "from": "first",
        "layers": [{"maxout": 7, "pieces": 3}, {"highway": "elu"}, "sigmoid", {"dropout": 0.1}],
    },
    "third": {"from": ["second", "first"], "layers": [{"dense": 9, "activation": "elu"}, "relu"]},
}
FLOAT_ONLY: dict[str, Any] = {
    "trunk": {
        "from": "x",
        "layers": [{"dense": 8, "activation": "relu"}, "layer-norm", {"dense": 5, "activation": "softmax"}],
    }
}


def network(kind: str, scaling: Scaling | None = "standard") -> TrainedModel:
    """A fitted network of three inputs, by the name of its learner."""
    quick: dict[str, Any] = {"epochs": 2, "seed": 3}
    heads = {"signal": {"from": "third", "loss": "bce"}}
    if kind == "pivot":
        model = network("dense", scaling)
        columns, y = toy_events(500, 4)
        X = model.scaled(np.stack([columns[name] for name in INPUTS], axis=1))
        options = {"architecture": {"nodes": [6]}, "epochs": 1}
        pivot = PivotClassifier(iterations=3, adversary_pretraining=1, adversary_steps=1, network_options=options)
        return replace(model, estimator=pivot.fit(X, y, nuisance=columns["jet_mass"][:, None]))
    makers: dict[str, Any] = {
        "dense": lambda: DenseClassifier(architecture={"nodes": [16, 8]}, **quick),
        "maxout": lambda: MaxoutClassifier(architecture={"maxout_nodes": [8], "nodes": [6]}, **quick),
        "network": lambda: DeclaredClassifier(blocks=BLOCKS, heads=heads, **quick),
        "two outputs": lambda: DeclaredClassifier(
            blocks=FLOAT_ONLY, heads={"signal": {"from": "trunk", "loss": "cross-entropy"}}, **quick
        ),
        "network-regressor": lambda: DeclaredRegressor(
            blocks=BLOCKS, heads={"y": {"from": "third", "loss": "quantile"}}, **quick
        ),
        "deep-ensemble": lambda: DeepEnsembleClassifier(members=3, bootstrap=True, nodes=(8,), **quick),
        "deep-ensemble-regressor": lambda: DeepEnsembleRegressor(members=2, nodes=(8,), **quick),
    }
    return toy_model(makers[kind](), scaling)
