"""Small trained models: three variables of the demo's kind, signal where two of them agree."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.deploy import TrainedModel
from fivesigma.features import Tabular
from fivesigma.trees import BoostedTrees, RandomForest

INPUTS = ("jet_mass", "tau21", "subjet_dr")
Scaling = Literal["standard", "log", "quantile", "none"]


def toy_events(n: int, seed: int) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int8]]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.5).astype(np.int8)
    mass = np.where(y == 1, rng.normal(80, 5, n), rng.uniform(65, 95, n)).clip(1)
    tau21 = np.where(y == 1, rng.beta(3, 6, n), rng.beta(6, 4, n))
    return {"jet_mass": mass, "tau21": tau21, "subjet_dr": rng.gamma(3, 0.2, n)}, y


def toy_model(estimator: Any, scaling: Scaling | None = "standard", n: int = 3_000) -> TrainedModel:
    columns, y = toy_events(n, 1)
    features = None if scaling is None else Tabular(INPUTS, scaling).fit(columns)
    values = np.stack([columns[name] for name in INPUTS], axis=1)
    estimator.fit(values if features is None else features.transform(columns), y)
    recorded, labels = toy_events(4_000, 2)
    return TrainedModel(
        "toy-bdt",
        estimator,
        INPUTS,
        features,
        {"jet_mass": "GeV"},
        "0" * 32,
        "a toy",
        np.stack([recorded[name] for name in INPUTS], axis=1),
        labels,
        np.ones(len(labels)),
    )


def boosted(scaling: Scaling | None = "standard", **options: Any) -> TrainedModel:
    return toy_model(BoostedTrees(**{"trees": 20, "leaves": 12, "learning_rate": 0.2} | options), scaling)


def forest(scaling: Scaling | None = "standard", **options: Any) -> TrainedModel:
    return toy_model(RandomForest(**{"trees": 8, "depth": 6} | options), scaling)
