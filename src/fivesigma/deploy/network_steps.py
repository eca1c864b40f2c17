"""Networks of torch as `FeedForward`: which of our learners are one plain function of their inputs, and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fivesigma.core.errors import ModelError
from fivesigma.deploy.feed_forward import (
    Activated,
    Added,
    Affine,
    FeedForward,
    Float64,
    Function,
    Gated,
    Joined,
    Largest,
    Normalised,
    Part,
    Scaled,
    Step,
    simplified,
)
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.learn.adversarial import AdversarialClassifier
from fivesigma.learn.declared_training import DeclaredTraining
from fivesigma.learn.error_bars import DeepEnsembleClassifier, DeepEnsembleRegressor
from fivesigma.learn.error_bars.network import ErrorBarNetwork, SharedDropout
from fivesigma.learn.network_classifier import NetworkClassifier
from fivesigma.models.declared import DeclaredNetwork
from fivesigma.models.layers import Highway, Residual
from fivesigma.models.maxout import Maxout
from fivesigma.models.networks import InputScale

Link = Literal["logistic", "identity"]
FUNCTIONS: dict[type[nn.Module], Function] = {
    nn.ReLU: "relu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Softmax: "softmax",
}


@dataclass(frozen=True)
class NetworkLearner:
    """How a learner gives its network, and the network's output by torch for X, (event, feature) → (event,)."""

    steps: Callable[[Any], FeedForward]
    score: Callable[[Any, Any], Float64]


NETWORK_LEARNERS = (
    "dense",
    "maxout",
    "network",
    "network-regressor",
    "pivot",
    "gradient-reversal",
    "deep-ensemble",
    "deep-ensemble-regressor",
)
"""Registered names of the estimators that come down to networks of layers."""


def network_learner(model: TrainedModel) -> NetworkLearner | None:
    """How this model's network is had; None if it is no network that is a plain function of its inputs."""
    for kinds, learner in _LEARNERS:
        if isinstance(model.estimator, kinds):
            return learner
    return None


def feed_forward(model: TrainedModel) -> FeedForward:
    """The model's network.

    Raises
    ------
    ModelError
        if the learner is none of those that come down to one network, or a layer is not one of those that can be written
        out.
    """
    learner = network_learner(model)
    if learner is None:
        raise ModelError(
            f"model {model.name!r}: {model.kind} is not one network of layers; those are {', '.join(NETWORK_LEARNERS)}"
        )
    return learner.steps(model.estimator)


@dataclass
class _Builder:
    """Steps as they are found, by the number of the value that each makes."""

    steps: dict[int, Step] = field(default_factory=dict)

    def add(self, step: Step) -> int:
        self.steps[len(self.steps) + 1] = step
        return len(self.steps)

    def module(self, module: nn.Module, source: int) -> int:
        """The value that a module makes of ``source``."""
        match module:
            case nn.Sequential():
                for layer in module:
                    source = self.module(layer, source)
                return source
            case nn.Flatten() | nn.Dropout() | SharedDropout() | nn.Identity():
                return source
            case Maxout():
                return self.add(Largest(self._affine(module, source), module.pieces))
            case nn.Linear():
                return self._affine(module, source)
            case nn.BatchNorm1d():
                assert module.running_var is not None
                factor = _array(module.weight) / np.sqrt(_array(module.running_var) + module.eps)
                return self.add(Scaled(source, factor, _array(module.bias) - factor * _array(module.running_mean)))
            case nn.LayerNorm():
                return self.add(Normalised(source, _array(module.weight), _array(module.bias), module.eps))
            case Residual():
                return self.add(Added(source, self.module(module.function, source)))
            case Highway():
                gate = self.add(Activated(self._affine(module.gate, source), "sigmoid"))
                new = self.module(module.activation, self._affine(module.transform, source))
                return self.add(Gated(gate, new, source))
            case nn.PReLU():
                return self.add(Activated(source, "prelu", float(module.weight.detach())))
        if type(module) in FUNCTIONS:
            return self.add(Activated(source, FUNCTIONS[type(module)]))
        raise ModelError(
            f"the layer {type(module).__name__} cannot be written in C; those that can: dense, maxout, highway, residual, "
            "batch-norm, layer-norm, dropout and the activations"
        )

    def _affine(self, module: nn.Linear, source: int) -> int:
        weight, bias = _array(module.weight), getattr(module, "bias", None)
        return self.add(Affine(source, weight, np.zeros(len(weight)) if bias is None else _array(bias)))

    def finished(self, output: int, shift: Float64, scale: Float64, link: Link, *, is_probability: bool) -> FeedForward:
        return FeedForward(shift, scale, simplified(self.steps, output), link, is_probability)


def _array(tensor: Any) -> Float64:
    assert isinstance(tensor, Tensor)
    return tensor.detach().numpy().astype(np.float64)


# --- dense, maxout and what goes on from them


def _sequential_steps(estimator: Any) -> FeedForward:
    """A network of ``NETWORKS``: an input scale, layers, one logit."""
    first, *layers = estimator.network_
    assert isinstance(first, InputScale)
    build = _Builder()
    output = build.module(nn.Sequential(*layers), 0)
    features = next(layer.in_features for layer in estimator.network_.modules() if isinstance(layer, nn.Linear))
    scale = np.full(features, float(first.scale))
    return build.finished(output, np.zeros(features), scale, "logistic", is_probability=True)


def _sequential_score(estimator: Any, X: Any) -> Float64:
    return _by_torch(estimator.network_, X)[:, 0]


def _by_torch(network: nn.Module, X: Any) -> Float64:
    with torch.inference_mode():
        outputs = [network.eval()(x) for x in torch.from_numpy(np.asarray(X, np.float32)).split(4096)]
    return torch.cat(outputs).double().numpy()


# --- networks that a study declares


def _declared_steps(estimator: Any) -> FeedForward:
    """The head that learns the labels (or y), and all that leads to it."""
    network: DeclaredNetwork = estimator.network_
    build = _Builder()
    known, begin, scale = {}, 0, []
    for name, shape in network.shapes.items():
        end = begin + int(np.prod(shape))
        known[name] = build.add(Part(0, begin, end)) if len(network.shapes) > 1 else 0
        scale += [_array(network.scales[name].scale).item()] * (end - begin)
        begin = end

    def joined(names: tuple[str, ...]) -> int:
        return known[names[0]] if len(names) == 1 else build.add(Joined(tuple(known[name] for name in names)))

    for name, block in network.blocks.items():
        known[name] = build.module(block, joined(network.sources[name]))
    own = _own_head(network)
    head, loss = network.head(own), network.losses[own]
    output = build.module(head.linear, joined(network.words[own].sources))
    output, link = _declared_output(build, output, network, own)
    return build.finished(output, np.zeros(begin), np.array(scale), link, is_probability=loss.kind != "number")


def _declared_output(build: _Builder, output: int, network: DeclaredNetwork, own: str) -> tuple[int, Link]:
    """One number of the head's: the logit of signal, or the target in its unit."""
    head, loss = network.head(own), network.losses[own]
    if loss.kind == "number":
        row = np.zeros((1, loss.outputs))
        row[0, loss.best] = float(head.width)
        return _through(build, output, row, np.array([float(head.centre)])), "identity"
    if loss.outputs == 1:
        return output, "logistic"
    if loss.outputs > 2:
        raise ModelError(f"the head {own!r} tells {loss.outputs} classes apart; this target takes two")
    return _through(build, output, np.array([[-1.0, 1.0]]), np.zeros(1)), "logistic"


def _own_head(network: DeclaredNetwork) -> str:
    return next(name for name, words in network.words.items() if words.target is None)


def _through(build: _Builder, output: int, row: Float64, bias: Float64) -> int:
    """An affine step after another, as one."""
    last = build.steps[output]
    assert isinstance(last, Affine)
    build.steps[output] = Affine(last.source, row @ last.weight, row @ last.bias + bias)
    return output


def _declared_score(estimator: Any, X: Any) -> Float64:
    network: DeclaredNetwork = estimator.network_
    own = _own_head(network)
    output = torch.from_numpy(_by_torch(network, X))
    values, head, loss = network.split(output)[own], network.head(own), network.losses[own]
    if loss.kind == "number":
        return (values[:, loss.best] * head.width.double() + head.centre.double()).detach().numpy()
    return (values[:, 0] if loss.outputs == 1 else values[:, 1] - values[:, 0]).numpy()


# --- deep ensembles: the mean over members of the probability, or of the target


def _ensemble_steps(estimator: Any) -> FeedForward:
    networks: list[ErrorBarNetwork] = estimator.networks_
    first = networks[0].standardise
    shift, scale = _array(first.mean), _array(first.deviation)
    classifier = isinstance(estimator, DeepEnsembleClassifier)
    build, members = _Builder(), []
    for network in networks:
        own_shift, own_scale = _array(network.standardise.mean), _array(network.standardise.deviation)
        source = 0
        if not (np.array_equal(own_shift, shift) and np.array_equal(own_scale, scale)):
            source = build.add(Scaled(0, scale / own_scale, (shift - own_shift) / own_scale))
        members.append(build.module(nn.Sequential(network.trunk, network.head), source))
    if len(members) == 1 and classifier:
        return build.finished(members[0], shift, scale, "logistic", is_probability=True)
    mean = np.full((1, len(members)), 1.0 / len(members))
    joined = build.add(Joined(tuple(members)))
    if classifier:
        output = build.add(Affine(build.add(Activated(joined, "sigmoid")), mean, np.zeros(1)))
    else:
        row = mean * estimator.target_deviation_
        output = build.add(Affine(joined, row, np.array([estimator.target_mean_])))
    return build.finished(output, shift, scale, "identity", is_probability=classifier)


def _ensemble_score(estimator: Any, X: Any) -> Float64:
    outputs = np.stack([_by_torch(network, X)[:, 0] for network in estimator.networks_])
    if isinstance(estimator, DeepEnsembleRegressor):
        return np.asarray(estimator.target_mean_ + estimator.target_deviation_ * outputs.mean(axis=0))
    if len(outputs) == 1:
        return np.asarray(outputs[0])
    with np.errstate(over="ignore"):
        return np.asarray((1.0 / (1.0 + np.exp(-outputs))).mean(axis=0))


_LEARNERS: tuple[tuple[Any, NetworkLearner], ...] = (
    ((NetworkClassifier, AdversarialClassifier), NetworkLearner(_sequential_steps, _sequential_score)),
    (DeclaredTraining, NetworkLearner(_declared_steps, _declared_score)),
    ((DeepEnsembleClassifier, DeepEnsembleRegressor), NetworkLearner(_ensemble_steps, _ensemble_score)),
)
