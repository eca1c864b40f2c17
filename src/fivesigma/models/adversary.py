"""Adversaries: densities of nuisances given a score, and a domain classifier behind a gradient that is turned around."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

MIN_WIDTH = 0.01
"""Of a Gaussian, in standard deviations of the nuisance: a spike on one event would make the likelihood infinite."""


class GaussianMixture(nn.Module):
    """Density of one continuous nuisance: Gaussians whose means, widths and fractions a small network gives.

    A mixture density network (Bishop, NCRG/94/004); arXiv:1611.01046, section 5.1, has five Gaussians and two hidden
    layers of 20 nodes. The nuisance is expected in units of its standard deviation, around its mean.
    """

    def __init__(self, inputs: int, components: int, nodes: Sequence[int]) -> None:
        super().__init__()
        self.network = hidden_layers(inputs, nodes, 3 * components)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(batch, input) and (batch,) → log p(z | x), (batch,)."""
        mean, log_width, logit = self.network(x).chunk(3, dim=1)  # (batch, component) each
        log_width = log_width.clamp(min=math.log(MIN_WIDTH))
        pull = (z[:, None] - mean) * torch.exp(-log_width)
        log_part = -0.5 * pull.square() - log_width - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(torch.log_softmax(logit, dim=1) + log_part, dim=1)


class Categories(nn.Module):
    """Probabilities of the values of one discrete nuisance."""

    def __init__(self, inputs: int, categories: int, nodes: Sequence[int]) -> None:
        super().__init__()
        self.network = hidden_layers(inputs, nodes, categories)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(batch, input) and the number of the category, (batch,) → log p(z | x), (batch,)."""
        log_p = torch.log_softmax(self.network(x), dim=1)  # (batch, category)
        return log_p.gather(1, z.long()[:, None])[:, 0]


class Adversary(nn.Module):
    """p(z | s) of all nuisances together, by the chain rule: p(z₁ | s) p(z₂ | s, z₁) ….

    Parameters
    ----------
    categories
        for each nuisance the number of its values, 0 for a continuous one.
    components, nodes
        Gaussians for a continuous nuisance; hidden nodes of each network, layer by layer.
    """

    def __init__(self, categories: Sequence[int], components: int = 5, nodes: Sequence[int] = (20, 20)) -> None:
        super().__init__()
        heads: list[nn.Module] = [
            Categories(1 + j, n, nodes) if n else GaussianMixture(1 + j, components, nodes)
            for j, n in enumerate(categories)
        ]
        self.heads = nn.ModuleList(heads)

    def forward(self, score: Tensor, nuisance: Tensor) -> Tensor:
        """(batch,) and (batch, nuisance) → −log p(z | s), (batch,)."""
        x = torch.cat([score[:, None], nuisance], dim=1)
        return -torch.stack([head(x[:, : 1 + j], nuisance[:, j]) for j, head in enumerate(self.heads)]).sum(dim=0)


class ReverseGradient(torch.autograd.Function):
    """x → x; on the way back, the gradient times −λ (arXiv:1409.7495, eqs. 12 and 13)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        """Pass through, any shape."""
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Turn around; λ itself has no gradient."""
        return -ctx.strength * gradients[0], None


class DomainHead(nn.Module):
    """The logit of "this event is of the target domain" from features, behind a gradient reversal."""

    def __init__(self, features: int, nodes: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.network = hidden_layers(features, nodes, 1)

    def forward(self, features: Tensor, strength: float) -> Tensor:
        """(batch, feature) → (batch,)."""
        turned: Tensor = ReverseGradient.apply(features, strength)
        logit: Tensor = self.network(turned)[:, 0]
        return logit


def hidden_layers(inputs: int, nodes: Sequence[int], outputs: int) -> nn.Sequential:
    """ReLU layers of ``nodes`` nodes, then a linear one."""
    layers: list[nn.Module] = []
    width = inputs
    for n in nodes:
        layers += [nn.Linear(width, n), nn.ReLU()]
        width = n
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def reversal_strength(progress: float, gamma: float = 10.0) -> float:
    """λ_p = 2 / (1 + exp(−γp)) − 1 after a fraction p of the training (arXiv:1409.7495, eq. 14).

    >>> [round(reversal_strength(p), 3) for p in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2 / (1 + math.exp(-gamma * progress)) - 1
