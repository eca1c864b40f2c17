"""The training loop: epochs over shuffled batches in memory, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.progress import Advance
from fivesigma.core.registry import unknown_name
from fivesigma.learn.checkpoint import TrainingState, read_checkpoint, write_checkpoint
from fivesigma.learn.precision import autocast

OptimiserName = Literal["adam", "adamw", "sgd"]
ScheduleName = Literal["constant", "cosine", "one-cycle"]
_WARM_UP = 0.3  # fraction of the steps in which "one-cycle" rises
_START = 0.04  # its first learning rate, as a fraction of the highest
_EVALUATION_BATCH = 512  # events; more would need more memory than the training does


class Events(NamedTuple):
    """Events in memory, on the CPU: one batch at a time goes to the device."""

    X: Tensor  # (event, …), float32
    y: Tensor  # (event,), float32, 0 or 1
    weight: Tensor  # (event,), float32, mean |weight| = 1


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; see ``NetworkClassifier`` for the meaning of each."""

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 3e-3
    optimiser: OptimiserName = "adam"
    weight_decay: float = 1e-5
    schedule: ScheduleName = "one-cycle"
    patience: int = 5
    seed: int = 1
    bfloat16: bool = False
    checkpoint: Path | None = None
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0 or self.checkpoint_every < 1:
            raise ConfigError("networks need epochs ≥ 1, batch_size ≥ 2, learning_rate > 0, checkpoint_every ≥ 1")
        if self.schedule not in (schedules := ("constant", "cosine", "one-cycle")):
            raise ConfigError(unknown_name("schedule", self.schedule, schedules))
        if self.optimiser not in _OPTIMISERS:
            raise ConfigError(unknown_name("optimiser", self.optimiser, _OPTIMISERS))


def _quiet(n: int) -> None:
    """Show no progress."""
    del n


def train(
    network: nn.Module,
    events: Events,
    validation: Events | None,
    options: TrainingOptions,
    device: torch.device,
    *,
    fingerprint: str = "",
    advance: Advance = _quiet,
) -> list[dict[str, float]]:
    """Train in place; with ``validation`` the weights of the best validation loss are put back at the end.

    The loss is the weighted binary cross-entropy, mean over events of weight · loss. Returns the history: for each
    epoch ``{"epoch", "train_loss", "validation_loss", "learning_rate", "seconds"}`` (validation only if given; the
    train loss is the mean over the epoch's batches, with dropout as trained).

    Raises
    ------
    ModelError
        if a loss is not finite: the message names the epoch and the batch.
    ResumeError
        if ``options.checkpoint`` holds a checkpoint of another ``fingerprint``.
    """
    permutation = torch.Generator().manual_seed(options.seed)
    state = TrainingState(network, make_optimiser(network, options, device), permutation)
    if options.checkpoint is not None and read_checkpoint(options.checkpoint, state, fingerprint):
        advance(state.epoch * len(events.y))
    while state.epoch < options.epochs and not state.finished:
        start = time.monotonic()
        train_loss = _epoch(state, events, options, device, advance)
        state.epoch += 1
        record = {"epoch": state.epoch, "train_loss": train_loss}
        if validation is not None:
            record["validation_loss"] = mean_loss(network, validation, device)
            state.keep_best(record["validation_loss"])
            state.finished = 0 < options.patience <= state.epoch - state.best_epoch
        record["learning_rate"] = state.optimiser.param_groups[0]["lr"]
        state.history.append(record | {"seconds": time.monotonic() - start})
        last = state.finished or state.epoch == options.epochs
        if options.checkpoint is not None and (last or state.epoch % options.checkpoint_every == 0):
            write_checkpoint(options.checkpoint, state, fingerprint)
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    return state.history


def _epoch(
    state: TrainingState, events: Events, options: TrainingOptions, device: torch.device, advance: Advance
) -> float:
    """One pass over all events in a new order; returns the mean loss."""
    network, optimiser = state.network.train(), state.optimiser
    total = torch.zeros((), dtype=torch.float64)
    n_batches = number_of_batches(len(events.y), options.batch_size)
    for i, (X, y, weight) in enumerate(batches(events, n_batches, state.permutation)):
        rate = learning_rate((state.epoch * n_batches + i) / (options.epochs * n_batches), options)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with autocast(device, options.bfloat16):
            logit = network(X.to(device))[:, 0]  # (batch,)
        loss = nn.functional.binary_cross_entropy_with_logits(logit.float(), y.to(device), weight.to(device))
        if not math.isfinite(value := loss.item()):
            raise ModelError(
                f"the loss is {value} in batch {i + 1} of {n_batches}, epoch {state.epoch + 1}; "
                f"try a learning rate below {options.learning_rate:g} and look for extreme inputs or weights"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += value * len(y)
        advance(len(y))
    return float(total) / len(events.y)


def number_of_batches(events: int, batch_size: int) -> int:
    """So many that none is larger than ``batch_size``; their sizes differ by one at most, so that none is tiny."""
    return math.ceil(events / batch_size)


def batches(events: Events, n_batches: int, permutation: torch.Generator) -> Iterator[Events]:
    """All events once, in a random order; one gather a batch, where a DataLoader collates event by event."""
    order = torch.randperm(len(events.y), generator=permutation)
    for index in order.tensor_split(n_batches):
        yield Events(events.X[index], events.y[index], events.weight[index])


def mean_loss(network: nn.Module, events: Events, device: torch.device) -> float:
    """Σ weight · loss / Σ|weight| in float32, without dropout."""
    logit = logits(network, events.X, device)
    loss = nn.functional.binary_cross_entropy_with_logits(logit, events.y, reduction="none")
    return float((loss.double() * events.weight).sum() / events.weight.abs().sum())


def logits(network: nn.Module, X: Tensor, device: torch.device) -> Tensor:
    """The network's output for all events, shape (event,), in float32 on the CPU."""
    network.eval()
    with torch.inference_mode():
        parts = [network(part.to(device))[:, 0].float().cpu() for part in X.split(_EVALUATION_BATCH)]
    return torch.cat(parts) if parts else torch.empty(0)


def learning_rate(progress: float, options: TrainingOptions) -> float:
    """The learning rate after a fraction ``progress`` of all steps.

    "one-cycle" (arXiv:1708.07120) rises to ``learning_rate`` in the first 30 % and falls to 0 as a cosine.

    >>> options = TrainingOptions(learning_rate=1.0, schedule="cosine")
    >>> [round(learning_rate(f, options), 2) for f in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "cosine":
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if progress < _WARM_UP:
        return options.learning_rate * (_START + (1 - _START) * progress / _WARM_UP)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def make_optimiser(network: nn.Module, options: TrainingOptions, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser, with L2 on weights only: biases and normalisations are not shrunk."""
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    extra: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if options.optimiser == "sgd" else {}
    fused = device.type in {"cpu", "cuda"}
    return _OPTIMISERS[options.optimiser](groups, lr=options.learning_rate, fused=fused, **extra)
