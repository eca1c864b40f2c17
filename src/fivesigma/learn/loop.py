"""The training loop: epochs over shuffled batches from memory or a loader, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.progress import Advance
from fivesigma.core.registry import unknown_name
from fivesigma.learn.checkpoint import TrainingState, read_checkpoint, write_checkpoint
from fivesigma.learn.distributed import Ranks, shared_batch_norm
from fivesigma.learn.precision import autocast
from fivesigma.learn.training_events import Events, EventsInMemory, Part, TrainingEvents

OptimiserName = Literal["adam", "adamw", "sgd"]
ScheduleName = Literal["constant", "cosine", "one-cycle"]
_WARM_UP = 0.3  # fraction of the steps in which "one-cycle" rises
_START = 0.04  # its first learning rate, as a fraction of the highest
_EVALUATION_BATCH = 512  # events; more would need more memory than the training does


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
    checkpoint_batches: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0 or self.checkpoint_every < 1:
            raise ConfigError("networks need epochs ≥ 1, batch_size ≥ 2, learning_rate > 0, checkpoint_every ≥ 1")
        if self.checkpoint_batches < 0:
            raise ConfigError(f"networks need checkpoint_batches ≥ 0, got {self.checkpoint_batches}")
        if self.schedule not in (schedules := ("constant", "cosine", "one-cycle")):
            raise ConfigError(unknown_name("schedule", self.schedule, schedules))
        if self.optimiser not in _OPTIMISERS:
            raise ConfigError(unknown_name("optimiser", self.optimiser, _OPTIMISERS))


def _quiet(n: int) -> None:
    """Show no progress."""
    del n


def train(
    network: nn.Module,
    events: Events | TrainingEvents,
    validation: Events | TrainingEvents | None,
    options: TrainingOptions,
    device: torch.device,
    *,
    fingerprint: str = "",
    advance: Advance = _quiet,
) -> list[dict[str, float]]:
    """Train in place; with ``validation`` the weights of the best validation loss are put back at the end.

    The loss is the weighted binary cross-entropy, mean over events of weight · loss. Returns the history: for each
    epoch ``{"epoch", "train_loss", "validation_loss", "learning_rate", "seconds"}`` (validation only if given; the
    train loss is the mean over the epoch's batches, with dropout as trained). In a process group of torch, all ranks
    train together, see `fivesigma.learn.distributed`; the first one writes the checkpoints.

    Raises
    ------
    ModelError
        if a loss is not finite: the message names the epoch and the batch.
    ResumeError
        if ``options.checkpoint`` holds a checkpoint of another ``fingerprint``.
    """
    ranks = Ranks.current()
    source = EventsInMemory(events, options.batch_size, ranks) if isinstance(events, Events) else events
    held_out = EventsInMemory(validation, options.batch_size, ranks) if isinstance(validation, Events) else validation
    permutation = torch.Generator().manual_seed(options.seed)
    state = TrainingState(network, make_optimiser(network, options, device), permutation)
    if options.checkpoint is not None and read_checkpoint(options.checkpoint, state, fingerprint, ranks):
        advance(state.epoch * len(source) + state.batch * len(source) // source.n_batches)
    with shared_batch_norm(network, ranks):
        while state.epoch < options.epochs and not state.finished:
            train_loss = _epoch(state, source, options, device, advance, fingerprint)
            start = time.monotonic()
            state.epoch += 1
            record = {"epoch": state.epoch, "train_loss": train_loss}
            if held_out is not None:
                record["validation_loss"] = mean_loss(network, held_out, device)
                state.keep_best(record["validation_loss"])
                state.finished = 0 < options.patience <= state.epoch - state.best_epoch
            record["learning_rate"] = state.optimiser.param_groups[0]["lr"]
            state.history.append(record | {"seconds": state.seconds + time.monotonic() - start})
            state.batch, state.loss_sum, state.seconds = 0, 0.0, 0.0
            last = state.finished or state.epoch == options.epochs
            if options.checkpoint is not None and (last or state.epoch % options.checkpoint_every == 0):
                write_checkpoint(options.checkpoint, state, fingerprint, ranks)
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    return state.history


def _epoch(
    state: TrainingState,
    source: TrainingEvents,
    options: TrainingOptions,
    device: torch.device,
    advance: Advance,
    fingerprint: str,
) -> float:
    """One pass, or the rest of one, over all events in a new order; returns the mean loss."""
    ranks, n_batches = Ranks.current(), source.n_batches
    state.network.train()
    start = time.monotonic()
    for part in source.epoch(state):
        rate = learning_rate((state.epoch * n_batches + state.batch) / (options.epochs * n_batches), options)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.loss_sum += _step(state, part, n_batches, options, device, ranks) * part.size
        state.batch += 1
        advance(part.size)
        every = options.checkpoint_batches
        if options.checkpoint is not None and every and state.batch % every == 0 and state.batch < n_batches:
            now = time.monotonic()
            state.seconds, start = state.seconds + now - start, now
            write_checkpoint(options.checkpoint, state, fingerprint, ranks)
    state.seconds += time.monotonic() - start
    return state.loss_sum / len(source)


def _step(
    state: TrainingState, part: Part, n_batches: int, options: TrainingOptions, device: torch.device, ranks: Ranks
) -> float:
    """One batch: forward, backward, step; returns the mean loss of the whole batch."""
    X, y, weight = part.events
    with autocast(device, options.bfloat16):
        logit = state.network(X.to(device))[:, 0]  # (batch,)
    logit, y, weight = logit.float(), y.to(device), weight.to(device)
    if ranks.alone:
        loss = nn.functional.binary_cross_entropy_with_logits(logit, y, weight)
        _require_finite(value := loss.item(), state, n_batches, options)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
    else:
        loss = nn.functional.binary_cross_entropy_with_logits(logit, y, weight, reduction="sum") / part.size
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        _require_finite(value := ranks.sum_gradients(state.network, loss), state, n_batches, options)
    state.optimiser.step()
    return value


def _require_finite(loss: float, state: TrainingState, n_batches: int, options: TrainingOptions) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} in batch {state.batch + 1} of {n_batches}, epoch {state.epoch + 1}; "
            f"try a learning rate below {options.learning_rate:g} and look for extreme inputs or weights"
        )


def mean_loss(network: nn.Module, events: TrainingEvents, device: torch.device) -> float:
    """Σ weight · loss / Σ|weight| in float32, without dropout."""
    ranks, summed, absolute = Ranks.current(), 0.0, 0.0
    for X, y, weight in events.parts():
        loss = nn.functional.binary_cross_entropy_with_logits(logits(network, X, device), y, reduction="none")
        summed += float((loss.double() * weight).sum())
        absolute += float(weight.abs().sum())
    return ranks.total(summed) / ranks.total(absolute)


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
