"""Everything that training needs to go on exactly where it was, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fivesigma.core.errors import ModelError, ResumeError
from fivesigma.core.integrity import atomic_path

FILE_NAME = "training.safetensors"


@dataclass
class TrainingState:
    """A network in training: its weights, its optimiser's, the random numbers to come, and what happened so far."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    permutation: torch.Generator  # draws the order of events
    epoch: int = 0  # epochs completed
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def keep_best(self, loss: float) -> None:
        """Remember the weights if this is the best validation loss so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


def write_checkpoint(folder: Path, state: TrainingState, fingerprint: str) -> None:
    """Write atomically: a kill at any time leaves the last complete checkpoint."""
    tensors = {f"network/{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best_weights.items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors["random/torch"] = torch.get_rng_state()
    tensors["random/permutation"] = state.permutation.get_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = {
        "epoch": state.epoch,
        "finished": state.finished,
        "history": state.history,
        "best_loss": state.best_loss,
        "best_epoch": state.best_epoch,
        "fingerprint": fingerprint,
        "digest": _digest(tensors),
    }
    with atomic_path(Path(folder) / FILE_NAME) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(content)})


def read_checkpoint(folder: Path, state: TrainingState, fingerprint: str) -> bool:
    """Put ``state`` where the checkpoint was; False if there is none.

    Raises
    ------
    ResumeError
        if the checkpoint is of other options or other events: delete the folder to train anew.
    ModelError
        if the file is damaged.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return False
    content, tensors = _read(path)
    if content["fingerprint"] != fingerprint:
        raise ResumeError(f"the checkpoint {path} is of other options or other events; delete it to train anew")
    if content["digest"] != _digest(tensors):
        raise ModelError(f"the checkpoint {path} is damaged; delete it to train anew")
    state.network.load_state_dict(_part(tensors, "network/"))
    optimiser = state.optimiser.state_dict()
    optimiser["state"] = {}
    parameters = [p for group in state.optimiser.param_groups for p in group["params"]]
    for name, tensor in _part(tensors, "optimiser/").items():
        index, key = name.split("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:  # fused optimisers expect the memory layout of the parameter
            tensor = torch.empty_like(parameter).copy_(tensor)
        optimiser["state"].setdefault(int(index), {})[key] = tensor.detach()
    state.optimiser.load_state_dict(optimiser)
    torch.set_rng_state(tensors["random/torch"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
    state.permutation.set_state(tensors["random/permutation"])
    state.best_weights = _part(tensors, "best/")
    for name in ("epoch", "finished", "history", "best_loss", "best_epoch"):
        setattr(state, name, content[name])
    return True


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["state"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the checkpoint {path} is damaged ({error}); delete it to train anew") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
