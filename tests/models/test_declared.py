"""Layers, initialisations and losses against closed forms; the graph's shapes and refusals."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fivesigma.core.errors import ConfigError
from fivesigma.models.declared import DeclaredNetwork
from fivesigma.models.initialisations import INITIALISATIONS
from fivesigma.models.layers import ACTIVATIONS, LAYERS, build_layers
from fivesigma.models.losses import LOSSES

X = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 6))).float()
ONE_HEAD = {"y": {"from": "trunk", "loss": "bce"}}

EXAMPLES: dict[str, tuple[tuple[int, ...], Any, tuple[int, ...]]] = {
    "dense": ((6,), {"dense": 4, "activation": "tanh"}, (4,)),
    "maxout": ((6,), {"maxout": 4, "pieces": 3}, (4,)),
    "highway": ((6,), {"highway": "elu"}, (6,)),
    "residual": ((6,), {"residual": [{"dense": 3, "activation": "relu"}, {"dense": 6}]}, (6,)),
    "dropout": ((6,), {"dropout": 0.5}, (6,)),
    "batch-norm": ((3, 5, 6), {"batch-norm": {}}, (3, 5, 6)),
    "layer-norm": ((6,), "layer-norm", (6,)),
    "conv": ((7, 9), {"conv": 4, "size": 3, "stride": 2, "activation": "relu"}, (4, 4, 5)),
    "max-pool": ((2, 7, 9), {"max-pool": 2}, (2, 3, 4)),
    "flatten": ((2, 3, 4), "flatten", (24,)),
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer_gives_the_shape_that_it_says(name: str) -> None:
    shape, word, expected = EXAMPLES.get(name, ((6,), name, (6,)))
    layer = build_layers(shape, [word])
    assert layer.shape == expected
    assert layer.module(torch.randn(3, *shape)).shape == (3, *expected)
    assert set(ACTIVATIONS) | set(EXAMPLES) == set(LAYERS)


def built(word: Any) -> nn.Module:
    torch.manual_seed(2)
    layer = build_layers((6,), [word])
    for kernel in layer.kernels:
        kernel.initialise()
    return layer.module.eval()


def weights(module: nn.Module) -> list[Any]:
    return [p.detach().double().numpy() for p in module.parameters()]


def test_activations_are_their_formulas() -> None:
    x = X.double().numpy()
    e = np.exp(x)
    formulas = {
        "relu": np.maximum(x, 0),
        "prelu": np.where(x > 0, x, 0.25 * x),
        "elu": np.where(x > 0, x, e - 1),
        "tanh": np.tanh(x),
        "sigmoid": 1 / (1 + 1 / e),
        "softmax": e / e.sum(axis=1, keepdims=True),
    }
    assert set(formulas) == set(ACTIVATIONS)
    for name, expected in formulas.items():
        np.testing.assert_allclose(built(name)(X).detach().numpy(), expected, atol=1e-6, err_msg=name)


def test_layers_are_their_formulas() -> None:
    x = X.double().numpy()
    dense = built({"dense": 4, "activation": "relu"})
    w, b = weights(dense)
    np.testing.assert_allclose(dense(X).detach().numpy(), np.maximum(x @ w.T + b, 0), atol=1e-5)
    maxout = built({"maxout": 4, "pieces": 3})
    w, b = weights(maxout)
    np.testing.assert_allclose(maxout(X).detach().numpy(), (x @ w.T + b).reshape(50, 4, 3).max(axis=2), atol=1e-5)
    highway = built({"highway": "tanh", "gate_bias": -1.0})
    w, b, v, c = weights(highway)
    assert (c == -1.0).all()
    gate = 1 / (1 + np.exp(-(x @ v.T + c)))
    np.testing.assert_allclose(highway(X).detach().numpy(), gate * np.tanh(x @ w.T + b) + (1 - gate) * x, atol=1e-5)
    norm = built("layer-norm")
    centred = x - x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        norm(X).detach().numpy(), centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5), atol=1e-5
    )
    batch = built("batch-norm").train()
    np.testing.assert_allclose(
        batch(X).detach().numpy(), (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5), atol=1e-5
    )


def test_a_residual_layer_is_the_identity_at_first_and_a_shut_highway_nearly() -> None:
    words = [{"dense": 9, "activation": "relu"}, {"dense": 6}]
    torch.testing.assert_close(built({"residual": words})(X), X)
    added = built({"residual": {"layers": words, "identity": False}})(X)
    assert float((added - X).detach().square().mean()) > 0.1
    torch.testing.assert_close(built({"highway": {"gate_bias": -30.0}})(X), X)


def test_dropout_keeps_the_mean_in_training_and_does_nothing_after() -> None:
    torch.manual_seed(3)
    dropout = build_layers((1000,), [{"dropout": 0.4}]).module
    ones = torch.ones(200, 1000)
    dropped = dropout.train()(ones)
    assert float((dropped == 0).double().mean()) == pytest.approx(0.4, abs=5 * math.sqrt(0.24 / 2e5))
    assert float(dropped.double().mean()) == pytest.approx(1.0, abs=5 * math.sqrt(0.4 / 0.6 / 2e5))
    torch.testing.assert_close(dropout.eval()(ones), ones)


@pytest.mark.parametrize(
    ("init", "variance"),
    [("he", 2 / 300), ("glorot", 2 / (300 + 200)), ("autoencoder", 2 / (300 + 200)), ("zero", 0.0)],
)
def test_initialisations_have_their_variances(init: str, variance: float) -> None:
    torch.manual_seed(4)
    layer = build_layers((300,), [{"dense": 200, "init": init}])
    layer.kernels[0].initialise()
    weight, bias = layer.module.parameters()
    assert float(weight.detach().double().var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / 6e4), abs=1e-12)
    assert float(weight.detach().double().mean()) == pytest.approx(0.0, abs=5 * math.sqrt(variance / 6e4))
    assert not bias.any()
    if init == "glorot":
        assert float(weight.detach().abs().max()) <= math.sqrt(6 / 500)


def test_orthogonal_rows_and_the_fans_of_filters() -> None:
    layer = build_layers((300,), [{"dense": 20, "init": "orthogonal"}])
    layer.kernels[0].initialise()
    weight = next(layer.module.parameters()).detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(20), atol=1e-5, rtol=0)
    kernel = build_layers((3, 9, 9), [{"conv": 8, "size": 5}]).kernels[0]
    assert (kernel.fan_in, kernel.fan_out) == (3 * 25, 8 * 25)
    assert set(INITIALISATIONS) == {"he", "glorot", "autoencoder", "zero", "orthogonal"}


def test_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(5)
    one, several, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 3)), rng.normal(size=40)
    label, which = rng.integers(0, 2, 40), rng.integers(0, 3, 40)
    p = 1 / (1 + np.exp(-one[:, 0]))
    softmax = np.exp(several) / np.exp(several).sum(axis=1, keepdims=True)
    r = np.abs(one[:, 0] - y)
    q = np.array([0.1, 0.5, 0.9])
    rest = y[:, None] - several
    cases: list[tuple[str, dict[str, Any], int, Any, Any, Any]] = [
        ("bce", {}, 2, one, label, -np.where(label, np.log(p), np.log(1 - p))),
        ("cross-entropy", {}, 3, several, which, -np.log(softmax[np.arange(40), which])),
        ("mse", {}, 2, one, y, r**2),
        ("huber", {"delta": 0.7}, 2, one, y, np.where(r < 0.7, 0.5 * r**2, 0.7 * (r - 0.35))),
        (
            "quantile",
            {"quantiles": q.tolist()},
            2,
            several,
            y,
            np.where(rest > 0, q * rest, (q - 1) * rest).mean(axis=1),
        ),
    ]
    assert {name for name, *_ in cases} == set(LOSSES)
    for name, options, classes, output, target, expected in cases:
        loss = LOSSES[name].build(classes, **options)
        assert loss.outputs == output.shape[1]
        found = loss.of(torch.from_numpy(output), torch.from_numpy(target.astype(np.float64))).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


def test_several_heads_add_up_with_their_weights_and_numbers_are_standardised() -> None:
    heads = {
        "signal": {"from": "trunk", "loss": "bce"},
        "energy": {"from": "trunk", "loss": "mse", "target": "e", "weight": 0.25},
    }
    network = DeclaredNetwork({"x": (6,)}, {"trunk": {"from": "x", "layers": [{"dense": 5}]}}, heads)
    network.initialise()
    energy = network.head("energy")
    energy.centre.fill_(100.0)
    energy.width.fill_(20.0)
    y = torch.stack([torch.arange(50) % 2, 100 + 20 * X[:, 0]], dim=1).float()
    output = network(X)
    expected = LOSSES["bce"].build(2).of(output[:, :1], y[:, 0]) + 0.25 * (output[:, 1] - X[:, 0]).square()
    torch.testing.assert_close(network.loss(output, y), expected)
    torch.testing.assert_close(network.predicted(output)["energy"][:, 0], 100 + 20 * output[:, 1])


@pytest.mark.parametrize(
    ("blocks", "heads", "message"),
    [
        (
            {"trunk": {"from": "x", "layers": [{"dens": 3}]}},
            ONE_HEAD,
            "block 'trunk', layer 1: unknown layer 'dens'; did you mean 'dense'",
        ),
        (
            {"trunk": {"from": "x", "layers": [{"dense": 3}, {"conv": 2}]}},
            ONE_HEAD,
            r"block 'trunk', layer 2: expected an image, .* got \(3,\)",
        ),
        (
            {"trunk": {"from": "x", "layers": [{"dense": 3, "activation": "rleu"}]}},
            ONE_HEAD,
            "unknown activation 'rleu'; did you mean 'relu'",
        ),
        (
            {"trunk": {"from": "x", "layers": [{"dense": 3, "init": "hee"}]}},
            ONE_HEAD,
            "unknown initialisation 'hee'; did you mean 'he'",
        ),
        (
            {"trunk": {"from": "x", "layers": [{"dense": 3, "actvation": "relu"}]}},
            ONE_HEAD,
            "unknown option of the layer 'dense' 'actvation'; did you mean 'activation'",
        ),
        ({"trunk": {"from": "x", "layers": [{"dense": 3, "relu": {}}]}}, ONE_HEAD, "dense and relu are two layers"),
        (
            {"trunk": {"from": "x", "layers": [{"dense": 2.5}]}},
            ONE_HEAD,
            "nodes must be a whole number of at least 1, got 2.5",
        ),
        ({"trunk": {"from": "x", "layers": [{"residual": [{"dense": 5}]}]}}, ONE_HEAD, r"expected \(6,\), got \(5,\)"),
        (
            {"trunk": {"from": "z", "layers": []}},
            ONE_HEAD,
            "block 'trunk': unknown input or block before it 'z'.* Known: image, x",
        ),
        (
            {"trunk": {"from": ["x", "image"], "layers": []}},
            ONE_HEAD,
            r"expected \(feature,\) from 'image', got \(4, 4\): put `flatten`",
        ),
        ({"trunk": {"from": "image", "layers": ["flatten"]}}, ONE_HEAD, "the input 'x' leads to no head"),
        ({"trunk": {"from": "x", "layers": []}}, {"y": {"from": "trunk", "loss": "bse"}}, "unknown loss 'bse'"),
        (
            {"trunk": {"from": "x", "layers": []}},
            {"y": {"from": "image", "loss": "bce"}},
            r"head 'y': expected \(feature,\), got \(4, 4\)",
        ),
        (
            {"trunk": {"from": "x", "layers": []}},
            {"y": {"from": "trunk", "loss": "huber", "detla": 1}},
            "head 'y', loss 'huber': .*detla",
        ),
        ({"x": {"from": "x", "layers": []}}, ONE_HEAD, "two inputs or blocks are called 'x'"),
        ({"keys": {"from": "x", "layers": []}}, ONE_HEAD, "'keys' cannot name the block"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(blocks: Any, heads: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DeclaredNetwork({"x": (6,), "image": (4, 4)}, blocks, heads)
