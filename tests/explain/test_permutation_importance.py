import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance as scikit_permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ConfigError, FeatureError, NoEventsError, WeightError
from fivesigma.explain import permutation_importance
from fivesigma.explain.permutation_importance import auc_influence


class Linear:
    """A score of known weights."""

    def __init__(self, *weights: float) -> None:
        self.weights = np.array(weights)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        p = 1 / (1 + np.exp(-np.asarray(X) @ self.weights))
        return np.stack([1 - p, p], axis=1)


def toy(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + y[:, None] * np.array([1.5, 0.5, 0.0]), y


def test_importances_are_scikit_learns() -> None:
    X, y = toy(np.random.default_rng(0), 4000)
    model = LogisticRegression().fit(X, y)
    found = permutation_importance(model, X, y, features=["strong", "weak", "noise"], repeats=10)
    expected = scikit_permutation_importance(model, X, y, scoring="roc_auc", n_repeats=10, random_state=1)
    assert found.feature == ("strong", "weak", "noise")
    assert found.importance == pytest.approx(expected.importances_mean, abs=0.01)
    assert found.auc == pytest.approx(roc_auc_score(y, model.predict_proba(X)[:, 1]))
    assert abs(found.importance[2]) < 3 * found.uncertainty[2] + 1e-3
    json.dumps(found.to_json(), allow_nan=False)


def test_the_uncertainty_is_that_of_other_samples() -> None:
    rng = np.random.default_rng(1)
    model = Linear(1.5, 0.5, 0.0)
    toys = [permutation_importance(model, *toy(rng, 300), features="abc", repeats=3, seed=i) for i in range(150)]
    importance = np.array([[dict(zip(t.feature, t.importance, strict=True))[name] for name in "ab"] for t in toys])
    stated = np.array([[dict(zip(t.feature, t.uncertainty, strict=True))[name] for name in "ab"] for t in toys])
    assert stated.mean(axis=0) == pytest.approx(importance.std(axis=0), rel=0.25)


def test_a_feature_that_is_not_used_has_exactly_no_importance() -> None:
    X, y = toy(np.random.default_rng(2), 500)
    found = permutation_importance(Linear(1.0, 0.0, 0.0), X, y)
    assert found.feature[0] == "feature 0"
    assert found.importance[1:].tolist() == [0.0, 0.0]
    assert found.uncertainty[1:] == pytest.approx([0, 0], abs=1e-12)


def test_weighted_auc_and_its_variance() -> None:
    rng = np.random.default_rng(3)
    score = rng.integers(0, 9, 300).astype(float)  # ties
    y, weight = rng.integers(0, 2, 300), rng.exponential(size=300)
    auc, influence = auc_influence(score, y == 1, weight)
    assert auc == pytest.approx(roc_auc_score(y, score, sample_weight=weight))
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    # Moving one weight a little moves the AUC by what the influence says.
    nudged = weight.copy()
    nudged[7] *= 1.001
    assert auc_influence(score, y == 1, nudged)[0] - auc == pytest.approx(0.001 * influence[7], rel=0.01)


def test_rows_of_one_event_are_one_piece_of_information() -> None:
    X, y = toy(np.random.default_rng(4), 600)
    once = permutation_importance(Linear(1.5, 0.5, 0.0), X, y, repeats=5)
    event = np.arange(600)
    twice = permutation_importance(
        Linear(1.5, 0.5, 0.0), np.tile(X, (2, 1)), np.tile(y, 2), None, np.tile(event, 2), repeats=5
    )
    assert twice.uncertainty[0] == pytest.approx(once.uncertainty[0], rel=0.2)


def test_bad_input_is_named() -> None:
    X, y = toy(np.random.default_rng(5), 20)
    model = Linear(1, 1, 1)
    with pytest.raises(FeatureError, match="X: expected shape"):
        permutation_importance(model, X[:, 0], y)
    with pytest.raises(FeatureError, match="expected 3 names, got 2: a, b"):
        permutation_importance(model, X, y, features=["a", "b"])
    with pytest.raises(ConfigError, match="repeats: expected at least 2"):
        permutation_importance(model, X, y, repeats=1)
    with pytest.raises(NoEventsError, match="no background events"):
        permutation_importance(model, X, np.ones(20))
    with pytest.raises(WeightError, match="signal events sum to 0"):
        permutation_importance(model, X, y, np.where(y == 1, 0.0, 1.0))
