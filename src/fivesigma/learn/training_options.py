"""How to train a network, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name

OptimiserName = Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"]
ScheduleName = Literal["constant", "step", "exponential", "cosine", "one-cycle", "plateau"]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; see ``NetworkClassifier`` for the meaning of each."""

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 3e-3
    optimiser: OptimiserName = "adam"
    momentum: float = 0.9
    weight_decay: float = 1e-5
    l1: float = 0.0
    schedule: ScheduleName = "one-cycle"
    schedule_factor: float = 0.5
    schedule_epochs: int = 5
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
        if self.weight_decay < 0 or self.l1 < 0 or not 0 <= self.momentum < 1:
            raise ConfigError(
                f"networks need weight_decay ≥ 0, l1 ≥ 0 and 0 ≤ momentum < 1, got {self.weight_decay:g}, {self.l1:g}, "
                f"{self.momentum:g}"
            )
        if not 0 < self.schedule_factor < 1 or self.schedule_epochs < 1:
            raise ConfigError(
                f"schedules need 0 < schedule_factor < 1 and schedule_epochs ≥ 1, got {self.schedule_factor:g} and "
                f"{self.schedule_epochs}"
            )
        if self.schedule not in get_args(ScheduleName):
            raise ConfigError(unknown_name("schedule", self.schedule, get_args(ScheduleName)))
        if self.optimiser not in get_args(OptimiserName):
            raise ConfigError(unknown_name("optimiser", self.optimiser, get_args(OptimiserName)))
