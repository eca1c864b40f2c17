"""How the kernels of a layer are drawn before training; biases start at 0 unless a layer says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Initialisation:
    """``draw(weight, fan_in, fan_out)`` in place; ``variance`` and source in words."""

    draw: Callable[[Tensor, int, int], object]
    variance: str


def _glorot(weight: Tensor, fan_in: int, fan_out: int) -> None:
    bound = math.sqrt(6.0 / (fan_in + fan_out))
    nn.init.uniform_(weight, -bound, bound)


def _he(weight: Tensor, fan_in: int, fan_out: int) -> None:
    del fan_out
    nn.init.normal_(weight, std=math.sqrt(2.0 / fan_in))


def _orthogonal(weight: Tensor, fan_in: int, fan_out: int) -> None:
    del fan_in, fan_out
    nn.init.orthogonal_(weight)


def _zero(weight: Tensor, fan_in: int, fan_out: int) -> None:
    del fan_in, fan_out
    nn.init.zeros_(weight)


INITIALISATIONS: Mapping[str, Initialisation] = {
    "glorot": Initialisation(_glorot, "2 / (fan in + fan out), uniform (Glorot, Bengio 2010, eq. 16)"),
    "he": Initialisation(_he, "2 / fan in, normal (arXiv:1502.01852, eq. 10)"),
    "orthogonal": Initialisation(_orthogonal, "rows or columns orthonormal (arXiv:1312.6120)"),
    "zero": Initialisation(_zero, "0"),
    "autoencoder": Initialisation(
        _glorot, "glorot, then pre-trained layer by layer to reproduce the layer's inputs (Bengio et al. 2006)"
    ),
}
"""Initialisations by name; the kernel of a layer is a matrix (or filters) of ``fan_out`` from ``fan_in`` numbers."""
