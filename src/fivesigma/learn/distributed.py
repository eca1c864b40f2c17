"""One training on several processes, on one machine or many: started by ``torchrun``, with gloo on CPUs, NCCL on CUDA.

Each process (*rank*) takes its part of every batch. Losses and gradients are sums over the batch of all ranks divided by
its number of events, and batch normalisation uses the mean and variance of all of it, so that the result is that of a
single process but for the rounding of sums. Dropout draws other numbers on each rank: with it, results agree only
statistically. NCCL is written, not tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

from fivesigma.learn.ranks import ALONE, Ranks, process_group

__all__ = ["ALONE", "Ranks", "process_group", "shared_batch_norm"]


@contextmanager
def shared_batch_norm(network: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Inside, batch normalisation takes mean and variance of a batch over all ranks (torch's own needs CUDA)."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and not ranks.alone]
    for norm in norms:
        norm.forward = partial(_normalise, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalise(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """As torch's batch normalisation (arXiv:1502.03167), over the parts of all ranks; x is (batch, channel, …)."""
    if not norm.training:
        return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    x = x.float()
    others = [0, *range(2, x.dim())]
    channel = (1, -1, *[1] * (x.dim() - 2))
    counted = torch.full((1,), x.numel() / x.shape[1], device=x.device)
    sums = _SumOverRanks.apply(torch.cat([x.sum(others), counted]))
    n = sums[-1].detach()
    mean = sums[:-1] / n
    centred = x - mean.view(channel)
    variance = _SumOverRanks.apply(centred.square().sum(others)) / n
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * n / (n - 1), momentum)
    scaled: Tensor = centred * torch.rsqrt(variance + norm.eps).view(channel)
    return scaled * norm.weight.view(channel) + norm.bias.view(channel) if norm.affine else scaled


class _SumOverRanks(torch.autograd.Function):
    """Σ over ranks; every rank's loss depends on the sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        summed = x.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        summed = gradients[0].clone()
        distributed.all_reduce(summed)
        return summed
