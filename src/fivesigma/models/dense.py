"""Dense network on the pixels of a jet image or on tabular features."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from fivesigma.models.networks import NETWORKS, InputScale, Shape


@NETWORKS.register("dense")
def dense_network(
    shape: Shape, *, dropout: float = 0.2, batch_norm: bool = True, nodes: Sequence[int] = (256, 128, 64)
) -> nn.Sequential:
    """Fully connected ReLU layers with ``nodes`` nodes each."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["scale"] = InputScale()  # (batch, row, column)
    layers["flatten"] = nn.Flatten()  # (batch, row · column)
    width = math.prod(shape)
    for i, n in enumerate(nodes, 1):
        layers[f"dense{i}"] = nn.Linear(width, n, bias=not batch_norm)  # (batch, n)
        if batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm1d(n)
        layers[f"relu{i}"] = nn.ReLU()
        if dropout > 0:
            layers[f"dropout{i}"] = nn.Dropout(dropout)
        width = n
    layers["logit"] = nn.Linear(width, 1)  # (batch, 1)
    return nn.Sequential(layers)
