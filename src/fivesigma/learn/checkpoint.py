"""Everything that training needs to go on exactly where it was, in one safetensors file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fivesigma.core.errors import ModelError, OutputError, ResumeError
from fivesigma.core.integrity import atomic_path
from fivesigma.core.progress import say
from fivesigma.learn.distributed import ALONE, Ranks

FILE_NAME = "training.safetensors"
PREVIOUS = "training.previous.safetensors"
"""The checkpoint before the last one: what is gone on from if the last one is damaged."""
FORMAT = 2


@dataclass
class TrainingState:
    """A network in training: its weights, its optimiser's, the random numbers to come, and what happened so far."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    permutation: torch.Generator  # draws the order of events
    permutation_before: Tensor | None = None  # state of the generator before it drew the order of this epoch
    epoch: int = 0  # epochs completed
    batch: int = 0  # batches completed of the epoch that has begun
    loss_sum: float = 0.0  # over the events of these batches
    seconds: float = 0.0  # spent on these batches
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    numbers: ClassVar[tuple[str, ...]] = (
        "epoch",
        "batch",
        "loss_sum",
        "seconds",
        "finished",
        "history",
        "best_loss",
        "best_epoch",
    )
    """What is no tensor."""

    def keep_best(self, loss: float) -> None:
        """Remember the weights if this is the best validation loss so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


def write_checkpoint(folder: Path, state: TrainingState, fingerprint: str, ranks: Ranks = ALONE) -> None:
    """Write atomically, on the first rank, and keep the one before: a kill at any time leaves one that is complete.

    Raises
    ------
    OutputError
        if it cannot be written.
    """
    tensors = {f"network/{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best_weights.items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    in_epoch = state.batch > 0 and state.permutation_before is not None
    tensors["random/permutation"] = state.permutation_before if in_epoch else state.permutation.get_state()
    tensors |= {f"random/torch/{i}": tensor for i, tensor in enumerate(ranks.gather(torch.get_rng_state()))}
    if torch.cuda.is_available():
        tensors |= {f"random/cuda/{i}": tensor for i, tensor in enumerate(ranks.gather(torch.cuda.get_rng_state()))}
    if not ranks.first:
        return
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = {name: getattr(state, name) for name in TrainingState.numbers}
    content |= {"format": FORMAT, "fingerprint": fingerprint, "digest": _digest(tensors)}
    path = Path(folder) / FILE_NAME
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"state": json.dumps(content)})
        except SafetensorError as error:  # what a full disk is called there
            raise OutputError(f"cannot write {path}: {error}; choose another folder for checkpoints") from error
        if path.is_file():
            os.replace(path, path.with_name(PREVIOUS))


def read_checkpoint(folder: Path, state: TrainingState, fingerprint: str, ranks: Ranks = ALONE) -> bool:
    """Put ``state`` where the last complete checkpoint was; False if there is none.

    Raises
    ------
    ResumeError
        if the checkpoint is of other options or other events: delete the folder to train anew.
    ModelError
        if every checkpoint there is is damaged.
    """
    ranks.wait()  # until nobody writes
    found = _last_complete(Path(folder))
    if found is None:
        return False
    path, content, tensors = found
    if content["fingerprint"] != fingerprint or content.get("format") != FORMAT:
        raise ResumeError(f"the checkpoint {path} is of other options or other events; delete it to train anew")
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
    torch.set_rng_state(tensors[f"random/torch/{ranks.rank}"])
    if f"random/cuda/{ranks.rank}" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"random/cuda/{ranks.rank}"])
    state.permutation.set_state(tensors["random/permutation"])
    state.best_weights = _part(tensors, "best/")
    for name in TrainingState.numbers:
        setattr(state, name, content[name])
    return True


def _last_complete(folder: Path) -> tuple[Path, dict[str, Any], dict[str, Tensor]] | None:
    """The last checkpoint whose bytes are as they were written."""
    damage: ModelError | None = None
    for name in (FILE_NAME, PREVIOUS):
        path = folder / name
        if not path.is_file():
            continue
        try:
            content, tensors = _read(path)
        except ModelError as error:
            damage = damage or error
            continue
        if damage is not None:
            say(f"{damage}\ngoing on from the one before, {path}")
        return path, content, tensors
    if damage is not None:
        raise damage
    return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content: dict[str, Any] = json.loads(file.metadata()["state"])
        whole = content["digest"] == _digest(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the checkpoint {path} is damaged ({error}); delete it to train anew") from error
    if not whole:
        raise ModelError(f"the checkpoint {path} is damaged; delete it to train anew")
    return content, tensors


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
