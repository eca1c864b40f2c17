"""The registry of networks, and what all of them share: scaled inputs, He initialisation, layers by name.

A network is an ``nn.Sequential`` of named layers that takes (batch, row, column) or (batch, feature) and returns the
logit of signal, (batch, 1). Its first layer is an ``InputScale``, so that a saved network takes the features as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import Registry

Shape = tuple[int, ...]
"""The shape of one event: (row, column) or (feature,)."""


class NetworkFactory(Protocol):
    """Builds the network for events of one shape; keyword arguments are its architecture."""

    def __call__(self, shape: Shape, *, dropout: float, batch_norm: bool) -> nn.Sequential:
        """Build it, not yet initialised."""


NETWORKS: Registry[Callable[..., nn.Sequential]] = Registry("network")
"""Network factories by name: ``factory(shape, *, dropout, batch_norm, …)``."""
NETWORKS.live_in(
    {
        "cnn": "fivesigma.models.convolutional",
        "dense": "fivesigma.models.dense",
        "locally-connected": "fivesigma.models.locally_connected",
        "maxout": "fivesigma.models.maxout",
    }
)


class InputScale(nn.Module):
    """x → x / scale with scale the root mean square of the training inputs, saved with the weights.

    One number for jet images, not one for each pixel: the relative intensity of pixels is physics (and empty pixels
    stay 0).
    """

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def fit(self, X: Tensor) -> None:
        """Take the scale from X; 1 if X is all zeros."""
        rms = float(X.square().mean(dtype=torch.float64).sqrt())
        self.scale.fill_(rms if rms > 0 else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Scale, any shape."""
        return x / self.scale


def image_shape(shape: Shape, network: str) -> tuple[int, int]:
    """(row, column), or an error for networks that need images."""
    if len(shape) != 2:
        raise ConfigError(f"the network {network!r} needs images (event, row, column), got events of shape {shape}")
    return shape[0], shape[1]


def he_initialise(network: nn.Module) -> None:
    """He initialisation for rectified layers (arXiv:1502.01852, eq. 10); biases 0; the output layer smaller.

    A layer whose weights are not (output, input, …) says its ``fan_in`` itself.
    """
    layers = [m for m in network.modules() if isinstance(getattr(m, "weight", None), nn.Parameter)]
    layers = [m for m in layers if m.weight.dim() > 1]  # type: ignore[operator] # not normalisations
    for layer in layers:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        fan_in = getattr(layer, "fan_in", None) or math.prod(weight.shape[1:])
        gain = 1.0 if layer is layers[-1] else 2.0
        nn.init.normal_(weight, std=math.sqrt(gain / fan_in))
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
