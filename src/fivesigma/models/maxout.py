"""Maxout network on the pixels of a jet image (arXiv:1302.4389; arXiv:1511.05190)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from fivesigma.models.networks import NETWORKS, InputScale, Shape


class Maxout(nn.Linear):
    """The maximum of ``pieces`` linear functions of the input, for each of ``nodes`` nodes."""

    def __init__(self, inputs: int, nodes: int, pieces: int) -> None:
        super().__init__(inputs, nodes * pieces)
        self.nodes, self.pieces = nodes, pieces

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input) → (batch, node)."""
        values = super().forward(x).unflatten(1, (self.nodes, self.pieces))  # (batch, node, piece)
        best: Tensor = values.max(dim=2).values  # (batch, node)
        return best


@NETWORKS.register("maxout")
def maxout_network(
    shape: Shape,
    *,
    dropout: float = 0.3,
    batch_norm: bool = True,
    maxout_nodes: Sequence[int] = (256, 128),
    pieces: int = 5,
    nodes: Sequence[int] = (64, 25),
) -> nn.Sequential:
    """Maxout layers, then ReLU layers: the paper's 256 and 128 nodes with 5 pieces each, then 64 and 25."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["scale"] = InputScale()  # (batch, row, column)
    layers["flatten"] = nn.Flatten()  # (batch, row · column)
    width = math.prod(shape)
    for i, n in enumerate(maxout_nodes, 1):
        layers[f"maxout{i}"] = Maxout(width, n, pieces)  # (batch, n)
        if batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm1d(n)
        if dropout > 0:
            layers[f"dropout{i}"] = nn.Dropout(dropout)
        width = n
    for i, n in enumerate(nodes, 1):
        layers[f"dense{i}"] = nn.Linear(width, n)  # (batch, n)
        layers[f"relu{i}"] = nn.ReLU()
        width = n
    layers["logit"] = nn.Linear(width, 1)  # (batch, 1)
    return nn.Sequential(layers)
