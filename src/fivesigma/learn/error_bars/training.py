"""The training loop of networks with error bars: likelihood and an optional penalty, with the best epoch kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.progress import Advance
from fivesigma.learn.error_bars.network import ErrorBarNetwork, Task, negative_log_likelihood
from fivesigma.learn.training_events import Events, batches, number_of_batches

Penalty = Callable[[ErrorBarNetwork], Tensor]
"""What is added to the mean loss of an event."""

_CLIPPED_NORM = 10.0  # of the gradient: one event of a tiny predicted variance must not throw the network away


@dataclass(frozen=True)
class Training:
    """How to train: Adam, a one-cycle learning rate (arXiv:1708.07120), early stopping after ``patience`` epochs."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise ConfigError(
                "expected epochs ≥ 1, batch_size ≥ 1, learning_rate > 0 and weight_decay ≥ 0, "
                f"got {self.epochs}, {self.batch_size}, {self.learning_rate:g}, {self.weight_decay:g}"
            )


def train_network(
    network: ErrorBarNetwork,
    events: Events,
    validation: Events | None,
    task: Task,
    training: Training,
    device: torch.device,
    *,
    seed: int,
    penalty: Penalty | None = None,
    advance: Advance,
) -> list[dict[str, float]]:
    """Train in place and return the history; with ``validation`` the weights of the best epoch are put back.

    The loss is the mean over events of weight · (−log likelihood), plus the penalty.

    Raises
    ------
    ModelError
        if a loss is not finite: the message names the epoch.
    """
    network.to(device)
    optimiser = _optimiser(network, training)
    n_batches = number_of_batches(len(events.y), training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.epochs * n_batches + 1, cycle_momentum=False
    )
    order = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    best, best_epoch, best_weights = math.inf, 0, None
    for epoch in range(1, training.epochs + 1):
        start, summed = time.monotonic(), 0.0
        network.train()
        for size, part in batches(events, n_batches, order):
            loss = _mean_loss(network, part, task, device)
            if penalty is not None:
                loss = loss + penalty(network)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _CLIPPED_NORM)
            optimiser.step()
            schedule.step()
            summed += float(loss.detach()) * size
        advance(len(events.y))
        record = {"epoch": float(epoch), "train_loss": summed / len(events.y)}
        _require_finite(record["train_loss"], epoch, training)
        if validation is not None:
            record["validation_loss"] = validation_loss = _loss_of_all(network, validation, task, device)
            if validation_loss < best:
                best, best_epoch, best_weights = validation_loss, epoch, copy.deepcopy(network.state_dict())
        history.append(record | {"seconds": time.monotonic() - start})
        if validation is not None and 0 < training.patience <= epoch - best_epoch:
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.to("cpu").eval()
    return history


def _mean_loss(network: ErrorBarNetwork, events: Events, task: Task, device: torch.device) -> Tensor:
    output = network(events.X.to(device)).float()
    return (events.weight.to(device) * negative_log_likelihood(output, events.y.to(device), task)).mean()


@torch.no_grad()
def _loss_of_all(network: ErrorBarNetwork, events: Events, task: Task, device: torch.device) -> float:
    network.eval()
    return float(_mean_loss(network, events, task, device))


def _optimiser(network: ErrorBarNetwork, training: Training) -> torch.optim.Optimizer:
    """Adam with L2 on weights only, not on biases."""
    weights = [p for p in network.parameters() if p.dim() > 1]
    biases = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": training.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.Adam(groups, lr=training.learning_rate, fused=True)


def _require_finite(loss: float, epoch: int, training: Training) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} in epoch {epoch}; try a learning rate below {training.learning_rate:g} "
            "and look for extreme inputs, targets or weights"
        )
