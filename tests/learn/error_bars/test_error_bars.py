"""What every learner with error bars keeps: one draw is one function, its parts add up, seeds decide, folders agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm, t

from fivesigma.core.errors import ConfigError, ModelError, WeightError
from fivesigma.core.estimator import Labelled
from fivesigma.learn import ESTIMATORS, DeepEnsembleClassifier, DeepEnsembleRegressor, VariationalRegressor
from fivesigma.learn.error_bars import ProbabilityDraws, TargetDraws, WithErrorBars
from fivesigma.learn.error_bars.network import SharedDropout
from fivesigma.learn.error_bars.variational_layer import VariationalLinear

METHODS = ("laplace", "mc-dropout", "deep-ensemble", "variational")
NAMES = [f"{method}{kind}" for method in METHODS for kind in ("", "-regressor")]
RNG = np.random.default_rng(9)
X = RNG.normal(size=(600, 2))
CLASSES = (RNG.random(600) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
TARGET = 10 + 2 * X[:, 0] + (0.3 + 0.2 * np.abs(X[:, 1])) * RNG.normal(size=600)


def quick(name: str, **options: Any) -> Any:
    return ESTIMATORS[name](**{"nodes": [8], "epochs": 3, "batch_size": 100} | options)


def target_of(name: str) -> Any:
    return TARGET if name.endswith("regressor") else CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_is_one_function_and_its_parts_add_up(name: str, tmp_path: Path) -> None:
    model = quick(name).fit(X, target_of(name))
    assert issubclass(ESTIMATORS[name], WithErrorBars)
    samples = model.predict_samples(X, n=7, seed=3)
    assert samples.shape == ((7, 600) if name.endswith("regressor") else (7, 600, 2))
    np.testing.assert_allclose(model.predict_samples(X[100:103], n=7, seed=3), samples[:, 100:103], rtol=1e-4)
    np.testing.assert_array_equal(model.predict_samples(X, n=7, seed=3), samples)
    uncertainty, interval = model.predict_uncertainty(X), model.predict_interval(X)
    np.testing.assert_allclose(uncertainty.total**2, uncertainty.epistemic**2 + uncertainty.aleatoric**2)
    assert (interval[:, 0] < interval[:, 1]).all()
    if not name.endswith("regressor"):
        np.testing.assert_allclose(samples.sum(axis=2), 1.0)
        p = model.predict_proba(X)[:, 1]
        np.testing.assert_allclose(uncertainty.total, np.sqrt(p * (1 - p)))  # the law of total variance, of a label
        assert ((interval >= 0) & (interval <= 1)).all()
    model.save(tmp_path)
    np.testing.assert_array_equal(type(model).load(tmp_path).predict_samples(X, n=7, seed=3), samples)
    again = quick(name).fit(X, target_of(name))
    np.testing.assert_array_equal(again.predict_samples(X, n=7, seed=3), samples)
    other = quick(name, seed=2).fit(X, target_of(name))
    assert not np.array_equal(other.predict_samples(X, n=7, seed=3), samples)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("regressor")])
def test_the_noise_is_learned_with_the_mean(name: str) -> None:
    options: dict[str, Any] = {"nodes": [16], "epochs": 60, "batch_size": 200, "learning_rate": 0.03}
    model = quick(name, **options | ({"members": 2} if "ensemble" in name else {})).fit(X, TARGET)
    far, near = np.abs(X[:, 1]) > 1.5, np.abs(X[:, 1]) < 0.5
    noise = model.predict_uncertainty(X).aleatoric
    assert noise[far].mean() > 1.2 * noise[near].mean()
    assert np.sqrt(np.mean((model.predict(X) - 10 - 2 * X[:, 0]) ** 2)) < 0.3
    wider = model.predict_interval(X, 0.95)
    assert (np.diff(wider) > np.diff(model.predict_interval(X))).all()
    assert (np.diff(model.predict_interval(X, of="mean")) < np.diff(model.predict_interval(X))).all()


def test_the_unit_of_the_target_changes_nothing_else() -> None:
    plain, scaled = (quick("deep-ensemble-regressor", members=1).fit(X, unit * TARGET) for unit in (1, 1024))
    np.testing.assert_allclose(scaled.predict_interval(X), 1024 * plain.predict_interval(X), rtol=1e-4)


def test_intervals_are_those_of_student() -> None:
    means = np.array([[1.0], [2.0], [6.0]])
    half = t.ppf(0.975, 2) * np.sqrt(1 + 1 / 3) * means.std(ddof=1)
    np.testing.assert_allclose(TargetDraws(means, np.ones((3, 1))).interval(0.95, of="mean"), [[3 - half, 3 + half]])
    both = np.hypot(half, norm.ppf(0.975) * 2.0)
    np.testing.assert_allclose(TargetDraws(means, np.full((3, 1), 4.0)).interval(0.95), [[3 - both, 3 + both]])
    logit = ProbabilityDraws(means).interval(0.95)
    np.testing.assert_allclose(np.log(logit / (1 - logit)), [[3 - half, 3 + half]])


def test_members_of_a_plain_network_show_no_epistemic_error() -> None:
    plain = DeepEnsembleRegressor(members=1, nodes=[8], epochs=4).fit(X, TARGET)
    assert (plain.predict_uncertainty(X).epistemic == 0).all()
    three = DeepEnsembleClassifier(members=3, nodes=[8], epochs=4).fit(X, CLASSES)
    samples = three.predict_samples(X, n=7)
    np.testing.assert_array_equal(samples[:3], samples[3:6])
    assert len(three.predict_samples(X)) == 3


def test_a_bootstrap_shows_the_fluctuations_of_the_events() -> None:
    """The mean of n events of variance 1 is known to 1/√n: members on the same events do not show it."""
    y, constant = RNG.normal(size=50), np.zeros((50, 1))
    options: dict[str, Any] = {"members": 8, "nodes": [], "epochs": 100, "batch_size": 50, "learning_rate": 0.1}
    same = DeepEnsembleRegressor(**options).fit(constant, y)
    drawn = DeepEnsembleRegressor(**options, bootstrap=True).fit(constant, y)
    expected = y.std() / np.sqrt(50)
    assert drawn.predict_uncertainty(constant).epistemic[0] == pytest.approx(expected, rel=0.6)  # of 8 members
    assert same.predict_uncertainty(constant).epistemic[0] < 0.2 * expected


def test_local_reparametrisation_has_the_moments_of_drawn_weights() -> None:
    torch.manual_seed(1)
    layer = VariationalLinear(3, 2)
    with torch.no_grad():
        layer.rho.uniform_(-1, 1)
    x, generator = torch.randn(1, 3), torch.Generator().manual_seed(1)
    layer.train()
    local = layer(x.expand(4_000, -1)).detach()
    layer.eval()
    drawn = []
    for _ in range(4_000):
        layer.redraw(generator)
        drawn.append(layer(x).detach())
    both = torch.cat(drawn)
    np.testing.assert_allclose(local.mean(0), both.mean(0), atol=5 * float(both.std()) / 63)
    np.testing.assert_allclose(local.std(0), both.std(0), rtol=0.07)
    layer.forget()
    np.testing.assert_allclose(layer(x).detach(), both.mean(0)[None], atol=5 * float(both.std()) / 63)


def test_divergence_is_that_of_torch() -> None:
    layer = VariationalLinear(4, 3, prior_scale=0.7)
    sigma = torch.nn.functional.softplus(layer.rho), torch.nn.functional.softplus(layer.bias_rho)
    expected = sum(
        torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, prior)
        ).sum()
        for mean, deviation, prior in zip(
            (layer.mean, layer.bias_mean), sigma, (layer.prior_weight, layer.prior_bias), strict=True
        )
    )
    torch.testing.assert_close(layer.divergence(), expected)


def test_variational_inference_finds_the_posterior_of_a_mean() -> None:
    """One constant and known noise: the posterior of the mean is Gaussian, with the deviation σ/√n."""
    y = 5 + 2 * np.random.default_rng(1).normal(size=400)
    model = VariationalRegressor(nodes=[], epochs=80, batch_size=200, learning_rate=0.1, draws=500).fit(
        np.zeros((400, 1)), y
    )
    found = model.predict_uncertainty(np.zeros((1, 1)))
    assert found.epistemic[0] == pytest.approx(2 / np.sqrt(400), rel=0.25)
    assert found.aleatoric[0] == pytest.approx(2.0, rel=0.1)
    assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(y.mean(), abs=0.1)


def test_a_mask_is_shared_by_all_events_and_keeps_the_mean() -> None:
    layer, generator = SharedDropout(0.25, 1000).eval(), torch.Generator().manual_seed(2)
    x = torch.ones(3, 1000)
    assert torch.equal(layer(x), x)
    layer.redraw(generator)
    thinned = layer(x)
    assert torch.equal(thinned[0], thinned[2])
    assert float((thinned[0] == 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert float(thinned.mean()) == pytest.approx(1.0, abs=0.06)


def test_validation_puts_the_best_epoch_back_and_stops() -> None:
    held_out = Labelled(X[400:], CLASSES[400:], np.ones(200))
    options: dict[str, Any] = {"members": 1, "nodes": [64], "epochs": 200, "learning_rate": 0.05, "patience": 3}
    model = DeepEnsembleClassifier(**options).fit(X[:400], CLASSES[:400], validation=held_out)
    losses = [epoch["validation_loss"] for epoch in model.history]
    assert len(losses) < 200
    p = model.predict_proba(X[400:])[:, 1]
    loss = -np.mean(np.log(np.where(CLASSES[400:] == 1, p, 1 - p)))
    assert loss == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mc-dropout", {"dropout": 1.0}, "dropout: expected between 0 and 1, got 1"),
        ("deep-ensemble", {"members": 0}, "at least 1 draw .of an ensemble: member., got 0"),
        ("variational", {"prior_scale": 0.0}, "prior_scale: expected above 0"),
        ("laplace", {"draws": 0}, "at least 1 draw"),
        ("laplace", {"epochs": 0}, "epochs ≥ 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quick(name, **options).fit(X, CLASSES)


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="cannot learn from negative weights"):
        quick("laplace-regressor").fit(X, TARGET, np.where(X[:, 0] > 0, 1.0, -0.1))
    with pytest.raises(ModelError, match=r"the loss is (nan|inf) in epoch 1"):
        quick("deep-ensemble-regressor", learning_rate=1e30).fit(X, TARGET)
    model = quick("deep-ensemble-regressor").fit(X, TARGET)
    with pytest.raises(ConfigError, match="level: expected between 0 and 1"):
        model.predict_interval(X, 1.0)
    with pytest.raises(ConfigError, match="of: expected 'target' or 'mean'"):
        model.predict_interval(X, of="median")
    with pytest.raises(ConfigError, match="at least 1 draw, got 0"):
        model.predict_samples(X, n=0)
    model.nodes = [4]
    model.save(tmp_path)
    with pytest.raises(ModelError, match="are of another network"):
        type(model).load(tmp_path)
