"""Each event by the model of its own fold, others by the mean, as by the obvious way: all models, then choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.models import INPUTS, toy_events

from fivesigma.features import Tabular
from fivesigma.learn import model_inputs
from fivesigma.predict import score_events
from fivesigma.trees import BoostedTrees

FOLDS, EVENTS = 3, 6_000  # more events than are scored at a time


@pytest.fixture(scope="module", name="models")
def _models() -> dict[str, list[Any]]:
    """A model of each fold, and one that combines its score with a variable."""
    found: dict[str, list[Any]] = {"trees": [], "combined": []}
    for k in range(FOLDS):
        columns, y = toy_events(1_500, seed=k)
        alone, combined = SimpleNamespace(scores=()), SimpleNamespace(scores=("trees",))
        features = Tabular(INPUTS).fit(columns)
        trees = BoostedTrees(trees=10, leaves=5).fit(features.transform(columns), y)
        more = Tabular(INPUTS[:1]).fit(columns)
        score = trees.predict_proba(features.transform(columns))[:, 1]
        small = BoostedTrees(trees=5, leaves=4).fit(model_inputs(columns, more, [score]), y)
        found["trees"].append((alone, features, trees))
        found["combined"].append((combined, more, small))
    return found


def all_models(columns: dict[str, NDArray[Any]], models: dict[str, list[Any]]) -> dict[str, NDArray[np.float32]]:
    """Every event by every fold's model, shape (fold, event)."""
    trees = [e.predict_proba(f.transform(columns))[:, 1].astype(np.float32) for _, f, e in models["trees"]]
    combined = [
        e.predict_proba(model_inputs(columns, f, [trees[k]]))[:, 1].astype(np.float32)
        for k, (_, f, e) in enumerate(models["combined"])
    ]
    return {"trees": np.stack(trees), "combined": np.stack(combined)}


def test_every_event_by_the_model_of_its_fold(models: dict[str, list[Any]]) -> None:
    columns, _ = toy_events(EVENTS, seed=9)
    fold = np.random.default_rng(1).integers(0, FOLDS, EVENTS).astype(np.int8)
    scores = score_events(columns, models, fold)
    for name, expected in all_models(columns, models).items():
        np.testing.assert_array_equal(scores[name], expected[fold, np.arange(EVENTS)])
        assert scores[name].dtype == np.float32


def test_without_folds_the_mean_of_all_models(models: dict[str, list[Any]]) -> None:
    columns, _ = toy_events(EVENTS, seed=9)
    scores = score_events(columns, models, None)
    for name, expected in all_models(columns, models).items():
        np.testing.assert_allclose(scores[name], expected.mean(axis=0, dtype=np.float64), rtol=1e-7)
