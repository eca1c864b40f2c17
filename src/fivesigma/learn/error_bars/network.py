"""The network that all learners with error bars train: standardised inputs, dense layers, a logit or a mean with its noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Task = Literal["classification", "regression"]
MakeLayer = Callable[[int, int], nn.Module]
"""(inputs, outputs) → a linear layer."""

SMALLEST_VARIANCE = 1e-6
"""Added to the variance for numerical stability, in units of the target's variance (arXiv:1612.01474, section 2.2.1)."""


class Drawn(nn.Module):
    """A layer with random numbers: one draw of them is one function, the same for all events.

    While training, every event has random numbers of its own. In prediction the layer uses what ``redraw`` drew last,
    or its mean if nothing was drawn.
    """

    def redraw(self, generator: torch.Generator) -> None:
        """Draw the numbers that prediction uses from now on."""
        raise NotImplementedError

    def forget(self) -> None:
        """Predict with the mean again."""
        raise NotImplementedError


class SharedDropout(Drawn):
    """Dropout whose mask is the same for all events of a prediction: a draw is one thinned network (arXiv:1506.02142)."""

    def __init__(self, rate: float, nodes: int) -> None:
        super().__init__()
        self.rate, self.nodes = rate, nodes
        self.mask: Tensor | None = None  # (node,)

    def redraw(self, generator: torch.Generator) -> None:
        """A new thinned network."""
        kept = torch.rand(self.nodes, generator=generator) >= self.rate
        self.mask = kept.float() / (1.0 - self.rate)

    def forget(self) -> None:
        """All nodes again."""
        self.mask = None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, node) → (batch, node)."""
        if self.training:
            return nn.functional.dropout(x, self.rate)
        return x if self.mask is None else x * self.mask.to(x.device)


class Standardise(nn.Module):
    """Each feature minus its mean over its standard deviation, saved with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, X: Tensor) -> None:
        """Take both from X, shape (event, feature); a constant feature is only centred."""
        deviation = X.std(dim=0, correction=0)
        self.mean.copy_(X.mean(dim=0))
        self.deviation.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, feature) → (batch, feature)."""
        return (x - self.mean) / self.deviation


class ErrorBarNetwork(nn.Module):
    """ReLU layers, then the logit of signal, or the mean and log variance of the standardised target.

    The variance is a positive function of the event, learned with the mean by the Gaussian likelihood
    (Nix and Weigend 1994; arXiv:1612.01474, section 2.2.1).
    """

    def __init__(
        self, features: int, nodes: Sequence[int], task: Task, layer: MakeLayer = nn.Linear, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.standardise = Standardise(features)
        layers: list[nn.Module] = []
        width = features
        for n in nodes:
            layers += [layer(width, n), nn.ReLU()]
            if dropout > 0:
                layers.append(SharedDropout(dropout, n))
            width = n
        self.trunk = nn.Sequential(*layers)
        self.head = layer(width, 1)
        self.noise = layer(width, 1) if task == "regression" else None

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (batch, feature) → (batch, node)."""
        return self.trunk(self.standardise(x))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Logit (batch, 1), or mean and log variance (batch, 2)."""
        h = self.features(x)
        if self.noise is None:
            return self.head(h)  # type: ignore[no-any-return]
        return torch.cat([self.head(h), self.log_variance(h)], dim=1)

    def log_variance(self, h: Tensor) -> Tensor:
        """Of the standardised target, (batch, node) → (batch, 1)."""
        assert self.noise is not None
        return torch.log(nn.functional.softplus(self.noise(h)) + SMALLEST_VARIANCE)


def negative_log_likelihood(output: Tensor, y: Tensor, task: Task) -> Tensor:
    """−log p(y | x) of each event, shape (batch,): Bernoulli of a logit, or Gaussian of mean and log variance."""
    if task == "classification":
        return nn.functional.binary_cross_entropy_with_logits(output[:, 0], y, reduction="none")
    mean, log_variance = output.unbind(dim=1)
    return 0.5 * (log_variance + (y - mean).square() * torch.exp(-log_variance) + math.log(2 * math.pi))
