"""What a head of a network learns by: the loss of each event, and what its outputs mean.

All of them are per event; the training takes the mean over events of weight · loss, with signed weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import Registry

Kind = Literal["two classes", "classes", "number"]


@dataclass(frozen=True)
class HeadLoss:
    """``of(output, target)``: (batch, output), (batch,) → (batch,); ``link``: outputs → probabilities or numbers.

    A head of ``kind`` "number" sees its target as (target − mean) / standard deviation of the training events.
    """

    kind: Kind
    outputs: int
    of: Callable[[Tensor, Tensor], Tensor]
    link: Callable[[Tensor], Tensor]
    best: int = 0  # the output that stands for the head where one number is asked for


@dataclass(frozen=True)
class LossKind:
    """``build(classes, **options)``, and what it is in words."""

    build: Callable[..., HeadLoss]
    outputs: str
    formula: str


LOSSES: Registry[LossKind] = Registry("loss")
"""Losses of heads by name."""


def _loss(name: str, outputs: str, formula: str) -> Callable[[Any], Any]:
    def add(build: Callable[..., HeadLoss]) -> Callable[..., HeadLoss]:
        LOSSES.register(name)(LossKind(build, outputs, formula))
        return build

    return add


@_loss("bce", "1 logit", "−y ln p − (1 − y) ln(1 − p), p = σ(output)")
def _bce(classes: int) -> HeadLoss:
    if classes != 2:
        raise ConfigError(f"expected 2 classes, got {classes}: use the loss 'cross-entropy'")
    return HeadLoss("two classes", 1, _binary_cross_entropy, torch.sigmoid)


@_loss("cross-entropy", "a logit for each class", "−ln p_y, p = softmax(outputs)")
def _cross_entropy(classes: int) -> HeadLoss:
    return HeadLoss("classes", classes, _categorical_cross_entropy, partial(torch.softmax, dim=1))


@_loss("mse", "1", "(output − y)²")
def _mse(classes: int) -> HeadLoss:
    del classes
    return HeadLoss("number", 1, _squared, _identity)


@_loss("huber", "1", "½ r² for |r| < δ, else δ (|r| − ½ δ), r = output − y; δ = `delta`")
def _huber(classes: int, delta: float = 1.0) -> HeadLoss:
    del classes
    if not delta > 0:
        raise ConfigError(f"huber needs delta > 0, got {delta}")
    return HeadLoss("number", 1, partial(_huber_of, delta=delta), _identity)


@_loss("quantile", "one for each of `quantiles`", "mean over quantiles of max(q r, (q − 1) r), r = y − output")
def _quantile(classes: int, quantiles: Sequence[float] = (0.16, 0.5, 0.84)) -> HeadLoss:
    del classes
    if not quantiles or not all(0 < q < 1 for q in quantiles):
        raise ConfigError(f"quantiles lie between 0 and 1, got {list(quantiles)}")
    middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5))
    return HeadLoss("number", len(quantiles), partial(_pinball, quantiles=tuple(quantiles)), _identity, middle)


def _binary_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0], y, reduction="none")


def _categorical_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, y.long(), reduction="none")


def _squared(output: Tensor, y: Tensor) -> Tensor:
    return (output[:, 0] - y).square()


def _huber_of(output: Tensor, y: Tensor, delta: float) -> Tensor:
    return nn.functional.huber_loss(output[:, 0], y, reduction="none", delta=delta)


def _pinball(output: Tensor, y: Tensor, quantiles: Sequence[float]) -> Tensor:
    q = torch.tensor(quantiles, dtype=output.dtype, device=output.device)
    rest = y[:, None] - output  # (batch, quantile)
    return torch.maximum(q * rest, (q - 1) * rest).mean(dim=1)


def _identity(output: Tensor) -> Tensor:
    return output
