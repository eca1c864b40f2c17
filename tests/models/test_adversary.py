"""Densities against scipy's, and the turned-around gradient against the chain rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm

from fivesigma.models.adversary import (
    MIN_WIDTH,
    Adversary,
    Categories,
    DomainHead,
    GaussianMixture,
    ReverseGradient,
    reversal_strength,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


def test_a_mixture_is_the_sum_of_scipys_gaussians() -> None:
    head, x, z = GaussianMixture(2, 3, (7,)), torch.randn(20, 2), torch.randn(20)
    mean, log_width, logit = (part.detach().numpy().astype(float) for part in head.network(x).chunk(3, dim=1))
    expected = np.sum(softmax(logit, axis=1) * norm.pdf(z.numpy()[:, None], mean, np.exp(log_width)), axis=1)
    np.testing.assert_allclose(head(x, z).exp().detach().numpy(), expected, rtol=1e-5)


def test_a_mixture_is_normalised() -> None:
    head, z = GaussianMixture(1, 5, (20, 20)), torch.linspace(-60, 60, 200_001)
    density = head(torch.full((len(z), 1), 0.3), z).exp().detach().double()
    assert float(torch.trapezoid(density, z.double())) == pytest.approx(1, abs=1e-4)


def test_no_gaussian_becomes_a_spike() -> None:
    head = GaussianMixture(1, 1, ())
    with torch.no_grad():
        head.network[0].weight.zero_()  # type: ignore[operator]
        head.network[0].bias.copy_(torch.tensor([0.0, -100.0, 0.0]))  # type: ignore[operator]
    assert head(torch.zeros(1, 1), torch.zeros(1)).detach().item() == pytest.approx(
        norm.logpdf(0, 0, MIN_WIDTH), rel=1e-5
    )


def test_categories_are_a_softmax() -> None:
    head, x = Categories(1, 4, (5,)), torch.randn(9, 1)
    z = torch.tensor([0.0, 1, 2, 3, 0, 1, 2, 3, 3])
    expected = softmax(head.network(x).detach().numpy(), axis=1)[np.arange(9), z.long().numpy()]
    np.testing.assert_allclose(head(x, z).exp().detach().numpy(), expected, rtol=1e-5)


def test_several_nuisances_follow_the_chain_rule() -> None:
    adversary = Adversary([0, 3], components=2, nodes=(4,))
    score, z = torch.rand(6), torch.stack([torch.randn(6), torch.tensor([0.0, 1, 2, 0, 1, 2])], dim=1)
    first, second = adversary.heads
    by_hand = first(score[:, None], z[:, 0]) + second(torch.stack([score, z[:, 0]], dim=1), z[:, 1])
    torch.testing.assert_close(adversary(score, z), -by_hand)


def test_a_reversed_gradient_is_minus_lambda_times_the_plain_one() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    plain = torch.autograd.grad(x.sin().sum(), x)[0]
    turned = torch.autograd.grad(ReverseGradient.apply(x, 0.7).sin().sum(), x)[0]
    torch.testing.assert_close(turned, -0.7 * plain)
    torch.testing.assert_close(plain, x.cos())  # analytic


def test_a_domain_head_learns_as_usual_and_teaches_the_contrary() -> None:
    head, features = DomainHead(3, (4,)), torch.randn(8, 3, requires_grad=True)
    gradients = {}
    for strength in (-1.0, 2.0):  # −1: as if nothing were turned around
        loss = head(features, strength).sigmoid().square().sum()
        gradients[strength] = torch.autograd.grad(loss, [features, *head.parameters()])
    torch.testing.assert_close(gradients[2.0][0], -2 * gradients[-1.0][0])
    for turned, plain in zip(gradients[2.0][1:], gradients[-1.0][1:], strict=True):
        torch.testing.assert_close(turned, plain)


def test_the_ramp_is_that_of_the_paper() -> None:
    assert reversal_strength(0.0) == 0
    assert reversal_strength(0.25) == pytest.approx(math.tanh(1.25))  # 2/(1+e^(−2x)) − 1 = tanh x
    assert reversal_strength(1.0) == pytest.approx(math.tanh(5.0))
