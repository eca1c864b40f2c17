"""The posterior of a last layer, by laplace-torch: its evidence and its algebra, our curvature of weighted events."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from collections import OrderedDict
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fivesigma.core.errors import MissingDependencyError, ModelError
from fivesigma.learn.error_bars.network import Task

PRIOR_PRECISIONS = (1e-4, 1e6)
"""Range in which the prior precision is looked for."""

_EVENTS_AT_ONCE = 8192


class LastLayerPosterior(NamedTuple):
    """The Gaussian posterior N(mean, scale scaleᵀ) of the last layer's weights, then its bias."""

    mean: NDArray[np.float64]  # (node + 1,)
    scale: NDArray[np.float64]  # (node + 1, node + 1)
    prior_precision: float


class LastLayerEvents(NamedTuple):
    """What the posterior depends on; weights are normalised to their effective number, Σw = (Σw)²/Σw²."""

    features: Tensor  # (event, node): what the last layer sees
    y: Tensor  # (event,): 0 or 1, or the standardised target
    weight: Tensor  # (event,)
    variance: Tensor  # (event,): of the target's noise; not used for classes


def last_layer_posterior(head: nn.Linear, events: LastLayerEvents, task: Task) -> LastLayerPosterior:
    """Laplace's approximation around ``head``, with the prior precision of the largest evidence.

    Daxberger et al., arXiv:2106.14806: the precision is H + λ with the generalised Gauss–Newton matrix
    H = Σ w h(x) φ φᵀ, φ = (features, 1), h = p(1 − p) for classes and 1/σ² for a target; λ makes the Laplace evidence
    largest (MacKay 1992), which for a linear network with Gaussian noise is exact.

    Raises
    ------
    MissingDependencyError
        if laplace-torch (extra ``bayes``) is not installed.
    ModelError
        if signed weights leave a curvature that is no precision.
    """
    laplace = import_laplace()
    model = nn.Sequential(OrderedDict(head=head)).double()
    posterior = laplace.FullLLLaplace(model, "classification", last_layer_name="head", backend=_curvature_of(task))
    content = torch.stack([events.y, events.weight, events.variance], dim=1).double()
    loader = DataLoader(TensorDataset(events.features.double(), content), batch_size=_EVENTS_AT_ONCE)
    posterior.fit(loader)
    lowest = float(torch.linalg.eigvalsh(posterior.H)[0])
    if lowest < -1e-9 * float(posterior.H.diagonal().abs().max()):
        raise ModelError(
            f"the curvature of the loss has the negative eigenvalue {lowest:.3g}, from negative weights: it is no "
            "precision; choose the weight policy 'absolute-rescaled', 'pair-cancel' or 'drop-negative'"
        )
    logarithms = [math.log(limit) for limit in PRIOR_PRECISIONS]
    found = minimize_scalar(_minus_evidence, bounds=logarithms, args=(posterior,), method="bounded")
    precision = math.exp(found.x)
    posterior.prior_precision = precision
    return LastLayerPosterior(
        posterior.mean.double().numpy().copy(), posterior.posterior_scale.double().numpy().copy(), precision
    )


def _minus_evidence(log_precision: float, posterior: Any) -> float:
    precision = torch.tensor([math.exp(log_precision)], dtype=torch.float64)
    with torch.no_grad():
        return -float(posterior.log_marginal_likelihood(prior_precision=precision))


def _curvature_of(task: Task) -> Any:
    """A curvature backend of laplace-torch for one output and weighted events, which its own do not know."""

    class WeightedCurvature:
        def __init__(self, model: Any, likelihood: str, **options: Any) -> None:
            del likelihood, options
            self.model = model

        def full(self, x: Tensor, y: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
            """−log likelihood and its Gauss–Newton matrix, summed over a batch of (target, weight, noise variance)."""
            del options
            target, weight, variance = y.unbind(dim=1)
            with torch.no_grad():
                output = self.model(x)[:, 0]
                if task == "classification":
                    loss = nn.functional.binary_cross_entropy_with_logits(output, target, reduction="none")
                    probability = torch.sigmoid(output)
                    curvature = probability * (1 - probability)
                else:
                    loss = 0.5 * ((target - output).square() / variance + torch.log(2 * math.pi * variance))
                    curvature = 1 / variance
                phi = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
                return (weight * loss).sum(), phi.T @ ((weight * curvature)[:, None] * phi)

    return WeightedCurvature


def import_laplace() -> Any:
    """The package ``laplace``.

    It imports torchmetrics, and that imports torchvision where it is installed, although nothing here needs it.
    torchvision cannot be imported where it was compiled for another torch (such as the one of PyPI beside a torch for
    CPUs only): then a stand-in takes its place for as long as the import lasts.

    Raises
    ------
    MissingDependencyError
        if it is not installed.
    """
    hidden = [] if _importable("torchvision") else ["torchvision", "torchvision.models", "torchvision.transforms"]
    sys.modules.update({name: _StandIn(name) for name in hidden})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script, which its dependency asdl uses
            return importlib.import_module("laplace")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the estimator 'laplace' needs laplace-torch ({error}); install it with: pip install 'fivesigma[bayes]'"
        ) from error
    finally:
        for name in hidden:
            del sys.modules[name]


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError):
        for part in [part for part in sys.modules if part.partition(".")[0] == name]:
            del sys.modules[part]
        return False
    return True


class _StandIn(ModuleType):
    """A module of which everything public is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
