from pathlib import Path

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


def test_a_leaf_of_signed_weights_ends_at_the_signed_fraction() -> None:
    """Two cells whose weights cancel to 3:1 and 1:4: boosted long enough, the probability is the signed fraction."""
    cells = np.repeat([0, 1], 400)
    y = np.tile([0, 1], 400)
    weight = np.ones(800)
    weight[(cells == 0) & (y == 0)] = np.where(np.arange(200) % 3 == 0, -1.0, 1.0)  # 133 − 67 = 66 against 200
    weight[(cells == 1) & (y == 1)] = np.where(np.arange(200) % 8 < 3, -1.0, 1.0)  # 125 − 75 = 50 against 200
    model = BoostedTrees(trees=400, learning_rate=0.2).fit(cells[:, None].astype(float), y, weight)
    np.testing.assert_allclose(model.predict_proba([[0.0], [1.0]])[:, 1], [200 / 266, 50 / 250], atol=1e-3)


def test_signed_and_plain_fits_agree_where_no_weight_is_negative() -> None:
    """The signed objective with |w| = w is LightGBM's own: forced by one event of negative, negligible weight."""
    X, y = checkerboard(2_000, 3)
    weight = np.ones(2_000)
    weight[0] = -1e-6
    options = {"trees": 30, "learning_rate": 0.1}
    signed = BoostedTrees(**options).fit(X, y, weight).predict_proba(X)[:, 1]  # type: ignore[arg-type]
    weight[0] = 1e-6
    plain = BoostedTrees(**options).fit(X, y, weight).predict_proba(X)[:, 1]  # type: ignore[arg-type]
    assert np.mean(np.abs(signed - plain)) < 2e-3


def test_signed_weights_stop_early_by_the_signed_loss(tmp_path: Path) -> None:
    X, y = checkerboard(2_000, 4)
    weight = np.where(np.random.default_rng(4).random(2_000) < 0.2, -1.0, 1.0)
    held_out = Labelled(X[1000:], y[1000:], weight[1000:])
    model = BoostedTrees(trees=300, learning_rate=0.3, patience=10).fit(
        X[:1000], y[:1000], weight[:1000], validation=held_out
    )
    p = model.predict_proba(held_out.X)[:, 1]
    loss = np.average(-np.log(np.where(held_out.y == 1, p, 1 - p)), weights=held_out.weight)
    assert loss == pytest.approx(min(tree["validation_loss"] for tree in model.history_), rel=1e-4)
    assert model.booster_.num_trees() < 300
    model.save(tmp_path)
    np.testing.assert_array_equal(BoostedTrees.load(tmp_path).predict_proba(X), model.predict_proba(X))


def test_weights_that_are_all_negative_or_cancel_are_refused() -> None:
    X, y = checkerboard(100, 1)
    with pytest.raises(InvalidWeightError, match="expected a positive sum of weights in class 0, got -"):
        BoostedTrees().fit(X, y, -np.ones(100))
    weight = np.where(y == 1, np.where(np.cumsum(y) % 2 == 0, 1.0, -1.0), 1.0)
    weight[np.flatnonzero(y == 1)[0]] -= weight[y == 1].sum()
    with pytest.raises(InvalidWeightError, match="expected a positive sum of weights in class 1, got 0"):
        BoostedTrees().fit(X, y, weight)


def test_counts_cuts_and_leaf_values() -> None:
    X, y = checkerboard(2_000, 1)
    model = BoostedTrees(trees=3, leaves=4).fit(X, y)
    assert model.n_parameters == 3 * (4 + 2 * 3)
