"""Declared networks as estimators: several inputs, heads and classes; numbers; pre-training; warm starts; streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.learn.jets import FLAT, small_jets

from fivesigma.core.errors import ConfigError, FeatureError, ModelError
from fivesigma.core.estimator import Labelled
from fivesigma.dataset import BatchLoader
from fivesigma.learn import DeclaredClassifier, DeclaredRegressor, DenseClassifier
from fivesigma.learn.pretraining import pretrain

FAST: dict[str, Any] = {"precision": "float32", "batch_size": 64, "learning_rate": 0.01}
RNG = np.random.default_rng(1)


def gaussians(n: int, means: list[list[float]], seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(means), n)
    return rng.normal(size=(n, len(means[0]))) + np.asarray(means)[y], y


def trunk(*layers: Any, sources: Any = "x") -> dict[str, Any]:
    return {"trunk": {"from": sources, "layers": list(layers)}}


def test_three_classes_have_the_known_posterior() -> None:
    means = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]
    X, y = gaussians(6000, means)
    model = DeclaredClassifier(blocks=trunk({"dense": 16, "activation": "tanh"}), epochs=8, **FAST).fit(X, y * 10)
    assert model.classes_.tolist() == [0, 10, 20]
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, -1.0]])
    density = np.exp(-0.5 * ((points[:, None] - np.asarray(means)) ** 2).sum(axis=2))
    p = model.predict_proba(points)
    np.testing.assert_allclose(p, density / density.sum(axis=1, keepdims=True), atol=0.08)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    with pytest.raises(
        ConfigError, match="head 'y', loss 'bce': expected 2 classes, got 3: use the loss 'cross-entropy'"
    ):
        DeclaredClassifier(heads={"y": {"from": "trunk", "loss": "bce"}}).fit(X, y)


def test_two_inputs_say_what_neither_says_alone_and_a_second_head_learns_its_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    spot, sign = rng.integers(0, 2, 3000), rng.integers(0, 2, 3000)
    images = rng.exponential(0.2, (3000, 6, 6))
    images[np.arange(3000), 1 + 3 * spot, 2] += 3.0
    variables = rng.normal(size=(3000, 2)) * 0.3 + (2 * sign[:, None] - 1)
    y = spot ^ sign
    mass = 80.0 + 10.0 * variables[:, 0]
    blocks = {
        "tower": {"from": "images", "layers": [{"conv": 4, "activation": "relu"}, {"max-pool": 2}, "flatten"]},
        **trunk(
            {"dense": 16, "activation": "relu"}, {"dense": 16, "activation": "relu"}, sources=["tower", "variables"]
        ),
    }
    heads = {
        "signal": {"from": "trunk", "loss": "bce"},
        "mass": {"from": "trunk", "loss": "mse", "target": "jet_mass", "weight": 0.3},
    }
    X = {"images": images, "variables": variables}
    model = DeclaredClassifier(blocks=blocks, heads=heads, epochs=8, **FAST)
    train, test = slice(0, 2000), slice(2000, None)
    part = {name: array[train] for name, array in X.items()}
    rest = {name: array[test] for name, array in X.items()}
    learnt = np.stack([y, mass], axis=1)
    model.fit(part, learnt[train], validation=Labelled(rest, learnt[test], np.ones(1000)))  # type: ignore[arg-type]
    assert roc_auc_score(y[test], model.predict_proba(rest)[:, 1]) > 0.98
    found = model.predict_heads(rest)["mass"][:, 0]
    assert np.std(found - mass[test]) < 0.3 * np.std(mass)
    assert model.targets == ("jet_mass",)

    packed = np.concatenate([images.reshape(3000, -1), variables], axis=1)
    np.testing.assert_array_equal(model.predict_proba(packed[test]), model.predict_proba(rest))
    stated = DeclaredClassifier(
        blocks=blocks, heads=heads, inputs={"images": [6, 6], "variables": [2]}, epochs=1, **FAST
    ).fit(packed[train], learnt[train])
    assert stated.shapes_ == model.shapes_
    model.save(tmp_path)
    loaded = DeclaredClassifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(rest), model.predict_proba(rest))

    with pytest.raises(FeatureError, match="expected the inputs images, variables; got images"):
        model.predict_proba({"images": images})
    with pytest.raises(FeatureError, match=r"input 'images': expected events of shape \(6, 6\), got \(5, 6\)"):
        model.predict_proba({"images": images[:, :5], "variables": variables})
    with pytest.raises(FeatureError, match="equally many events"):
        model.predict_proba({"images": images[:5], "variables": variables})
    with pytest.raises(
        FeatureError, match=r"heads learn jet_mass beside y: expected y of shape \(event, 2\), got \(3000,\)"
    ):
        model.fit(X, y)
    broken = learnt.copy()
    broken[7, 1] = np.nan
    with pytest.raises(FeatureError, match="target 'jet_mass': nan in entry 7"):
        model.fit(X, broken)
    with pytest.raises(FeatureError, match="input 'variables' contains NaN"):
        model.fit({"images": images, "variables": np.where(variables > 1, np.nan, variables)}, learnt)


def test_a_regressor_finds_the_line_and_quantiles_hold_their_share() -> None:
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (6000, 1))
    y = 500.0 + 40.0 * X[:, 0] + 10.0 * rng.normal(size=6000)
    heads = {"energy": {"from": "x", "loss": "quantile", "quantiles": [0.16, 0.5, 0.84]}}
    model = DeclaredRegressor(blocks={}, heads=heads, epochs=10, **FAST).fit(X[:4000], y[:4000])
    bands = model.predict_heads(X[4000:])["energy"]
    below = (y[4000:, None] < bands).mean(axis=0)
    np.testing.assert_allclose(below, [0.16, 0.5, 0.84], atol=4 * np.sqrt(0.25 / 2000))
    np.testing.assert_array_equal(model.predict(X[4000:]), bands[:, 1])
    np.testing.assert_allclose(model.predict([[-1.0], [0.0], [1.0]]), [460.0, 500.0, 540.0], atol=3.0)


def test_signed_weights_cancel_in_a_regression() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (3000, 1))
    y = 3.0 * X[:, 0]
    X_all, y_all = np.concatenate([X, X, X]), np.concatenate([y, y + 50.0, y + 50.0])
    weight = np.concatenate([np.ones(3000), np.ones(3000), -np.ones(3000)])
    heads = {"y": {"from": "x", "loss": "mse"}}
    model = DeclaredRegressor(
        blocks={}, heads=heads, epochs=25, **{**FAST, "batch_size": 1000, "learning_rate": 0.05}
    ).fit(X_all, y_all, weight)
    np.testing.assert_allclose(model.predict([[-1.0], [1.0]]), [-3.0, 3.0], atol=1.5)


def test_pretraining_layer_by_layer_reproduces_what_lies_on_a_plane() -> None:
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 8))).astype(np.float32)
    blocks = trunk({"dense": 2, "init": "autoencoder"}, "tanh", {"dense": 2, "init": "autoencoder"})
    errors = {}
    for epochs in (0, 80):
        model = DeclaredClassifier(blocks=blocks, epochs=1, pretraining_epochs=0, seed=2, **FAST).fit(X, X[:, 0] > 0)
        torch.manual_seed(1)
        network = model._build()
        network.initialise()
        errors[epochs] = pretrain(network, torch.from_numpy(X), epochs)
    assert len(errors[80]) == 2  # one a layer; two numbers carry all of both layers' inputs
    assert max(errors[80]) < 0.05 < 0.3 < min(errors[0])


def test_a_warm_start_goes_on_from_the_trained_weights(tmp_path: Path) -> None:
    X, y = gaussians(1500, [[0.0] * 4, [0.7] * 4])
    options = {**FAST, "architecture": {"nodes": [8]}}
    first = DenseClassifier(epochs=3, **options).fit(X, y)
    first.save(tmp_path)
    still = DenseClassifier(epochs=1, warm_start=tmp_path, **{**options, "learning_rate": 1e-9}).fit(X, y)
    assert still.training_["warm_start"]["kept"] == still.training_["warm_start"]["unused"] == []
    for name, value in first.network_.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(still.network_.state_dict()[name], value, atol=1e-6)
    with pytest.raises(ModelError, match=r"'dense1.weight' has the shape \(8, 4\) there, expected \(9, 4\)"):
        DenseClassifier(epochs=1, warm_start=tmp_path, **{**options, "architecture": {"nodes": [9]}}).fit(X, y)
    with pytest.raises(ModelError, match="warm starts need the same layers"):
        DeclaredClassifier(epochs=1, warm_start=tmp_path, **FAST).fit(X, y)


def test_a_trunk_is_carried_over_to_another_head(tmp_path: Path) -> None:
    X, y = gaussians(800, [[0.0] * 3, [1.0] * 3])
    blocks = trunk({"dense": 8, "activation": "relu"})
    DeclaredRegressor(blocks=blocks, epochs=2, **FAST).fit(X, X[:, 0]).save(tmp_path)
    heads = {"signal": {"from": "trunk", "loss": "bce"}}
    model = DeclaredClassifier(blocks=blocks, heads=heads, epochs=1, warm_start=tmp_path, **FAST).fit(X, y)
    copied = model.training_["warm_start"]
    assert [name for name in copied["copied"] if "trunk" in name]
    assert {name.split(".")[1] for name in copied["kept"]} == {"signal"}
    assert {name.split(".")[1] for name in copied["unused"]} == {"y"}


def test_a_declared_network_trains_on_a_stream_too(tmp_path: Path) -> None:
    dataset = small_jets(tmp_path)
    options = {**FAST, "epochs": 12, "batch_size": None, "blocks": trunk({"dense": 16, "activation": "relu"})}
    shared: dict[str, Any] = {"batch_size": 100, "block_rows": 50, "blocks_in_buffer": 8, "columns": ("c",)}
    loader = BatchLoader(dataset, flat=FLAT[:2], folds=(0, 1, 2), **shared)
    test = dataset.fold == 4
    X = np.stack([np.asarray(dataset.column(name)) for name in FLAT[:2]], axis=1)
    heads = {
        "signal": {"from": "trunk", "loss": "bce"},
        "c": {"from": "trunk", "loss": "mse", "target": "c", "weight": 0.1},
    }
    model = DeclaredClassifier(heads=heads, **options).fit_stream(loader)
    assert roc_auc_score(dataset.y[test], model.predict_proba(X[test])[:, 1]) > 0.75
    regressor = DeclaredRegressor(**{**options, "blocks": {}, "learning_rate": 0.05}).fit_stream(loader, "c")
    # one linear layer and squared error: the weighted least squares of the same events
    train = np.isin(dataset.fold, (0, 1, 2))
    ones_and_X = np.column_stack([np.ones(len(X)), X]).astype(np.float64)
    weighted = ones_and_X[train].T * dataset.weight[train]
    solution = np.linalg.solve(weighted @ ones_and_X[train], weighted @ np.asarray(dataset.column("c"))[train])
    np.testing.assert_allclose(regressor.predict(X[test]), ones_and_X[test] @ solution, atol=0.1)
    with pytest.raises(ConfigError, match="the network learns d: give them to the loader"):
        DeclaredRegressor(**options).fit_stream(loader, "d")


def test_heads_that_cannot_be_meant() -> None:
    X, y = gaussians(100, [[0.0], [1.0]])
    two = {name: {"from": "trunk", "loss": "bce"} for name in ("a", "b")}
    with pytest.raises(ConfigError, match="one head has no `target`, it learns the labels; here: a, b"):
        DeclaredClassifier(heads=two, **FAST).fit(X, y)
