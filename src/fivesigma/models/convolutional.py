"""Convolutional network on jet images (arXiv:1511.05190): large first filters, for images are sparse."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.models.networks import NETWORKS, InputScale, Shape, image_shape
from fivesigma.models.strip_convolution import StripConvolution


class Channel(nn.Module):
    """(batch, row, column) → (batch, 1, row, column)."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the channel."""
        return x.unsqueeze(1)


@NETWORKS.register("cnn")
def convolutional_network(
    shape: Shape,
    *,
    dropout: float = 0.2,
    batch_norm: bool = True,
    filters: Sequence[int] = (32, 32),
    sizes: Sequence[int] = (11, 3),
    strides: Sequence[int] = (2, 1),
    pools: Sequence[int] = (1, 2),
    nodes: int = 64,
    map_dropout: float = 0.0,
) -> nn.Sequential:
    """Convolutions with ReLU and maximum pooling, then a dense layer.

    The paper's network has three: 11×11, 3×3, 3×3 with pools of 2, 3, 3 and dropout after each. That is
    ``filters=(32, 32, 32), sizes=(11, 3, 3), strides=(1, 1, 1), pools=(2, 3, 3), map_dropout=0.2``. On 12,000 jets it
    trained half as fast and, in as many epochs, reached less; the default is the shape that pays within minutes on a CPU.
    """
    if not len(filters) == len(sizes) == len(strides) == len(pools):
        raise ConfigError(f"filters, sizes, strides and pools differ in length: {filters}, {sizes}, {strides}, {pools}")
    rows, columns = image_shape(shape, "cnn")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["scale"] = InputScale()  # (batch, row, column)
    layers["channel"] = Channel()  # (batch, 1, row, column)
    channels = 1
    for i, (n, size, stride, pool) in enumerate(zip(filters, sizes, strides, pools, strict=True), 1):
        bias = not batch_norm
        layers[f"conv{i}"] = (
            StripConvolution(n, size, stride, bias=bias)  # the same numbers, faster
            if channels == 1
            else nn.Conv2d(channels, n, size, stride, size // 2, bias=bias)
        )
        rows, columns = ((side + 2 * (size // 2) - size) // stride + 1 for side in (rows, columns))
        if pool > 1:  # before the rectifier, with which it commutes: less is left to rectify
            layers[f"pool{i}"] = nn.MaxPool2d(pool)
            rows, columns = rows // pool, columns // pool
        if batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm2d(n)
        layers[f"relu{i}"] = nn.ReLU()  # (batch, n, row, column)
        if map_dropout > 0:
            layers[f"dropout{i}"] = nn.Dropout2d(map_dropout)  # whole maps
        channels = n
    if rows < 1 or columns < 1:
        raise ConfigError(
            f"images of shape {shape} are too small for pools {tuple(pools)} and strides {tuple(strides)}"
        )
    layers["flatten"] = nn.Flatten()  # (batch, channel · row · column)
    if dropout > 0:
        layers["dropout_flat"] = nn.Dropout(dropout)
    layers["dense1"] = nn.Linear(channels * rows * columns, nodes)  # (batch, node)
    layers["relu_dense1"] = nn.ReLU()
    if dropout > 0:
        layers["dropout_dense1"] = nn.Dropout(dropout)
    layers["logit"] = nn.Linear(nodes, 1)  # (batch, 1)
    return nn.Sequential(layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
