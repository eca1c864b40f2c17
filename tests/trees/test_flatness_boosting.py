"""Flatness boosting: hep_ml's gradients, the slow definition, and hep_ml's AUC and flatness on its own Dalitz data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.trees.hep_ml_uniform import (
    DEPTH,
    FEW,
    FLATNESS_WEIGHT,
    LEARNING_RATE,
    MANY,
    TRAIN_FEATURES,
    TREES,
    UNIFORM_FEATURES,
    orders,
)

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import Labelled
from fivesigma.evaluate.flatness import flatness
from fivesigma.models.training_inputs import InvalidInputsError, InvalidWeightError
from fivesigma.trees import FlatnessBoosting, UBoost
from fivesigma.trees.adaboost import equal_classes
from fivesigma.trees.flatness_loss import UniformClass, binned_class, neighbouring_class

HEP_ML = json.loads(Path(__file__).with_name("hep_ml_uniform.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def dalitz(shared_data: Path) -> tuple[Any, Any, Any]:
    """Inputs, uniform variables and labels of hep_ml's Dalitz data."""
    tree = uproot.open(shared_data / "dalitz" / "dalitzdata.root")["tree"]
    X, Z = (
        np.stack([tree[n].array(library="np") for n in names], axis=1) for names in (TRAIN_FEATURES, UNIFORM_FEATURES)
    )
    return X, Z, tree["labels"].array(library="np").astype(int)


@pytest.mark.shared_data
@pytest.mark.parametrize("case", HEP_ML["gradients"])
def test_gradients_are_those_of_hep_ml(case: str, dalitz: tuple[Any, Any, Any]) -> None:
    X, Z, y = (a[np.random.default_rng(0).permutation(len(dalitz[2]))[:FEW]] for a in dalitz)
    Z = Z / Z.std(axis=0)
    score = X[:, 0] + 0.5 * X[:, 1] ** 2 - 0.3 * X[:, 2]
    weight = equal_classes(y, 0.5 + np.arange(FEW) % 7 / 4.0)
    rng, power = np.random.default_rng(0), 2.0
    if case == "bins, signal":
        classes = [binned_class(Z, y, 1, weight, 4)]
    elif case == "bins, both, power 3":
        classes, power = [binned_class(Z, y, label, weight, 3) for label in (0, 1)], 3.0
    else:
        classes = [neighbouring_class(Z, y, 0, weight, 30, 5000, rng)]
    sign = 2.0 * y - 1.0
    gradient = sign * weight * np.exp(np.minimum(-sign * score, 2.0))
    for one in classes:
        gradient[one.events] += FLATNESS_WEIGHT * one.pull(score, power)
    np.testing.assert_allclose(gradient, HEP_ML["gradients"][case], rtol=1e-6, atol=1e-6)


def slow_pull(score: Any, weight: Any, groups: list[Any], power: float) -> Any:
    """By definition: shares of weight below, half of what is equal."""

    def position(i: Any, members: Any) -> Any:
        below, equal = score[members] < score[i], score[members] == score[i]
        return (weight[members] @ below + 0.5 * (weight[members] @ equal)) / weight[members].sum()

    pull, everyone = np.zeros(len(score)), np.arange(len(score))
    for i in everyone:
        own = [members for members in groups if i in members]
        d = np.array([position(i, members) - position(i, everyone) for members in own])
        pull[i] = weight[i] * np.mean(power * np.sign(d) * np.abs(d) ** (power - 1)) if own else 0.0
    return pull


@pytest.mark.parametrize("power", [2.0, 1.5])
def test_pull_is_the_derivative_by_definition_with_equal_scores(power: float) -> None:
    rng = np.random.default_rng(2)
    score, weight = rng.integers(0, 9, 60).astype(float), rng.uniform(0.1, 2, 60)
    groups = [rng.choice(60, 12, replace=False) for _ in range(7)]
    fast = UniformClass.of(np.arange(60), weight, groups).pull(score, power)
    np.testing.assert_allclose(fast, slow_pull(score, weight, groups, power), atol=1e-12)


def test_equal_scores_and_equal_groups_pull_nothing() -> None:
    weight = np.ones(40)
    groups = [np.arange(0, 40, 2), np.arange(1, 40, 2)]
    one = UniformClass.of(np.arange(40), weight, groups)
    np.testing.assert_allclose(one.pull(np.zeros(40), 2.0), 0.0, atol=1e-15)
    np.testing.assert_allclose(one.pull(np.repeat(np.arange(20.0), 2), 2.0), 0.0, atol=1e-15)


@pytest.mark.shared_data
@pytest.mark.parametrize("locality", ["bins", "neighbours"])
def test_auc_and_flatness_are_those_of_hep_ml(locality: Any, dalitz: tuple[Any, Any, Any]) -> None:
    """On the same events; the uncertainty is that of one test sample."""
    X, Z, y = dalitz
    order = orders(len(y))[0]
    train, test = order[:MANY], order[MANY : 2 * MANY]
    model = FlatnessBoosting(
        uniform_label="signal",
        flatness_weight=FLATNESS_WEIGHT,
        locality=locality,
        trees=TREES,
        depth=DEPTH,
        learning_rate=LEARNING_RATE,
    ).fit(X[train], y[train], nuisance=Z[train])
    score = model.predict_proba(X[test])[:, 1]
    expected = HEP_ML["models"][locality]
    auc_uncertainty = np.sqrt(0.92 * 0.08 / (0.5 * MANY))  # binomial, an upper bound
    assert roc_auc_score(y[test], score) == pytest.approx(expected["auc"][0], abs=auc_uncertainty)
    signal = y[test] == 1
    variables = dict(zip(UNIFORM_FEATURES, Z[test][signal].T, strict=True))
    found = flatness(score[signal], variables, efficiencies=[0.5, 0.4, 0.3, 0.2, 0.1], n_replicas=20)
    assert abs(found.cvm.value - expected["cvm"][0]) < 2 * found.cvm.uncertainty
    assert abs(found.sde.value - expected["sde"][0]) < 3 * found.sde.uncertainty
    assert found.cvm.value < 0.35 * HEP_ML["models"]["exponential"]["cvm"][0]


@pytest.mark.shared_data
def test_uboost_is_flat_at_its_target(dalitz: tuple[Any, Any, Any]) -> None:
    """At 50 % signal efficiency: χ² of the efficiency in bins falls from plain boosting to uBoost, on unseen events."""
    X, Z, y = dalitz
    order = orders(len(y))[0]
    train, test, other = order[:MANY], order[MANY : 2 * MANY], order[2 * MANY : 3 * MANY]
    held_out = Labelled(X[other], y[other], np.ones(MANY))
    signal = test[y[test] == 1]
    edges = np.quantile(Z[signal, 0], np.linspace(0, 1, 9)[1:-1])
    cell = np.searchsorted(edges, Z[signal, 0])
    chi2 = {}
    for rate in (0.0, 1.0):
        model = UBoost(uniform_label="signal", uniforming_rate=rate, trees=60, learning_rate=0.2)
        model.fit(X[train], y[train], nuisance=Z[train], validation=held_out)
        passed = model.predict_proba(X[signal])[:, 1] >= 0.5
        assert passed.mean() == pytest.approx(0.5, abs=3 * np.sqrt(2 * 0.25 / len(signal)))
        n = np.bincount(cell)
        efficiency = np.bincount(cell, passed) / n
        chi2[rate] = float(np.sum((efficiency - passed.mean()) ** 2 * n / (passed.mean() * (1 - passed.mean()))))
    assert chi2[0.0] > 200
    assert chi2[1.0] < 0.2 * chi2[0.0]


def toy(n: int, seed: int) -> tuple[Any, Any, Any]:
    """A discriminating variable that background has more of at large z, one that is blind to z, and a measured z."""
    rng = np.random.default_rng(seed)
    y, z = rng.integers(0, 2, n), rng.random(n)
    x = rng.normal(np.where(y == 1, 1.0, 1.2 * z), 0.7)
    return np.stack([x, rng.normal(0.8 * y, 1.0), z + rng.normal(0, 0.1, n)], axis=1), y, z


def test_uboost_within_the_binomial_error_where_it_can_be_flat() -> None:
    X, y, z = toy(12_000, 1)
    other_X, other_y, other_z = toy(12_000, 2)
    model = UBoost(target_efficiency=0.4, uniforming_rate=0.3, trees=200, learning_rate=0.1, depth=2, leaves=4)
    model.fit(X, y, nuisance=z)
    background = other_y == 0
    passed = model.predict_proba(other_X[background])[:, 1] >= 0.5
    cell = (other_z[background] * 6).astype(int)
    n, mean = np.bincount(cell), passed.mean()
    chi2 = np.sum((np.bincount(cell, passed) / n - mean) ** 2 * n / (mean * (1 - mean)))
    assert stats.chi2.sf(chi2, len(n) - 1) > 1e-3
    assert mean == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("learner", [FlatnessBoosting, UBoost])
def test_saved_and_loaded_and_refused(learner: Any, tmp_path: Path) -> None:
    X, y, z = toy(600, 3)
    model = learner(trees=3).fit(X, y, nuisance=z[:, None])
    model.save(tmp_path)
    np.testing.assert_array_equal(learner.load(tmp_path).predict_proba(X), model.predict_proba(X))
    with pytest.raises(InvalidInputsError, match="was not told in which variables to be uniform"):
        learner().fit(X, y)
    with pytest.raises(InvalidInputsError, match=r"nuisance: expected shape \(600, variable\), got \(3,\)"):
        learner().fit(X, y, nuisance=z[:3])
    z[4] = np.nan
    with pytest.raises(
        InvalidInputsError, match="1 of 600 events have a value that is not finite, the first is event 4"
    ):
        learner().fit(X, y, nuisance=z)
    with pytest.raises(InvalidWeightError, match="cannot learn from negative weights"):
        learner().fit(X, y, -np.ones(600), nuisance=np.zeros(600))
    with pytest.raises(ConfigError, match="unknown uniform_label 'backgrond'; did you mean 'background'"):
        learner(uniform_label="backgrond").fit(X, y, nuisance=np.zeros(600))


def test_options_that_cannot_be_meant() -> None:
    X, y, z = toy(100, 4)
    for options, message in (
        ({"locality": "bin"}, "unknown locality 'bin'; did you mean 'bins'"),
        ({"power": 1.0}, "expected power > 1"),
        ({"locality": "neighbours", "neighbours": 99}, "99 neighbours, but class 0 has"),
    ):
        with pytest.raises(ConfigError, match=message):
            FlatnessBoosting(**options).fit(X, y, nuisance=z)
    with pytest.raises(ConfigError, match="uboost is uniform in one class"):
        UBoost(uniform_label="both").fit(X, y, nuisance=z)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected target_efficiency between 0 and 1"):
        UBoost(target_efficiency=1.0).fit(X, y, nuisance=z)


class FlatInFirst(FlatnessBoosting):
    """Told to be uniform in its first input, as scikit-learn's checks cannot tell it."""

    def fit(self, X: Any, y: Any, weight: Any = None, *, validation: Any = None) -> Any:  # type: ignore[override]
        return super().fit(X, y, weight, nuisance=first_input(X))


class UBoostInFirst(UBoost):
    """Likewise."""

    def fit(self, X: Any, y: Any, weight: Any = None, *, validation: Any = None) -> Any:  # type: ignore[override]
        return super().fit(X, y, weight, nuisance=first_input(X))


def first_input(X: Any) -> Any:
    try:
        return np.nan_to_num(np.asarray(X)[:, :1].real.astype(np.float64))
    except (ValueError, TypeError, IndexError):  # what the check is about is found by training_inputs
        return np.zeros(1)


@parametrize_with_checks(
    [
        FlatInFirst(trees=30, min_events_in_leaf=1, flatness_weight=0.1),
        UBoostInFirst(trees=20, min_events_in_leaf=1, neighbours=2),
    ],
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)
