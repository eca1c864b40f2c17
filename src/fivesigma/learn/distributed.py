"""One training on several processes, on one machine or many: started by ``torchrun``, with gloo on CPUs, NCCL on CUDA.

Each process (*rank*) takes its part of every batch. Losses and gradients are sums over the batch of all ranks divided by
its number of events, and batch normalisation uses the mean and variance of all of it, so that the result is that of a
single process but for the rounding of sums. Dropout draws other numbers on each rank: with it, results agree only
statistically. NCCL is written, not tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

_PATIENCE = timedelta(days=7)  # while the first rank fits what cannot be shared; torchrun ends all if one has died


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together; alone by default."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Those of torch's process group, if there is one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.world_size == 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        self.total(0.0)

    def total(self, value: float) -> float:
        """The sum over ranks, equal on all."""
        if self.alone:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=_device())
        distributed.all_reduce(tensor)
        return float(tensor)

    def gather(self, values: Tensor) -> list[Tensor]:
        """Tensors of one shape from all ranks, on the CPU."""
        if self.alone:
            return [values]
        found = [torch.empty_like(values, device=_device()) for _ in range(self.world_size)]
        distributed.all_gather(found, values.to(_device()))
        return [tensor.cpu() for tensor in found]

    def from_first(self, text: str) -> str:
        """What the first rank says, on all."""
        if self.alone:
            return text
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = int(self.total(float(len(content)) if self.first else 0.0))
        sent = (content if self.first else torch.empty(length, dtype=torch.uint8)).to(_device())
        distributed.broadcast(sent, 0)
        return bytes(sent.cpu().tolist()).decode()

    def copy_from_first(self, network: nn.Module) -> None:
        """Weights and buffers of the first rank's network, on all."""
        if not self.alone:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> float:
        """Add up gradients in place, and the parts of the loss, in one message; the whole loss, equal on all ranks."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = torch.cat([*(g.reshape(-1) for g in gradients), loss.detach().reshape(1)])
        distributed.all_reduce(message)
        parts = message[:-1].split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            if parameter.grad is None:
                parameter.grad = part.view_as(parameter)
            else:
                parameter.grad.copy_(part.view_as(parameter))
        return float(message[-1])


ALONE = Ranks()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """The ranks that ``torchrun`` has started this process among; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks.current()
    finally:
        distributed.destroy_process_group()


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


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
