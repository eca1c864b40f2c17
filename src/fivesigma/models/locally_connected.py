"""Locally connected network on jet images (as arXiv:1603.09349): filters of their own at every place of the image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from fivesigma.core.errors import ConfigError
from fivesigma.models.convolutional import Channel
from fivesigma.models.locally_connected_layer import LocallyConnected2d
from fivesigma.models.networks import NETWORKS, InputScale, Shape, image_shape


@NETWORKS.register("locally-connected")
def locally_connected_network(
    shape: Shape,
    *,
    dropout: float = 0.0,
    batch_norm: bool = False,
    filters: Sequence[int] = (16, 16),
    sizes: Sequence[int] = (5, 3),
    strides: Sequence[int] = (2, 2),
    nodes: int = 64,
) -> nn.Sequential:
    """Locally connected ReLU layers, then a dense layer."""
    if not len(filters) == len(sizes) == len(strides):
        raise ConfigError(f"filters, sizes and strides differ in length: {filters}, {sizes}, {strides}")
    rows, columns = image_shape(shape, "locally-connected")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["scale"] = InputScale()  # (batch, row, column)
    layers["channel"] = Channel()  # (batch, 1, row, column)
    channels = 1
    for i, (n, size, stride) in enumerate(zip(filters, sizes, strides, strict=True), 1):
        if min(rows, columns) < size:
            raise ConfigError(f"images of shape {shape} are too small for sizes {tuple(sizes)}")
        layer = LocallyConnected2d((rows, columns), channels, n, size, stride)
        layers[f"local{i}"] = layer  # (batch, n, row, column)
        rows, columns, channels = layer.rows, layer.columns, n
        if batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm2d(n)
        layers[f"relu{i}"] = nn.ReLU()
        if dropout > 0:
            layers[f"dropout{i}"] = nn.Dropout2d(dropout)  # whole maps
    layers["flatten"] = nn.Flatten()  # (batch, channel · row · column)
    layers["dense1"] = nn.Linear(channels * rows * columns, nodes)  # (batch, node)
    layers["relu_dense1"] = nn.ReLU()
    layers["logit"] = nn.Linear(nodes, 1)  # (batch, 1)
    return nn.Sequential(layers)
