"""The training loop: epochs over shuffled batches from memory or a loader, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ModelError
from fivesigma.core.progress import Advance
from fivesigma.learn.checkpoint import TrainingState, read_checkpoint, write_checkpoint
from fivesigma.learn.distributed import Ranks, shared_batch_norm
from fivesigma.learn.optimisers import l1_penalty, make_optimiser
from fivesigma.learn.precision import autocast
from fivesigma.learn.schedules import learning_rate
from fivesigma.learn.training_events import Events, EventsInMemory, Part, TrainingEvents
from fivesigma.learn.training_options import OptimiserName, ScheduleName, TrainingOptions

__all__ = [
    "Loss",
    "OptimiserName",
    "ScheduleName",
    "TrainingOptions",
    "learning_rate",
    "logits",
    "make_optimiser",
    "mean_loss",
    "outputs",
    "signal_cross_entropy",
    "train",
]

_EVALUATION_BATCH = 512  # events; more would need more memory than the training does
_BLOCK = 32  # rows that matrix products take together, at the most

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs (batch, output) and targets (batch, …) to each event's loss (batch,), before weights."""


def signal_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of one logit an event, shape (batch,)."""
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0], y, reduction="none")


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
    loss: Loss = signal_cross_entropy,
    fingerprint: str = "",
    advance: Advance = _quiet,
) -> list[dict[str, float]]:
    """Train in place; with ``validation`` the weights of the best validation loss are put back at the end.

    What falls is the mean over events of weight · ``loss``, plus ``l1`` · Σ |w|. Returns the history: for each epoch
    ``{"epoch", "train_loss", "validation_loss", "learning_rate", "seconds"}`` (validation only if given; the train loss
    is the mean over the epoch's batches, with dropout as trained; neither holds penalties). In a process group of torch,
    all ranks train together, see `fivesigma.learn.distributed`; the first one writes the checkpoints.

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
            train_loss = _epoch(state, source, options, device, loss, advance, fingerprint)
            start = time.monotonic()
            state.epoch += 1
            record = {"epoch": state.epoch, "train_loss": train_loss}
            if held_out is not None:
                record["validation_loss"] = mean_loss(network, held_out, device, loss)
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
    loss: Loss,
    advance: Advance,
    fingerprint: str,
) -> float:
    """One pass, or the rest of one, over all events in a new order; returns the mean loss."""
    ranks, n_batches = Ranks.current(), source.n_batches
    state.network.train()
    start = time.monotonic()
    losses = [epoch.get("validation_loss", epoch["train_loss"]) for epoch in state.history]
    for part in source.epoch(state):
        rate = learning_rate((state.epoch * n_batches + state.batch) / (options.epochs * n_batches), options, losses)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.loss_sum += _step(state, part, source, options, device, loss, ranks) * part.size
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
    state: TrainingState,
    part: Part,
    source: TrainingEvents,
    options: TrainingOptions,
    device: torch.device,
    loss: Loss,
    ranks: Ranks,
) -> float:
    """One batch: forward, backward, step; returns the mean loss of the whole batch, without penalties."""
    X, y, weight = part.events
    with autocast(device, options.bfloat16):
        output = state.network(X.to(device))  # (batch, output)
    summed = (loss(output.float(), y.to(device)) * weight.to(device)).sum() / part.size
    penalised = summed + options.l1 / ranks.world_size * l1_penalty(state.network) if options.l1 else summed
    if ranks.alone:
        _require_finite(value := summed.item(), state, part, source, options)
    state.optimiser.zero_grad(set_to_none=True)
    penalised.backward()
    if not ranks.alone:
        _require_finite(value := ranks.sum_gradients(state.network, summed), state, part, source, options)
    state.optimiser.step()
    return value


def _require_finite(
    loss: float, state: TrainingState, part: Part, source: TrainingEvents, options: TrainingOptions
) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} in batch {state.batch + 1} of {source.n_batches}, epoch {state.epoch + 1}; "
            f"try a learning rate below {options.learning_rate:g} and look for extreme inputs or weights: "
            f"{_most_extreme(part.events, source.names)}"
        )


def _most_extreme(events: Events, names: tuple[str, ...]) -> str:
    """What stands out in a batch: the input that is farthest from zero in units of its root mean square; a weight."""
    X = events.X.double()
    if not X.numel():
        return "none of its events are on this rank"
    values = X.reshape(-1, X.shape[-1]) if names or X.dim() == 2 else X.reshape(-1, 1)  # (value, input)
    ratios = values.abs() / values.square().mean(dim=0).sqrt().clamp(min=torch.finfo(torch.double).tiny)
    row, column = divmod(int(ratios.argmax()), values.shape[1])
    called = repr(names[column]) if names else f"feature {column}" if values.shape[1] > 1 else "an input"
    weight = events.weight[events.weight.abs().argmax()]
    return (
        f"the most extreme in this batch are {values[row, column]:g} of {called}, {ratios[row, column]:.3g} times its "
        f"root mean square, and a weight of {weight:.3g} times the mean"
    )


def mean_loss(
    network: nn.Module, events: TrainingEvents, device: torch.device, loss: Loss = signal_cross_entropy
) -> float:
    """Σ weight · loss / Σ|weight| in float32, without dropout."""
    ranks, summed, absolute = Ranks.current(), 0.0, 0.0
    for X, y, weight in events.parts():
        found = loss(outputs(network, X, device), y)
        summed += float((found.double() * weight).sum())
        absolute += float(weight.abs().sum())
    return ranks.total(summed) / ranks.total(absolute)


def outputs(network: nn.Module, X: Tensor, device: torch.device) -> Tensor:
    """The network's outputs for all events, shape (event, output), in float32 on the CPU."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([_outputs_of_part(network, part.to(device)) for part in X.split(_EVALUATION_BATCH)])


def _outputs_of_part(network: nn.Module, X: Tensor) -> Tensor:
    """A score must not depend on the events beside it: libraries sum the last few rows of a matrix in another order.

    Rows of zeros fill the part up to whole blocks.
    """
    lacking = -len(X) % _BLOCK
    whole = torch.cat([X, X.new_zeros((lacking, *X.shape[1:]))]) if lacking else X
    found: Tensor = network(whole)
    return found[: len(X)].float().cpu()


def logits(network: nn.Module, X: Tensor, device: torch.device) -> Tensor:
    """The network's first output for all events, shape (event,), in float32 on the CPU."""
    return outputs(network, X, device)[:, 0] if len(X) else torch.empty(0)
