"""Trees as arrays, on untransformed inputs, against the libraries that fitted them."""

from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
from tests.deploy.models import INPUTS, boosted, forest, toy_model

from fivesigma.core.errors import FeatureError, ModelError
from fivesigma.deploy import TrainedModel
from fivesigma.deploy.parity import proof_inputs
from fivesigma.deploy.tree_ensemble import ensemble_on_inputs, events_at_cuts, tree_learner
from fivesigma.learn import Fisher
from fivesigma.trees import BoostedTrees


def inputs_of_proof(model: TrainedModel) -> Any:
    ensemble = ensemble_on_inputs(model)
    cuts = [np.concatenate([t.threshold[t.feature == i] for t in ensemble.trees]) for i in range(len(INPUTS))]
    return proof_inputs(
        model,
        cuts,
        seed=3,
        random=500,
        at_cuts=lambda low, high: events_at_cuts(ensemble, low, high, seed=3, most=10_000),
    )


@pytest.mark.parametrize(
    ("make", "scaling"),
    [
        *((boosted, scaling) for scaling in ("none", "standard", "log", "quantile", None)),
        (forest, "standard"),
        (forest, None),
    ],
)
def test_cuts_pulled_back_to_the_inputs_score_bit_for_bit_as_the_library(make: Any, scaling: Any) -> None:
    model = make(scaling)
    inputs, kinds = inputs_of_proof(model)
    learner = tree_learner(model)
    assert kinds["adversarial"] > 100
    assert kinds["at every cut"] == 3 * sum(len(tree.feature) for tree in ensemble_on_inputs(model).trees)
    np.testing.assert_array_equal(
        ensemble_on_inputs(model).score(inputs), learner.score(model.estimator, model.scaled(inputs))
    )


def test_probabilities_are_those_of_predict_proba() -> None:
    for model in (boosted(), forest()):
        ensemble = ensemble_on_inputs(model)
        got = ensemble.probability(ensemble.score(model.recorded))
        np.testing.assert_allclose(got, model.probability(model.recorded), rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nan_goes_the_way_that_lightgbm_learnt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2_000, 3))
    y = (X[:, 0] + 0.3 * rng.normal(size=2_000) > 0).astype(int)
    X[(rng.random(X.shape) < 0.2) & (y == 1)[:, None]] = np.nan  # missing more often in signal: directions are learnt
    model = toy_model(BoostedTrees(trees=1), None)
    model.estimator.booster_ = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 8}, lightgbm.Dataset(X, y), 10
    )
    trees = tree_learner(model).ensemble(model.estimator)
    assert len({bool(left) for tree in trees.trees for left in tree.nan_left}) == 2
    np.testing.assert_array_equal(trees.score(X), model.estimator.booster_.predict(X, raw_score=True))


@pytest.mark.parametrize("make", [boosted, forest])
def test_events_at_a_cut_reach_it_so_that_any_changed_cut_is_seen(make: Any) -> None:
    fitted = ensemble_on_inputs(make())
    leaves = [
        np.arange(len(tree.value), dtype=np.float64) + 0.1 for tree in fitted.trees
    ]  # of a forest, neighbours may hold the same
    ensemble = replace(fitted, trees=tuple(replace(t, value=v) for t, v in zip(fitted.trees, leaves, strict=True)))
    low, high = np.array([60.0, 0.0, 0.0]), np.array([100.0, 1.0, 3.0])
    events = events_at_cuts(ensemble, low, high, seed=1, most=10_000)
    before = ensemble.score(events)
    for which, tree in enumerate(ensemble.trees[:3]):
        for node in range(len(tree.feature)):
            for up in (-np.inf, np.inf):
                cuts = tree.threshold.copy()
                cuts[node] = np.nextafter(cuts[node], up)
                trees = list(ensemble.trees)
                trees[which] = replace(tree, threshold=cuts)
                first = 3 * sum(len(t.feature) for t in ensemble.trees[:which])
                own = slice(first, first + 3 * len(tree.feature))
                assert (replace(ensemble, trees=tuple(trees)).score(events[own]) != before[own]).any()


def test_a_tree_of_one_leaf_is_its_value() -> None:
    model = boosted(trees=2, min_events_in_leaf=2_000)
    ensemble = ensemble_on_inputs(model)
    assert ensemble.leaves == 1
    np.testing.assert_array_equal(
        ensemble.score(model.recorded), model.estimator.booster_.predict(model.scaled(model.recorded), raw_score=True)
    )


def test_what_has_no_form_in_c_is_refused_in_words() -> None:
    model = toy_model(BoostedTrees(trees=1), None)
    X = np.stack([np.repeat([0.0, 1.0, 2.0, 3.0], 100), np.tile([0.0, 1.0], 200)], axis=1)
    y = (X[:, 0] % 2).astype(int)
    options = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_per_group": 1}
    cases: list[tuple[bool, Any, str]] = [(True, "auto", "zero_as_missing"), (False, [0], "categorical")]
    for zero, categorical, match in cases:
        events = lightgbm.Dataset(
            X, y, categorical_feature=categorical, params={"zero_as_missing": zero, "verbosity": -1}
        )
        model.estimator.booster_ = lightgbm.train(options | {"zero_as_missing": zero}, events, 2)
        with pytest.raises(ModelError, match=match):
            tree_learner(model).ensemble(model.estimator)
    with pytest.raises(ModelError, match=r"unknown learner of trees 'fisher'.*boosted-trees, .*random-forest"):
        tree_learner(toy_model(Fisher()))


def test_an_estimator_saved_alone_needs_a_name_for_each_column(tmp_path: Any) -> None:
    model = boosted(None)
    model.estimator.save(tmp_path)
    with pytest.raises(FeatureError, match="3 unnamed columns; name each"):
        TrainedModel.load(tmp_path, inputs=["jet_mass"])
    loaded = TrainedModel.load(tmp_path, inputs=INPUTS)
    np.testing.assert_array_equal(loaded.probability(model.recorded), model.probability(model.recorded))
    with pytest.raises(ModelError, match="expected a run directory with --model"):
        TrainedModel.load(tmp_path / "nothing")
