"""Learning to pivot: the steps against a slow reference, the paper's toy in reduced form, and what goes wrong."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import cramervonmises_2samp, ks_2samp
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.core.estimator import Labelled
from fivesigma.learn import DenseClassifier, PivotClassifier
from fivesigma.learn.duel import Duel
from fivesigma.learn.nuisances import Nuisances
from fivesigma.learn.pick_penalty import score_penalty
from fivesigma.learn.training_events import events_of
from fivesigma.models.adversary import Adversary
from fivesigma.physics.significance import approximate_median_significance
from fivesigma.simulate.pivot_toy import draw_pivot_toy

NETWORK: dict[str, Any] = {
    "architecture": {"nodes": [20, 20]},
    "dropout": 0.0,
    "batch_norm": False,
    "epochs": 10,
    "precision": "float32",
}
TINY: dict[str, Any] = {
    "network_options": {**NETWORK, "architecture": {"nodes": [8]}, "epochs": 2},
    "iterations": 3,
    "adversary_steps": 2,
    "adversary_pretraining": 5,
}


def toy(n: int, seed: int) -> tuple[Any, Any, Any]:
    columns = draw_pivot_toy(n, n, seed)
    X = np.stack([np.asarray(columns[name]) for name in ("x1", "x2")], axis=1)
    return X, columns["label"], np.asarray(columns["z"], np.float64)[:, None]


class PivotOfSomething(PivotClassifier):
    """As scikit-learn's checks call it, which have no nuisances."""

    def fit(self, X: Any, y: Any, weight: Any | None = None, **more: Any) -> Any:
        n = np.asarray(y).size
        nuisance = np.arange(n, dtype=float)[:, None] % 7
        return super().fit(X, y, weight, nuisance=nuisance, **more)


@parametrize_with_checks(
    [
        PivotOfSomething(
            **TINY
            | {
                "network_options": {**NETWORK, "epochs": 30, "batch_size": 32, "learning_rate": 0.02},
                "penalty": 0.01,
            }
        )
    ]
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


class Options:
    batch_size, learning_rate, adversary_learning_rate, seed = 16, 1e-3, 1e-2, 5


def test_a_step_is_down_e_and_down_the_adversarys_own_loss() -> None:
    """Gradients and first moves against losses written out by hand."""
    torch.manual_seed(1)
    X, y, z = toy(50, 3)
    weight = np.where(np.arange(100) % 4, 1.0, -0.5)
    events, nuisance = events_of(X, y, weight), Nuisances.of(z, 100).tensor
    network, adversary = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), Adversary([0], 2, (3,))
    on, penalty = y == 0, 7.0
    copy_f, copy_r = copy.deepcopy(network), copy.deepcopy(adversary)

    duel = Duel(network, adversary, events, nuisance, on, torch.device("cpu"), Options)
    duel.step(penalty)

    index = torch.randint(100, (16,), generator=torch.Generator().manual_seed(5))
    w, label, zed = events.weight[index], events.y[index], nuisance[index]
    share = float((np.abs(weight) * on).sum() / np.abs(weight).sum())  # so that L_r is a mean over background
    seen = torch.from_numpy(on)[index] * w / share
    score = torch.sigmoid(copy_f(events.X[index])[:, 0])
    adversary_loss = (seen * copy_r(score.detach(), zed)).sum() / 16
    adversary_loss.backward()
    with torch.no_grad():  # Adam's first step: the learning rate, whatever the size of the gradient
        for p, q in zip(copy_r.parameters(), adversary.parameters(), strict=True):
            assert p.grad is not None
            moved = p - Options.adversary_learning_rate * p.grad / (p.grad.abs() + 1e-8)
            torch.testing.assert_close(moved, q, rtol=1e-4, atol=1e-6)
    value = -(w * (label * score.log() + (1 - label) * (1 - score).log())).sum() / 16
    value = value - penalty * (seen * copy_r(score, zed)).sum() / 16
    expected = torch.autograd.grad(value, list(copy_f.parameters()))
    for gradient, p in zip(expected, network.parameters(), strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=2e-3, atol=1e-5)


def test_the_adversary_alone_finds_the_conditional_density() -> None:
    """Z | s is Gaussian with known mean and width: L_r comes down to its entropy, ½ log 2πe(1 − ρ²)."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    s, rho = rng.normal(size=4000), 0.8
    z = rho * s + np.sqrt(1 - rho**2) * rng.normal(size=4000)
    network = nn.Sequential(nn.Linear(1, 1))
    nn.init.ones_(network[0].weight)  # type: ignore[arg-type]
    nn.init.zeros_(network[0].bias)  # type: ignore[arg-type]
    events = events_of(s[:, None].astype(np.float32), (s > 0).astype(int), np.ones(4000))
    options = Options()
    options.batch_size = 256
    duel = Duel(network, Adversary([0], 3, (20,)), events, Nuisances.of(z[:, None], 4000).tensor, np.ones(4000, bool),
                torch.device("cpu"), options)  # fmt: skip
    duel.teach(600)
    exact = 0.5 * np.log(2 * np.pi * math.e * (1 - rho**2))
    assert duel.all_losses()["adversary_loss"] == pytest.approx(exact, abs=0.05)


@pytest.fixture(scope="module", name="fitted")
def _fitted() -> PivotClassifier:
    X, y, z = toy(4000, 1)
    return PivotClassifier(
        penalty=50.0,
        network_options=NETWORK,
        iterations=80,
        adversary_steps=15,
        adversary_pretraining=300,
        learning_rate=3e-3,
        adversary_learning_rate=3e-3,
        adversary_nodes=[20, 20],
    ).fit(X, y, nuisance=z)


def test_the_toys_scores_lose_their_dependence_at_a_price(fitted: PivotClassifier) -> None:
    """Signal at Z < −½ and Z > ½: the distance of the score's distributions falls fivefold, AUC by 0.05 to 0.13."""
    X, y, z = toy(4000, 2)
    torch.manual_seed(1)
    plain = DenseClassifier(**NETWORK).fit(*toy(4000, 1)[:2])
    distance, statistic, auc = {}, {}, {}
    for name, model in (("plain", plain), ("pivot", fitted)):
        score = model.predict_proba(X)[:, 1]
        low, high = (score[(y == 1) & side] for side in (z[:, 0] < -0.5, z[:, 0] > 0.5))
        distance[name] = ks_2samp(low, high).statistic
        statistic[name] = cramervonmises_2samp(low, high).statistic
        auc[name] = roc_auc_score(y, score)
    assert distance["plain"] > 0.5
    assert distance["pivot"] < 0.2 * distance["plain"]
    assert statistic["pivot"] < 0.05 * statistic["plain"]
    assert 0.85 < auc["plain"] < 0.88
    assert 0.05 < auc["plain"] - auc["pivot"] < 0.13


def test_the_adversary_ends_near_the_entropy_of_the_nuisance(fitted: PivotClassifier) -> None:
    assert fitted.training_["entropy_bound"] == pytest.approx(0.5 * np.log(2 * np.pi * math.e), rel=1e-3)
    assert fitted.training_["adversary_loss"] == pytest.approx(fitted.training_["entropy_bound"], abs=0.02)
    assert not fitted.training_["diverged"]


def test_a_folder_gives_the_same_scores_and_goes_on(fitted: PivotClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded, (X, y, z) = PivotClassifier.load(tmp_path / "model"), toy(200, 4)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.get_params() == fitted.get_params()
    again = PivotClassifier(**TINY, penalty=0.0, warm_start=tmp_path / "model").fit(X, y, nuisance=z)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(ConfigError, match="takes events of shape \\(2,\\), got \\(1,\\)"):
        PivotClassifier(**TINY, warm_start=tmp_path / "model").fit(X[:, :1], y, nuisance=z)


def test_the_same_seed_gives_the_same_bits() -> None:
    X, y, z = toy(200, 5)
    one, two = (PivotClassifier(**TINY, penalty=5.0).fit(X, y, nuisance=z).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_penalty_that_diverges_is_named_and_the_last_good_state_kept() -> None:
    X, y, z = toy(500, 6)
    model = PivotClassifier(**TINY | {"iterations": 200}, penalty=1e6, learning_rate=0.5).fit(X, y, nuisance=z)
    assert model.training_["diverged"]
    assert "λ = 1e+06 diverged by iteration" in model.training_["statement"]
    assert np.std(model.predict_proba(X)[:, 1]) > 1e-4  # finite, and no constant


def test_discrete_and_several_nuisances_and_images() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 300)
    X = (rng.normal(size=(300, 9, 9)) + y[:, None, None]).astype(np.float32)
    nuisance = np.stack([rng.integers(0, 3, 300), rng.normal(size=300)], axis=1)
    options = TINY | {"network": "cnn", "network_options": {"epochs": 1, "precision": "float32"}}
    model = PivotClassifier(**options, on="background").fit(X, y, nuisance=nuisance)
    assert model.categories_ == (3, 0)
    assert model.training_["entropy_bound"] == pytest.approx(np.log(3) + 0.5 * np.log(2 * np.pi * math.e), abs=0.1)


def test_a_scan_keeps_the_penalty_with_the_largest_ams() -> None:
    X, y, z = toy(500, 7)
    X_validation, y_validation, z_validation = toy(500, 8)
    held_out = Labelled(X_validation, y_validation, np.ones(1000), z_validation)
    model = PivotClassifier(**TINY, penalty=[0.0, 10.0]).fit(X, y, nuisance=z, validation=held_out)
    scan = model.training_["scan"]
    best = max(scan, key=lambda found: found["significance"])
    assert [found["penalty"] for found in scan] == [0.0, 10.0]
    assert model.training_["penalty"] == best["penalty"]
    score = model.predict_proba(X_validation)[:, 1]
    again = score_penalty(score, y_validation, np.ones(1000), z_validation, signal=100.0, background=1000.0)
    assert again.significance == pytest.approx(best["significance"])
    with pytest.raises(ConfigError, match="needs validation events with their nuisances"):
        PivotClassifier(**TINY, penalty=[0.0, 1.0]).fit(X, y, nuisance=z)


def test_the_spread_between_two_values_of_a_nuisance_is_the_backgrounds_uncertainty() -> None:
    """One cut, efficiencies of 10 % and 30 % by hand."""
    n = 1000
    score = np.concatenate([np.ones(n), np.arange(n) < 100, np.arange(n) < 300]).astype(float)
    y, z = np.repeat([1, 0, 0], n), np.repeat([0.0, 0.0, 1.0], n)[:, None]
    found = score_penalty(score, y, np.ones(3 * n), z, signal=10.0, background=100.0, relative_uncertainty=0.3)
    sigma = np.hypot(0.3, 0.5)
    assert found.background_efficiency == pytest.approx(0.2)
    assert found.background_uncertainty == pytest.approx(sigma)
    assert found.significance == pytest.approx(float(approximate_median_significance(10.0, 20.0, sigma * 20.0)))


def test_what_cannot_be_meant_is_refused() -> None:
    X, y, z = toy(50, 9)
    with pytest.raises(ConfigError, match="pivot needs `nuisance`"):
        PivotClassifier(**TINY).fit(X, y)
    unknown = z.copy()
    unknown[[3, 4]] = np.nan
    with pytest.raises(FeatureError, match="nuisance 0: nan in entry 3, 2 of 100 not finite"):
        PivotClassifier(**TINY).fit(X, y, nuisance=unknown)
    with pytest.raises(FeatureError, match=r"expected nuisances of shape \(100, nuisance\), got \(100,\)"):
        PivotClassifier(**TINY).fit(X, y, nuisance=z[:, 0])
    with pytest.raises(FeatureError, match="nuisance 0 is 1 in all events"):
        PivotClassifier(**TINY).fit(X, y, nuisance=np.ones((100, 1)))
    for options in ({"penalty": -1.0}, {"on": "nothing"}, {"iterations": 0}, {"network": "fisher"}):
        with pytest.raises(ConfigError):
            PivotClassifier(**TINY | options).fit(X, y, nuisance=z)
