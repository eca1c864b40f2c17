"""The layers that a declared network is made of, by name, with the shapes that they take and give.

A layer is built for the shape of one event, without the batch: (feature,) of flat layers, (row, column) or
(channel, row, column) of images.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import Registry, unknown_name
from fivesigma.models.convolutional import Channel
from fivesigma.models.initialisations import INITIALISATIONS
from fivesigma.models.maxout import Maxout
from fivesigma.models.networks import Shape


@dataclass(frozen=True)
class Kernel:
    """A module with ``weight`` and ``bias``, and how both start."""

    module: nn.Module
    init: str
    fan_in: int
    fan_out: int
    bias: float = 0.0
    layer: nn.Module | None = None  # that it belongs to, activation included

    def initialise(self) -> None:
        """Draw the weights, set the bias."""
        weight, bias = self.module.weight, self.module.bias
        assert isinstance(weight, Tensor)
        INITIALISATIONS[self.init].draw(weight, self.fan_in, self.fan_out)
        if isinstance(bias, Tensor):
            nn.init.constant_(bias, self.bias)


@dataclass(frozen=True)
class Layer:
    """A layer that was built: what it gives, and its kernels in order."""

    module: nn.Module
    shape: Shape
    kernels: tuple[Kernel, ...] = field(default=())


@dataclass(frozen=True)
class LayerKind:
    """``build(shape, **options)``; ``argument`` is the option that stands at the layer's name: ``{dense: 64}``."""

    build: Callable[..., Layer]
    argument: str | None
    takes: str
    gives: str
    what: str


LAYERS: Registry[LayerKind] = Registry("layer")
"""Layers by the names that studies use."""


def _layer(name: str, argument: str | None, takes: str, gives: str, what: str) -> Callable[[Any], Any]:
    def add(build: Callable[..., Layer]) -> Callable[..., Layer]:
        LAYERS.register(name)(LayerKind(build, argument, takes, gives, what))
        return build

    return add


ACTIVATIONS: Mapping[str, tuple[Callable[[], nn.Module], str]] = {
    "relu": (nn.ReLU, "max(0, x)"),
    "prelu": (nn.PReLU, "x, or a·x below 0 with one slope a that is learnt, 0.25 at first (arXiv:1502.01852)"),
    "elu": (nn.ELU, "x, or eˣ − 1 below 0 (arXiv:1511.07289)"),
    "tanh": (nn.Tanh, "tanh x"),
    "sigmoid": (nn.Sigmoid, "1 / (1 + e⁻ˣ)"),
    "softmax": (partial(nn.Softmax, dim=1), "eˣⁱ / Σ eˣʲ over the features or channels"),
}
"""Activations by name: layers of their own, or the option ``activation`` of a layer."""


def _activation_layer(name: str) -> Callable[[Shape], Layer]:
    return lambda shape: Layer(ACTIVATIONS[name][0](), shape)


for _name, (_factory, _formula) in ACTIVATIONS.items():
    LAYERS.register(_name)(LayerKind(_activation_layer(_name), None, "any", "the same", _formula))


@_layer("dense", "nodes", "(feature,)", "(node,)", "Wx + b, then `activation`; init he")
def _dense(shape: Shape, nodes: int, activation: str | None = None, init: str = "he", bias: bool = True) -> Layer:
    inputs = _flat(shape)
    linear = nn.Linear(inputs, _positive("nodes", nodes), bias=bias)
    return Layer(_activated(linear, activation), (nodes,), (_kernel(linear, init, inputs, nodes),))


@_layer(
    "maxout", "nodes", "(feature,)", "(node,)", "the largest of `pieces` linear functions (arXiv:1302.4389); init he"
)
def _maxout(shape: Shape, nodes: int, pieces: int = 5, init: str = "he") -> Layer:
    inputs = _flat(shape)
    maxout = Maxout(inputs, _positive("nodes", nodes), _positive("pieces", pieces))
    return Layer(maxout, (nodes,), (_kernel(maxout, init, inputs, nodes),))


class Highway(nn.Module):
    """T·H(x) + (1 − T)·x with H = activation(Wx + b) and the gate T = σ(Vx + c)."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.transform, self.gate, self.activation = nn.Linear(width, width), nn.Linear(width, width), activation

    def forward(self, x: Tensor) -> Tensor:
        """(batch, feature) → the same."""
        open_ = torch.sigmoid(self.gate(x))
        carried: Tensor = open_ * self.activation(self.transform(x)) + (1.0 - open_) * x
        return carried


@_layer(
    "highway",
    "activation",
    "(feature,)",
    "the same",
    "T·H(x) + (1 − T)·x, the gate T nearly shut at first (arXiv:1505.00387)",
)
def _highway(shape: Shape, activation: str = "relu", gate_bias: float = -2.0, init: str = "he") -> Layer:
    width = _flat(shape)
    highway = Highway(width, _activation(activation))
    kernels = (
        _kernel(highway.transform, init, width, width),
        replace(_kernel(highway.gate, "glorot", width, width), bias=gate_bias),
    )
    return Layer(highway, shape, kernels)


class Residual(nn.Module):
    """x + F(x)."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """(batch, …) → the same."""
        added: Tensor = x + self.function(x)
        return added


@_layer(
    "residual",
    "layers",
    "any",
    "the same",
    "x + F(x), F the `layers`, whose last kernel starts at 0 (arXiv:1512.03385)",
)
def _residual(shape: Shape, layers: Sequence[Any], identity: bool = True) -> Layer:
    built = build_layers(shape, layers)
    if built.shape != shape:
        raise ConfigError(f"what is added to its input must have its shape: expected {shape}, got {built.shape}")
    kernels = built.kernels
    if identity and kernels:
        kernels = (*kernels[:-1], replace(kernels[-1], init="zero"))
    return Layer(Residual(built.module), shape, kernels)


@_layer(
    "dropout",
    "fraction",
    "any",
    "the same",
    "in training, a `fraction` of the values set to 0, the others scaled up (arXiv:1207.0580)",
)
def _dropout(shape: Shape, fraction: float) -> Layer:
    if not 0.0 <= fraction < 1.0:
        raise ConfigError(f"dropout needs a fraction from 0 to below 1, got {fraction}")
    return Layer(nn.Dropout(fraction), shape)


@_layer(
    "batch-norm",
    None,
    "(feature,) or (channel, row, column)",
    "the same",
    "mean 0, variance 1 over the batch, then scale and shift (arXiv:1502.03167)",
)
def _batch_norm(shape: Shape) -> Layer:
    if len(shape) not in {1, 3}:
        raise ConfigError(f"expected (feature,) or (channel, row, column), got {shape}")
    return Layer(nn.BatchNorm1d(shape[0]) if len(shape) == 1 else nn.BatchNorm2d(shape[0]), shape)


@_layer(
    "layer-norm",
    None,
    "any",
    "the same",
    "mean 0, variance 1 over the event's values, then scale and shift (arXiv:1607.06450)",
)
def _layer_norm(shape: Shape) -> Layer:
    return Layer(nn.LayerNorm(shape), shape)


@_layer(
    "conv",
    "filters",
    "(row, column) or (channel, row, column)",
    "(filter, row, column)",
    "`size` × `size` filters, padded to keep rows and columns at `stride` 1; then `activation`; init he",
)
def _conv(
    shape: Shape, filters: int, size: int = 3, stride: int = 1, activation: str | None = None, init: str = "he"
) -> Layer:
    channels, *sides = _image(shape)
    if init == "autoencoder":
        raise ConfigError("the init 'autoencoder' is for flat layers: dense, maxout, highway")
    convolution = nn.Conv2d(
        channels, _positive("filters", filters), _positive("size", size), _positive("stride", stride), size // 2
    )
    rows, columns = ((side + 2 * (size // 2) - size) // stride + 1 for side in sides)
    if rows < 1 or columns < 1:
        raise ConfigError(f"filters of {size} × {size} do not fit into {shape}")
    module = _activated(convolution, activation)
    if len(shape) == 2:
        module = nn.Sequential(Channel(), *module)
    kernel = _kernel(convolution, init, channels * size**2, filters * size**2)
    return Layer(module, (filters, rows, columns), (kernel,))


@_layer(
    "max-pool",
    "size",
    "(channel, row, column)",
    "(channel, row / size, column / size)",
    "the largest of `size` × `size` values; a rest at the rim is left out",
)
def _max_pool(shape: Shape, size: int = 2) -> Layer:
    if len(shape) != 3:
        raise ConfigError(f"expected (channel, row, column), got {shape}")
    channels, rows, columns = shape[0], shape[1] // _positive("size", size), shape[2] // size
    if rows < 1 or columns < 1:
        raise ConfigError(f"a pool of {size} × {size} does not fit into {shape}")
    return Layer(nn.MaxPool2d(size), (channels, rows, columns))


@_layer("flatten", None, "any", "(feature,)", "all values in a row")
def _flatten(shape: Shape) -> Layer:
    return Layer(nn.Flatten(), (int(torch.Size(shape).numel()),))


def build_layers(shape: Shape, words: Sequence[Any]) -> Layer:
    """Layers one after another, as a study declares them, named by place and kind: ``1-dense``, ``2-dropout``.

    >>> build_layers((4,), [{"dense": 3, "activation": "relu"}, "batch-norm"]).shape
    (3,)
    >>> build_layers((4, 4), [{"dens": 3}])
    Traceback (most recent call last):
    fivesigma.core.errors.ConfigError: layer 1: unknown layer 'dens'; did you mean 'dense'? Known: ...

    Raises
    ------
    ConfigError
        naming the layer by its place: unknown names (with the nearest), shapes that do not fit, impossible options.
    """
    if not isinstance(words, list | tuple):
        raise ConfigError(f"layers: expected a list such as [{{dense: 64}}, {{dropout: 0.2}}], got {words!r}")
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    kernels: list[Kernel] = []
    for place, word in enumerate(words, 1):
        try:
            name, options = _parsed(word)
            layer = LAYERS[name].build(shape, **options)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"layer {place}: {error}") from error
        modules[f"{place}-{name}"] = layer.module
        kernels.extend(k if k.layer is not None else replace(k, layer=layer.module) for k in layer.kernels)
        shape = layer.shape
    return Layer(nn.Sequential(modules), shape, tuple(kernels))


def _parsed(word: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of ``flatten``, ``{dense: 64, activation: relu}`` or ``{batch-norm: {}}``."""
    words: Any = {word: None} if isinstance(word, str) else word
    if not isinstance(words, Mapping) or not words:
        raise ConfigError(
            f"expected a layer's name, or a mapping such as {{dense: 64, activation: relu}}, got {word!r}"
        )
    named = [str(key) for key in words if key in LAYERS] or [str(next(iter(words)))]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} are two layers: write them as two")
    name, kind = named[0], LAYERS[named[0]]
    options = {str(key): value for key, value in words.items() if key != name}
    if isinstance(words[name], Mapping):
        options |= words[name]
    elif words[name] is not None and kind.argument is None:
        raise ConfigError(f"the layer {name!r} takes no argument, got {words[name]!r}")
    elif words[name] is not None and kind.argument is not None:
        options[kind.argument] = words[name]
    known = [parameter for parameter in inspect.signature(kind.build).parameters if parameter != "shape"]
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f"option of the layer {name!r}", option, known))
    return name, options


def _kernel(module: nn.Module, init: str, fan_in: int, fan_out: int) -> Kernel:
    if init not in INITIALISATIONS:
        raise ConfigError(unknown_name("initialisation", str(init), INITIALISATIONS))
    return Kernel(module, init, fan_in, fan_out)


def _activated(module: nn.Module, activation: str | None) -> nn.Sequential:
    layers = OrderedDict([("kernel", module)])
    if activation is not None:
        layers["activation"] = _activation(activation)
    return nn.Sequential(layers)


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ConfigError(unknown_name("activation", str(name), ACTIVATIONS))
    return ACTIVATIONS[name][0]()


def _flat(shape: Shape) -> int:
    if len(shape) != 1:
        raise ConfigError(f"expected (feature,), got {shape}: put `flatten` before it")
    return shape[0]


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) not in {2, 3}:
        raise ConfigError(f"expected an image, (row, column) or (channel, row, column), got {shape}")
    channels, rows, columns = shape if len(shape) == 3 else (1, *shape)
    return channels, rows, columns


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
