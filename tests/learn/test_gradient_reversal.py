"""Gradient reversal: one step against the minimax written out, a domain shift that it overcomes, mixtures that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.learn import DenseClassifier, GradientReversalClassifier
from fivesigma.learn.class_mixture import estimate_mixture
from fivesigma.learn.training_events import events_of

NETWORK: dict[str, Any] = {
    "architecture": {"nodes": [32, 32]},
    "dropout": 0.0,
    "batch_norm": False,
    "epochs": 5,
    "precision": "float32",
}
TINY: dict[str, Any] = {"network_options": {**NETWORK, "architecture": {"nodes": [8]}, "epochs": 2}, "epochs": 1}


def draw(n: int, domain: int, share: float, seed: int) -> tuple[Any, Any]:
    """x₀ separates the classes alike in both domains; x₁ in opposite directions, and it tells the domain."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=(n, 2))
    x[:, 0] += y
    x[:, 1] = 0.7 * x[:, 1] + (y if domain == 0 else 3.0 - y)
    return x.astype(np.float32), y


ONE_EVENT = {"check_fit2d_1sample": "a single event cannot be of two domains; the error says which has none"}


class ReversalOfEveryThird(GradientReversalClassifier):
    """As scikit-learn's checks call it, which have no domains."""

    def fit(self, X: Any, y: Any, weight: Any | None = None, **more: Any) -> Any:
        domain = (np.arange(np.asarray(y).size) % 3 == 2).astype(int)
        return super().fit(X, y, weight, domain=domain, **more)


@parametrize_with_checks(
    [
        ReversalOfEveryThird(
            network_options={**NETWORK, "epochs": 30, "batch_size": 32, "learning_rate": 0.02}, epochs=1, penalty=0.1
        )
    ],
    expected_failed_checks=lambda _: ONE_EVENT,
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_losses_pull_where_the_minimax_says() -> None:
    """The domain head down L_d, the label head down L_y, the features down L_y − λ L_d."""
    X, y = draw(60, 0, 0.5, 1)
    X_data, y_data = draw(60, 1, 0.5, 2)
    model = GradientReversalClassifier(**TINY).fit(
        np.concatenate([X, X_data]), np.concatenate([y, y_data]), domain=np.repeat([0, 1], 60)
    )
    ones, strength = np.ones(60), 0.6
    source, data = events_of(X, y, ones), events_of(X_data, y_data, ones)
    model.network_.zero_grad()
    model.adversary_.zero_grad()
    model._losses(source, data, source.weight, strength).sum().backward()
    found = [p.grad for p in [*model.network_.parameters(), *model.adversary_.parameters()]]

    features, to_logit = model.network_[:-1], model.network_[-1]
    head = model.adversary_.network
    assert isinstance(head, nn.Module)
    seen = features(torch.cat([source.X, data.X]))
    s = torch.sigmoid(to_logit(seen[:60])[:, 0])
    d = torch.sigmoid(head(seen)[:, 0])
    label_loss = -(source.y * s.log() + (1 - source.y) * (1 - s).log()).mean()
    domain_loss = -torch.cat([(1 - d[:60]).log(), d[60:].log()]).mean()
    of_features = torch.autograd.grad(
        label_loss - strength * domain_loss, list(features.parameters()), retain_graph=True
    )
    of_label = torch.autograd.grad(label_loss, list(to_logit.parameters()), retain_graph=True)
    of_domain = torch.autograd.grad(domain_loss, list(head.parameters()))
    for gradient, expected in zip(found, [*of_features, *of_label, *of_domain], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_reversal_overcomes_a_feature_that_the_simulation_has_wrong() -> None:
    X, y = draw(3000, 0, 0.5, 1)
    X_data, _ = draw(3000, 1, 0.5, 2)
    X_test, y_test = draw(3000, 1, 0.5, 3)
    both, domain = np.concatenate([X, X_data]), np.repeat([0, 1], 3000)
    labels = np.concatenate([y, np.full(3000, 1)])
    auc = {}
    for penalty in (0.0, 1.0):
        model = GradientReversalClassifier(penalty=penalty, network_options=NETWORK, epochs=12, learning_rate=0.01)
        model.fit(both, labels, domain=domain)
        auc[penalty] = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
    assert auc[0.0] < 0.45
    assert auc[1.0] > auc[0.0] + 0.1


def test_labels_of_the_target_are_not_looked_at() -> None:
    X, y = draw(200, 0, 0.5, 1)
    domain = np.arange(200) % 2
    scores = []
    for wrong in (0, 1):
        labels = np.where(domain == 1, wrong, y)
        scores.append(GradientReversalClassifier(**TINY).fit(X, labels, domain=domain).predict_proba(X))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_warm_start_begins_with_the_weights_of_the_trained_network(tmp_path: Path) -> None:
    X, y = draw(400, 0, 0.5, 1)
    domain = np.arange(400) % 2
    plain = DenseClassifier(**NETWORK).fit(X, y)
    plain.save(tmp_path / "plain")
    warm = GradientReversalClassifier(warm_start=tmp_path / "plain", epochs=1, learning_rate=1e-9, penalty=0.0)
    warm.fit(X, y, domain=domain)
    np.testing.assert_allclose(warm.predict_proba(X), plain.predict_proba(X), atol=1e-5)
    warm.save(tmp_path / "warm")
    loaded = GradientReversalClassifier.load(tmp_path / "warm")
    np.testing.assert_array_equal(loaded.predict_proba(X), warm.predict_proba(X))


def test_a_domain_without_events_is_named() -> None:
    X, y = draw(50, 0, 0.5, 1)
    for value, name in ((0, "target"), (1, "source")):
        with pytest.raises(FeatureError, match=rf"{name}.* has no events"):
            GradientReversalClassifier(**TINY).fit(X, y, domain=np.full(50, value))
    with pytest.raises(ConfigError, match="needs `domain`"):
        GradientReversalClassifier(**TINY).fit(X, y)
    with pytest.raises(FeatureError, match=r"expected one domain per event \(50,\), got \(49,\)"):
        GradientReversalClassifier(**TINY).fit(X, y, domain=np.zeros(49))
    with pytest.raises(FeatureError, match="expected domains 0 and 1"):
        GradientReversalClassifier(**TINY).fit(X, y, domain=np.arange(50) % 3)


def test_the_mixture_of_the_target_is_found_and_said() -> None:
    X, y = draw(3000, 0, 0.5, 1)
    X_data, y_data = draw(3000, 0, 0.1, 2)
    model = GradientReversalClassifier(**TINY | {"network_options": NETWORK}, match_mixture=True)
    model.fit(np.concatenate([X, X_data]), np.concatenate([y, y_data]), domain=np.repeat([0, 1], 3000))
    mixture = model.training_["mixture"]
    assert mixture["differs"]
    assert abs(mixture["target"] - y_data.mean()) < 3 * mixture["uncertainty"]
    assert "reversal may harm" in model.training_["statement"]


def test_the_uncertainty_of_a_mixture_covers() -> None:
    """Of 200 samples, 68 % within one standard deviation; negative weights included."""
    pulls = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 1500)
        weight = np.where(rng.random(1500) < 0.1, -1.0, 1.0)
        data = rng.normal(rng.random(1000) < 0.3)
        found = estimate_mixture(rng.normal(y), y, weight, data)
        pulls.append((found.target - 0.3) / found.uncertainty)
    inside = np.mean(np.abs(pulls) < 1)
    assert abs(inside - 0.683) < 3 * np.sqrt(0.683 * 0.317 / 200)
    assert abs(np.mean(pulls)) < 0.3
