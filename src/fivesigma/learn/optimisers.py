"""Optimisers: torch's, with L2 and L1 on kernels only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fivesigma.learn.training_options import TrainingOptions

OPTIMISERS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], str]] = {
    "sgd": (torch.optim.SGD, "stochastic gradient descent with `momentum`, Nesterov's unless it is 0"),
    "adagrad": (torch.optim.Adagrad, "steps divided by the root of all squared gradients so far (Duchi et al. 2011)"),
    "rmsprop": (torch.optim.RMSprop, "… by the root of their running mean (Tieleman, Hinton 2012), with `momentum`"),
    "adam": (torch.optim.Adam, "running means of gradients and of their squares (arXiv:1412.6980)"),
    "adamw": (torch.optim.AdamW, "Adam with decoupled L2 (arXiv:1711.05101)"),
}
"""Optimisers by name, and what they are."""

_NORMALISATIONS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def kernels(network: nn.Module) -> Iterator[Tensor]:
    """What penalties shrink: weights that multiply inputs; no biases, no slopes, no normalisations.

    >>> [tuple(kernel.shape) for kernel in kernels(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm((1, 2)), nn.PReLU()))]
    [(2, 3)]
    """
    for module in network.modules():
        if not isinstance(module, _NORMALISATIONS):
            yield from (p for p in module.parameters(recurse=False) if p.dim() > 1)


def l1_penalty(network: nn.Module) -> Tensor:
    """Σ |w| over the kernels."""
    return torch.stack([kernel.abs().sum() for kernel in kernels(network)]).sum()


def make_optimiser(network: nn.Module, options: TrainingOptions, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser, with L2 on kernels only: a weight decay of d adds d·w to the gradient (or, "adamw", to the step)."""
    shrunk = list(kernels(network))
    of_kernels = {id(p) for p in shrunk}
    others = [p for p in network.parameters() if id(p) not in of_kernels]
    groups = [{"params": shrunk, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    extra: dict[str, Any] = {"fused": device.type in {"cpu", "cuda"}}
    if options.optimiser == "sgd":
        extra |= {"momentum": options.momentum, "nesterov": options.momentum > 0}
    elif options.optimiser == "rmsprop":
        extra = {"momentum": options.momentum}  # torch has no fused one
    return OPTIMISERS[options.optimiser][0](groups, lr=options.learning_rate, **extra)
