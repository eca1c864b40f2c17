"""Small trained models of jet images, of jets at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivesigma.core.jagged import Column, Jagged
from fivesigma.deploy import EventColumns, JaggedModel
from fivesigma.deploy.jagged_proof import jet
from fivesigma.features import Features, JetImages
from fivesigma.features.images import COLUMNS


def random_jets(n: int, seed: int, most: int = 20) -> dict[str, Column]:
    rng = np.random.default_rng(seed)
    jets = [jet(rng, most) for _ in range(n)]
    columns: dict[str, Column] = {
        name: Jagged.from_lists([one[i // 3][:, i % 3].tolist() for one in jets]) for i, name in enumerate(COLUMNS)
    }
    return columns | {"jet_mass": rng.uniform(65, 95, n), "tau21": rng.beta(3, 4, n)}


def jet_model(estimator: Any, features: Features | None = None, n: int = 150) -> JaggedModel:
    features = JetImages(size=15) if features is None else features
    columns = {name: column for name, column in random_jets(n, 1).items() if name in features.inputs}
    y = np.arange(n) % 2
    estimator.fit(features.fit(columns).transform(columns), y)
    columns = {name: columns[name] for name in features.inputs}
    return JaggedModel(
        "toy-jets",
        estimator,
        features.inputs,
        None,
        {"constituent_pt": "GeV"},
        "0" * 32,
        "a toy",
        transform=features,
        events=EventColumns(columns),
    )
