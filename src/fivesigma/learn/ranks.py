"""``Ranks``: one process among those that train together; torch is loaded where there are others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_PATIENCE = timedelta(days=7)  # while the first rank fits what cannot be shared; torchrun ends all if one has died


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together; alone by default."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Those of torch's process group, if there is one."""
        if "torch" not in sys.modules:  # then nobody has made one
            return cls()
        from torch import distributed

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
        import torch
        from torch import distributed

        tensor = torch.tensor([value], dtype=torch.float64, device=_device())
        distributed.all_reduce(tensor)
        return float(tensor)

    def gather(self, values: Tensor) -> list[Tensor]:
        """Tensors of one shape from all ranks, on the CPU."""
        if self.alone:
            return [values]
        import torch
        from torch import distributed

        found = [torch.empty_like(values, device=_device()) for _ in range(self.world_size)]
        distributed.all_gather(found, values.to(_device()))
        return [tensor.cpu() for tensor in found]

    def from_first(self, text: str) -> str:
        """What the first rank says, on all."""
        if self.alone:
            return text
        import torch
        from torch import distributed

        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = int(self.total(float(len(content)) if self.first else 0.0))
        sent = (content if self.first else torch.empty(length, dtype=torch.uint8)).to(_device())
        distributed.broadcast(sent, 0)
        return bytes(sent.cpu().tolist()).decode()

    def copy_from_first(self, network: nn.Module) -> None:
        """Weights and buffers of the first rank's network, on all."""
        if not self.alone:
            from torch import distributed

            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> float:
        """Add up gradients in place, and the parts of the loss, in one message; the whole loss, equal on all ranks."""
        import torch
        from torch import distributed

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
    import torch
    from torch import distributed

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks.current()
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
