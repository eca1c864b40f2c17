import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fivesigma.core.estimator import Labelled
from fivesigma.models.training_inputs import InvalidWeightError
from fivesigma.trees import BoostedTrees


def checkerboard(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Signal where two signs agree, in 95 % of events: the best AUC is 0.95, and no single cut finds any of it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, ((X[:, 0] * X[:, 1] > 0) ^ (rng.random(n) < 0.05)).astype(np.int64)


def test_finds_what_no_single_cut_can() -> None:
    X, y = checkerboard(6_000, 1)
    test_X, test_y = checkerboard(6_000, 2)
    auc = roc_auc_score(test_y, BoostedTrees(trees=100).fit(X, y).predict_proba(test_X)[:, 1])
    assert 0.92 < auc < 0.96


def test_stops_early_and_keeps_the_best_number_of_trees() -> None:
    X, y = checkerboard(500, 1)
    validation = Labelled(*checkerboard(2_000, 2), np.ones(2_000))
    model = BoostedTrees(trees=400, learning_rate=0.3, patience=10, min_events_in_leaf=5).fit(
        X, y, validation=validation
    )
    losses = [tree["validation_loss"] for tree in model.history_]
    assert model.booster_.num_trees() == int(np.argmin(losses)) + 1 < len(losses) < 400
    p = model.predict_proba(validation.X)[:, 1]
    log_loss = -np.mean(np.where(validation.y == 1, np.log(p), np.log(1 - p)))
    assert log_loss == pytest.approx(min(losses))


def test_same_seed_same_trees_and_a_common_weight_is_nothing() -> None:
    X, y = checkerboard(1_000, 1)
    options = {"trees": 20, "row_fraction": 0.7, "seed": 3}
    first = BoostedTrees(**options).fit(X, y, np.full(len(y), 0.5)).predict_proba(X)  # type: ignore[arg-type]
    again = BoostedTrees(**options).fit(X, y).predict_proba(X)  # type: ignore[arg-type]
    other = BoostedTrees(**options | {"seed": 4}).fit(X, y).predict_proba(X)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_negative_weights_are_refused_with_the_policies_that_would_do() -> None:
    X, y = checkerboard(100, 1)
    weight = np.ones(100)
    weight[:3] = -1.0
    with pytest.raises(
        InvalidWeightError, match=r"BoostedTrees cannot learn.*3 of 100.*'absolute-rescaled', 'pair-cancel'"
    ):
        BoostedTrees().fit(X, y, weight)
    with pytest.raises(InvalidWeightError, match="cannot learn from negative weights"):
        BoostedTrees().fit(X, y, validation=Labelled(X, y, weight))


def test_counts_cuts_and_leaf_values() -> None:
    X, y = checkerboard(2_000, 1)
    model = BoostedTrees(trees=3, leaves=4).fit(X, y)
    assert model.n_parameters == 3 * (4 + 2 * 3)
