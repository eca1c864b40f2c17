"""One tree and AdaBoost: closed forms of impurity and boosting, stopping criteria, refused weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from fivesigma.core.errors import ConfigError
from fivesigma.models.training_inputs import InvalidWeightError
from fivesigma.trees import AdaBoost, DecisionTree, RandomForest

RNG = np.random.default_rng(1)
Y = RNG.integers(0, 2, 1_000)
X = (RNG.normal(size=(1_000, 2)) + 0.8 * Y[:, None]).astype(np.float32).astype(np.float64)
WEIGHT = RNG.uniform(0.5, 2.0, 1_000)


@pytest.mark.parametrize("criterion", ["gini", "squared-error"])
def test_gini_and_squared_error_cut_like_a_regression_tree_on_the_labels(criterion: Any) -> None:
    model = DecisionTree(criterion=criterion, depth=3).fit(X, Y, WEIGHT)
    peer = DecisionTreeRegressor(max_depth=3, min_samples_leaf=20, random_state=1).fit(X, Y, WEIGHT)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], peer.predict(X), rtol=1e-12)


def test_min_gain_is_in_units_of_the_impurity() -> None:
    """A cut that separates half of the events perfectly: gain ½ by Gini, ¼ in squared error, 1 bit of entropy."""
    x, y = np.repeat([[0.0], [1.0]], 50, axis=0), np.repeat([0, 1], 50)
    for criterion, gain in (("gini", 0.5), ("squared-error", 0.25), ("entropy", 1.0)):
        split = DecisionTree(criterion=criterion, min_gain=gain - 1e-9).fit(x, y)  # type: ignore[arg-type]
        whole = DecisionTree(criterion=criterion, min_gain=gain + 1e-9).fit(x, y)  # type: ignore[arg-type]
        assert (split.n_parameters, whole.n_parameters) == (4, 1)


def test_stopping_criteria() -> None:
    assert DecisionTree(depth=None, leaves=5).fit(X, Y).forest_.get_n_leaves() == 5
    assert DecisionTree(depth=2).fit(X, Y).forest_.get_depth() == 2
    counts = np.bincount(DecisionTree(depth=None, min_events_in_leaf=60).fit(X, Y).forest_.apply(X.astype(np.float32)))
    assert counts[counts > 0].min() >= 60
    tree = DecisionTree(depth=None, min_events_in_leaf=1, min_weight_fraction_in_leaf=0.1).fit(X, Y, WEIGHT)
    weights = np.bincount(tree.forest_.apply(X.astype(np.float32)), WEIGHT)
    assert weights[weights > 0].min() >= 0.1 * WEIGHT.sum() - 1e-9


def test_first_boost_is_that_of_freund_and_schapire() -> None:
    """α = ln((1 − e)/e) of the first tree's weighted error, and equal sums of weights for both classes."""
    model = AdaBoost(trees=2, learning_rate=1.0, depth=1).fit(X, Y, np.where(Y == 1, 5.0, 1.0))
    equal = np.where(Y == 1, 0.5 / (Y == 1).sum(), 0.5 / (Y == 0).sum())
    error = equal[model.forest_.estimators_[0].predict(X.astype(np.float32)) != Y].sum()
    assert model.forest_.estimator_weights_[0] == pytest.approx(np.log((1 - error) / error))
    votes = np.stack([2.0 * tree.predict(X.astype(np.float32)) - 1.0 for tree in model.forest_.estimators_])
    alpha = model.forest_.estimator_weights_
    np.testing.assert_allclose(model.decision_function(X), alpha @ votes / alpha.sum(), atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-(alpha @ votes))), rtol=1e-12)


def test_boosted_small_trees_find_a_diagonal(tmp_path: Path) -> None:
    y = (X.sum(axis=1) > 0.8).astype(int)
    model = AdaBoost(trees=40, depth=2, learning_rate=1.0).fit(X[:500], y[:500])
    assert np.mean(model.predict(X[500:]) == y[500:]) > 0.95
    model.save(tmp_path)
    np.testing.assert_array_equal(AdaBoost.load(tmp_path).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("learner", [DecisionTree, AdaBoost, RandomForest])
def test_negative_weights_and_unknown_criteria_are_refused(learner: Any) -> None:
    weight = np.ones(len(Y))
    weight[0] = -1.0
    with pytest.raises(InvalidWeightError, match=rf"{learner.__name__} cannot learn.*1 of 1000.*'pair-cancel'"):
        learner().fit(X, Y, weight)
    with pytest.raises(ConfigError, match="unknown criterion 'ginny'; did you mean 'gini'"):
        learner(criterion="ginny").fit(X, Y)
