"""Networks in an ONNX graph, layer by layer, in float32 as they predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ModelError
from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.learn.error_bars.network import SMALLEST_VARIANCE, ErrorBarNetwork, SharedDropout, Standardise
from fivesigma.learn.error_bars.variational_layer import VariationalLinear
from fivesigma.models.convolutional import Channel
from fivesigma.models.declared import DeclaredNetwork, Head
from fivesigma.models.layers import Highway, Residual
from fivesigma.models.locally_connected_layer import LocallyConnected2d
from fivesigma.models.maxout import Maxout
from fivesigma.models.networks import InputScale

Module = TypeVar("Module", bound=nn.Module)
Writer = Callable[[Graph, Any, Value], Value]
WRITERS: dict[type[nn.Module], Writer] = {}
"""By the type of the layer."""


def write_network(graph: Graph, module: nn.Module, x: Value) -> Value:
    """What a module, as it predicts, makes of x: (event, …) → (event, …).

    Raises
    ------
    ModelError
        for a layer that has no form here.
    """
    for kind in type(module).__mro__:  # a subclass computes the same, faster
        if kind in WRITERS:
            return WRITERS[kind](graph, module, x)
    raise ModelError(f"the layer {type(module).__name__} has no form in ONNX here: {module}")


def _writes(
    kind: type[Module],
) -> Callable[[Callable[[Graph, Module, Value], Value]], Callable[[Graph, Module, Value], Value]]:
    def add(write: Callable[[Graph, Module, Value], Value]) -> Callable[[Graph, Module, Value], Value]:
        WRITERS[kind] = write
        return write

    return add


def numbers(tensor: Tensor | Any) -> NDArray[Any]:
    """A tensor's values."""
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array


def _bias(layer: nn.Module) -> list[NDArray[Any]]:
    """One array, or none."""
    bias = getattr(layer, "bias", None)
    return [] if bias is None else [numbers(bias)]


@_writes(nn.Sequential)
def _sequential(graph: Graph, layers: nn.Sequential, x: Value) -> Value:
    for layer in layers:
        x = write_network(graph, layer, x)
    return x


@_writes(nn.Linear)
def _linear(graph: Graph, layer: nn.Linear, x: Value) -> Value:
    return graph.op("Gemm", x, numbers(layer.weight), *_bias(layer), transB=1)


@_writes(Maxout)
def _maxout(graph: Graph, layer: Maxout, x: Value) -> Value:
    return _linear(graph, layer, x).reshape(-1, layer.nodes, layer.pieces).largest(2, keep=False)


@_writes(InputScale)
def _input_scale(graph: Graph, layer: InputScale, x: Value) -> Value:  # noqa: ARG001 contract
    return x / numbers(layer.scale)


@_writes(Channel)
def _channel(graph: Graph, layer: Channel, x: Value) -> Value:  # noqa: ARG001 contract
    return x.unsqueeze(1)


@_writes(nn.Conv2d)
def _convolution(graph: Graph, layer: nn.Conv2d, x: Value) -> Value:
    assert not isinstance(layer.padding, str)
    rows, columns = layer.padding
    return graph.op(
        "Conv", x, numbers(layer.weight), *_bias(layer), strides=list(layer.stride), pads=[rows, columns, rows, columns]
    )


@_writes(nn.MaxPool2d)
def _max_pool(graph: Graph, layer: nn.MaxPool2d, x: Value) -> Value:
    side = [int(layer.kernel_size)] * 2  # type: ignore[arg-type] # all of ours are square
    return graph.op("MaxPool", x, kernel_shape=side, strides=side)


@_writes(LocallyConnected2d)
def _locally_connected(graph: Graph, layer: LocallyConnected2d, x: Value) -> Value:
    """All patches at once: (place, event, patch) · (place, patch, filter)."""
    rows, size, columns, _, filters = layer.weight.shape
    start_row, start_column = np.divmod(np.arange(rows * columns), columns)
    i, j, channel = (a.ravel() for a in np.indices((size, size, layer.channels)))
    row = start_row[:, None] * layer.stride + i  # (place, patch)
    column = start_column[:, None] * layer.stride + j
    index = np.stack([np.broadcast_to(channel, row.shape), row, column], axis=-1)  # (place, patch, 3)
    patches = graph.op("GatherND", x.transpose(1, 2, 3, 0), index)  # (place, patch, event)
    weight = numbers(layer.weight).transpose(0, 2, 4, 1, 3).reshape(rows * columns, filters, -1)
    out = graph.op("MatMul", np.ascontiguousarray(weight), patches)  # (place, filter, event)
    if layer.bias is not None:
        out = out + numbers(layer.bias).reshape(rows * columns, filters, 1)
    return out.transpose(2, 1, 0).reshape(-1, filters, rows, columns)


@_writes(nn.Flatten)
def _flatten(graph: Graph, layer: nn.Flatten, x: Value) -> Value:  # noqa: ARG001 contract
    return graph.op("Flatten", x)


def _batch_norm(graph: Graph, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Value) -> Value:
    fitted = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    return graph.op("BatchNormalization", x, *(numbers(tensor) for tensor in fitted), epsilon=layer.eps)


WRITERS[nn.BatchNorm1d] = WRITERS[nn.BatchNorm2d] = _batch_norm


@_writes(nn.LayerNorm)
def _layer_norm(graph: Graph, layer: nn.LayerNorm, x: Value) -> Value:
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    return graph.op("LayerNormalization", x, weight, bias, axis=-weight.ndim, epsilon=layer.eps)


def _same(graph: Graph, layer: nn.Module, x: Value) -> Value:  # noqa: ARG001 contract
    return x


WRITERS[nn.Dropout] = WRITERS[nn.Dropout2d] = WRITERS[nn.Identity] = _same


def _activation(name: str) -> Writer:
    return lambda graph, _, x: graph.op(name, x)


for _kind, _name in ((nn.ReLU, "Relu"), (nn.Tanh, "Tanh"), (nn.Sigmoid, "Sigmoid")):
    WRITERS[_kind] = _activation(_name)


@_writes(nn.ELU)
def _elu(graph: Graph, layer: nn.ELU, x: Value) -> Value:
    return graph.op("Elu", x, alpha=float(layer.alpha))


@_writes(nn.PReLU)
def _prelu(graph: Graph, layer: nn.PReLU, x: Value) -> Value:
    return graph.op("PRelu", x, numbers(layer.weight))


@_writes(nn.Softmax)
def _softmax(graph: Graph, layer: nn.Softmax, x: Value) -> Value:
    return graph.op("Softmax", x, axis=layer.dim)


@_writes(Residual)
def _residual(graph: Graph, layer: Residual, x: Value) -> Value:
    return x + write_network(graph, layer.function, x)


@_writes(Highway)
def _highway(graph: Graph, layer: Highway, x: Value) -> Value:
    gate = _linear(graph, layer.gate, x).function("Sigmoid")
    transformed = write_network(graph, layer.activation, _linear(graph, layer.transform, x))
    return gate * transformed + (np.float32(1.0) - gate) * x


@_writes(Head)
def _head(graph: Graph, layer: Head, x: Value) -> Value:
    return _linear(graph, layer.linear, x)


@_writes(Standardise)
def _standardise(graph: Graph, layer: Standardise, x: Value) -> Value:  # noqa: ARG001 contract
    return (x - numbers(layer.mean)) / numbers(layer.deviation)


@_writes(SharedDropout)
def _thinned(graph: Graph, layer: SharedDropout, x: Value) -> Value:  # noqa: ARG001 contract
    return x if layer.mask is None else x * numbers(layer.mask)


@_writes(VariationalLinear)
def _variational(graph: Graph, layer: VariationalLinear, x: Value) -> Value:
    weight, bias = (layer.mean, layer.bias_mean) if layer.drawn is None else layer.drawn
    return graph.op("Gemm", x, numbers(weight), numbers(bias), transB=1)


@_writes(ErrorBarNetwork)
def _error_bars(graph: Graph, network: ErrorBarNetwork, x: Value) -> Value:
    """Logit (event, 1), or mean and log variance (event, 2)."""
    h = error_bar_features(graph, network, x)
    head = write_network(graph, network.head, h)
    return head if network.noise is None else graph.concat([head, log_variance(graph, network, h)], axis=1)


def error_bar_features(graph: Graph, network: ErrorBarNetwork, x: Value) -> Value:
    """What the last layer sees, (event, node)."""
    return write_network(graph, network.trunk, write_network(graph, network.standardise, x))


def log_variance(graph: Graph, network: ErrorBarNetwork, h: Value) -> Value:
    """Of the standardised target, (event, 1)."""
    assert network.noise is not None
    positive = write_network(graph, network.noise, h).function("Softplus")
    return (positive + np.float32(SMALLEST_VARIANCE)).function("Log")


@_writes(DeclaredNetwork)
def _declared(graph: Graph, network: DeclaredNetwork, x: Value) -> Value:
    """All heads' outputs, (event, output)."""
    flat, found, at = graph.op("Flatten", x), {}, 0
    for name, shape in network.shapes.items():
        size = int(np.prod(shape))
        found[name] = write_network(graph, network.scales[name], flat.slice(at, at + size, axis=1).reshape(-1, *shape))
        at += size

    def joined(sources: tuple[str, ...]) -> Value:
        values = [found[source] for source in sources]
        return values[0] if len(values) == 1 else graph.concat(values, axis=1)

    for name, block in network.blocks.items():
        found[name] = write_network(graph, block, joined(network.sources[name]))
    heads = [write_network(graph, head, joined(network.words[name].sources)) for name, head in network.heads.items()]
    return graph.concat(heads, axis=1)
