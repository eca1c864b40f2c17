"""Last-layer Laplace against what is known in closed form, and against laplace-torch's own curvature."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fivesigma.core.errors import MissingDependencyError, ModelError
from fivesigma.learn import LaplaceClassifier, LaplaceRegressor
from fivesigma.learn.error_bars import last_layer
from fivesigma.learn.error_bars.last_layer import LastLayerEvents, import_laplace, last_layer_posterior

LINEAR: dict[str, Any] = {"nodes": [], "epochs": 40, "learning_rate": 0.05, "batch_size": 100}


def linear_toy(n: int, seed: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, X @ [1.0, -2.0, 0.5] + 3.0 + 0.7 * rng.normal(size=n)


def test_bayesian_linear_regression_has_its_exact_posterior() -> None:
    X, y = linear_toy(400)
    model = LaplaceRegressor(draws=4000, **LINEAR).fit(X, y)
    (network,) = model.networks_
    with torch.no_grad():
        features = network.features(torch.tensor(X, dtype=torch.float32))
        variance = network.log_variance(features)[:, 0].exp().double().numpy()
    phi = np.column_stack([features.double().numpy(), np.ones(len(X))])
    exact = np.linalg.inv(phi.T @ (phi / variance[:, None]) + model.posterior_.prior_precision * np.eye(4))
    np.testing.assert_allclose(model.posterior_.scale @ model.posterior_.scale.T, exact, rtol=1e-6)
    # in units of the target, from draws: 4000 of them know a deviation to 1.1 %
    predicted = model.target_deviation_ * np.sqrt(np.einsum("ni,ij,nj->n", phi, exact, phi))
    np.testing.assert_allclose(model.predict_uncertainty(X).epistemic, predicted, rtol=0.05)
    # and least squares with known noise, a third way: the prior matters little for 400 events
    design = np.column_stack([X, np.ones(len(X))])
    least_squares = 0.7 * np.sqrt(np.einsum("ni,ij,nj->n", design, np.linalg.inv(design.T @ design), design))
    np.testing.assert_allclose(predicted, least_squares, rtol=0.15)
    np.testing.assert_allclose(model.predict_uncertainty(X).aleatoric.mean(), 0.7, rtol=0.1)


def test_the_prior_is_that_of_the_largest_exact_evidence() -> None:
    """log N(y | 0, Φ Φᵀ/λ + σ²), which for a linear model of known noise needs no approximation."""
    rng = np.random.default_rng(5)
    phi, variance = rng.normal(size=(60, 4)), 0.3
    y = phi @ rng.normal(scale=0.5, size=4) + np.sqrt(variance) * rng.normal(size=60)
    design = np.column_stack([phi, np.ones(60)])

    def evidence(precision: float) -> float:
        covariance = design @ design.T / precision + variance * np.eye(60)
        return float(-0.5 * (np.linalg.slogdet(covariance)[1] + y @ np.linalg.solve(covariance, y)))

    found = posterior_at_its_own_mode(phi, y, variance, start=2.0)
    grid = np.geomspace(0.05, 200, 4000)
    best = grid[np.argmax([evidence(p) for p in grid])]
    assert evidence(found) == pytest.approx(evidence(best), abs=1e-3)


def posterior_at_its_own_mode(phi: NDArray[Any], y: NDArray[Any], variance: float, start: float) -> float:
    """Prior precision and mode found in turn, until they agree; a network's weight decay does not know the former."""
    design, precision = np.column_stack([phi, np.ones(len(y))]), start
    for _ in range(25):
        mode = np.linalg.solve(
            design.T @ design / variance + precision * np.eye(design.shape[1]), design.T @ y / variance
        )
        head = nn.Linear(phi.shape[1], 1)
        head.load_state_dict({"weight": torch.tensor(mode[None, :-1]), "bias": torch.tensor(mode[-1:])})
        precision = last_layer_posterior(head, events(phi, y, variance=variance), "regression").prior_precision
    return precision


def events(
    phi: NDArray[Any], y: NDArray[Any], weight: float | NDArray[Any] = 1.0, variance: float = 1.0
) -> LastLayerEvents:
    n = len(y)
    columns = [np.broadcast_to(np.asarray(values, dtype=float), n).copy() for values in (y, weight, variance)]
    return LastLayerEvents(torch.tensor(phi), *(torch.tensor(column) for column in columns))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.script, which its own curvature imports
def test_curvature_of_classes_is_that_of_laplace_torch_with_two_logits() -> None:
    """One logit f is two logits (0, f): laplace-torch's own curvature of the softmax, in its last four parameters."""
    rng = np.random.default_rng(2)
    phi, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    head = nn.Linear(3, 1).double()
    ours = last_layer_posterior(head, events(phi, y), "classification")
    softmax = nn.Linear(3, 2).double()
    with torch.no_grad():
        softmax.weight.copy_(torch.cat([torch.zeros(1, 3), head.weight]))
        softmax.bias.copy_(torch.cat([torch.zeros(1), head.bias]))
    two = nn.Sequential(nn.Identity(), softmax)
    laplace = import_laplace()
    theirs = laplace.FullLLLaplace(two, "classification", last_layer_name="1", backend=laplace.curvature.CurvlinopsGGN)
    theirs.fit(DataLoader(TensorDataset(torch.tensor(phi), torch.tensor(y)), batch_size=50))
    signal = [3, 4, 5, 7]  # the second logit's weights and bias
    expected = theirs.H.numpy()[np.ix_(signal, signal)] + ours.prior_precision * np.eye(4)
    np.testing.assert_allclose(np.linalg.inv(ours.scale @ ours.scale.T), expected, rtol=1e-5, atol=1e-8)


def test_weights_count_as_events_do() -> None:
    rng = np.random.default_rng(4)
    phi, y = rng.normal(size=(100, 2)), rng.integers(0, 2, 100)
    head = nn.Linear(2, 1).double()
    twice = last_layer_posterior(head, events(np.tile(phi, (2, 1)), np.tile(y, 2)), "classification")
    heavy = last_layer_posterior(head, events(phi, y, weight=2.0), "classification")
    np.testing.assert_allclose(heavy.scale @ heavy.scale.T, twice.scale @ twice.scale.T, rtol=1e-6)
    with pytest.raises(ModelError, match=r"negative eigenvalue.*choose the weight policy"):
        last_layer_posterior(head, events(phi, y, weight=np.where(phi[:, 0] > 0, -1.0, 0.1)), "classification")


def test_the_error_bar_shrinks_as_one_over_the_root_of_events() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(4000, 2))
    y = (rng.random(4000) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    widths = [
        np.median(
            LaplaceClassifier(**LINEAR | {"batch_size": n // 10})
            .fit(X[:n], y[:n])
            .predict_uncertainty(X[:500])
            .epistemic
        )
        for n in (1000, 4000)
    ]
    assert widths[0] / widths[1] == pytest.approx(2.0, rel=0.2)


def test_without_laplace_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "laplace", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fivesigma\[bayes\]'"):
        import_laplace()


def test_a_torchvision_that_cannot_be_imported_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_layer, "_importable", lambda name: False)
    assert hasattr(import_laplace(), "FullLLLaplace")
    assert "torchvision" not in sys.modules
