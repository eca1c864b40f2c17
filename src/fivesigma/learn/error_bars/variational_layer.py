"""A linear layer whose weights are independent Gaussians: mean-field variational inference."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fivesigma.learn.error_bars.network import Drawn

FIRST_DEVIATION = 0.02
"""Standard deviation of the posterior at the start, in units of the prior's."""


class VariationalLinear(Drawn):
    """y = W x + b with q(W, b) a product of Gaussians, learned by its mean and ρ, σ = log(1 + e^ρ).

    Bayes by backprop (arXiv:1505.05424, eq. 3) with two changes: the divergence from the Gaussian prior is taken in
    closed form instead of being sampled, and training draws the outputs instead of the weights (local
    reparametrisation, arXiv:1506.02557, eq. 6), which has the same mean and less noise in its gradient.

    The prior of a weight is N(0, 2 s²/inputs), that of a bias N(0, s²), with s the ``prior_scale``: the network of
    such weights has outputs of the same size whatever its width.
    """

    def __init__(self, inputs: int, outputs: int, prior_scale: float = 1.0) -> None:
        super().__init__()
        self.prior_weight, self.prior_bias = prior_scale * math.sqrt(2.0 / inputs), prior_scale
        self.mean = nn.Parameter(torch.randn(outputs, inputs) * math.sqrt(1.0 / inputs))
        self.rho = nn.Parameter(torch.full((outputs, inputs), _rho(FIRST_DEVIATION * self.prior_weight)))
        self.bias_mean = nn.Parameter(torch.zeros(outputs))
        self.bias_rho = nn.Parameter(torch.full((outputs,), _rho(FIRST_DEVIATION * self.prior_bias)))
        self.drawn: tuple[Tensor, Tensor] | None = None

    def redraw(self, generator: torch.Generator) -> None:
        """New weights and biases from the posterior."""
        with torch.no_grad():
            self.drawn = (
                _draw(self.mean, self.rho, generator),
                _draw(self.bias_mean, self.bias_rho, generator),
            )

    def forget(self) -> None:
        """The posterior's mean again."""
        self.drawn = None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input) → (batch, output)."""
        if not self.training:
            weight, bias = self.drawn if self.drawn is not None else (self.mean, self.bias_mean)
            return nn.functional.linear(x, weight, bias)
        mean = nn.functional.linear(x, self.mean, self.bias_mean)
        variance = nn.functional.linear(x.square(), _sigma(self.rho).square(), _sigma(self.bias_rho).square())
        return mean + torch.sqrt(variance) * torch.randn_like(mean)

    def divergence(self) -> Tensor:
        """KL(posterior ‖ prior), the sum over weights and biases."""
        return _divergence(self.mean, self.rho, self.prior_weight) + _divergence(
            self.bias_mean, self.bias_rho, self.prior_bias
        )


def _divergence(mean: Tensor, rho: Tensor, prior: float) -> Tensor:
    """Σ log(σ_prior/σ) + (σ² + μ²)/(2 σ_prior²) − ½."""
    sigma = _sigma(rho)
    return (math.log(prior) - sigma.log() + (sigma.square() + mean.square()) / (2 * prior**2) - 0.5).sum()


def _draw(mean: Tensor, rho: Tensor, generator: torch.Generator) -> Tensor:
    return mean + _sigma(rho) * torch.randn(mean.shape, generator=generator).to(mean.device)


def _sigma(rho: Tensor) -> Tensor:
    return nn.functional.softplus(rho)


def _rho(sigma: float) -> float:
    return math.log(math.expm1(sigma))
