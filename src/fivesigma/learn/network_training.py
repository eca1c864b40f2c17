"""What all networks share as estimators: how they are trained, in which precision, resumed, counted, saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.integrity import content_hash
from fivesigma.core.progress import progress, say
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.loop import Loss, train
from fivesigma.learn.precision import Precision, score_disagreement, use_bfloat16
from fivesigma.learn.training_events import TrainingEvents
from fivesigma.learn.training_options import OptimiserName, ScheduleName, TrainingOptions
from fivesigma.learn.warm_start import copy_weights
from fivesigma.models.model_folder import read_model, write_model
from fivesigma.models.saved_estimator import SavedEstimator

_WITHOUT_EFFECT = (
    "checkpoint",
    "checkpoint_every",
    "checkpoint_batches",
    "threads",
    "device",
    "precision",
    "precision_tolerance",
)
"""Options that may change between a checkpoint and its resumption."""


class NetworkTraining(SavedEstimator, ABC):
    """Builds a network, trains it by the loop and keeps what happened; subclasses say which network and what it learns.

    The options of the training are those of `NetworkClassifier`.
    """

    own_batch_size: ClassVar[int] = 256
    own_learning_rate: ClassVar[float] = 3e-3

    epochs: int
    batch_size: int | None
    learning_rate: float | None
    optimiser: OptimiserName
    momentum: float
    weight_decay: float
    l1: float
    schedule: ScheduleName
    schedule_factor: float
    schedule_epochs: int
    patience: int
    seed: int
    threads: int | None
    device: str
    precision: Precision
    precision_tolerance: float
    warm_start: Path | str | None  # scikit-learn's tools say False for None
    checkpoint: Path | str | None
    checkpoint_every: int
    checkpoint_batches: int

    network_: nn.Module
    shape_: tuple[int, ...]
    """Of one event."""
    history_: list[dict[str, float]]
    """For each epoch ``{"epoch", "train_loss", "validation_loss", "learning_rate", "seconds"}``."""
    training_: dict[str, Any]
    """``precision`` used, ``disagreement`` between the precisions, ``device``, ``best_epoch``, ``statement``; with
    ``warm_start``, what was copied."""

    @abstractmethod
    def _build(self) -> nn.Module:
        """The network for events of ``shape_``, not yet initialised."""

    @abstractmethod
    def _initialise(self, network: nn.Module, sample: Tensor) -> None:
        """Draw its first weights; take scales from a sample of the inputs."""

    @abstractmethod
    def _loss(self) -> Loss:
        """What falls."""

    @abstractmethod
    def _link(self, output: Tensor) -> Tensor:
        """From outputs to what is predicted, in which precisions are compared."""

    @abstractmethod
    def _saved_as(self) -> str:
        """The estimator's name on disk."""

    def _fit(self, events: TrainingEvents, held_out: TrainingEvents | None) -> Self:
        sample = events.sample()
        self.shape_ = tuple(int(side) for side in sample.shape[1:])
        self.n_features_in_ = self.shape_[0]
        device = resolve_device(self.device)
        with limited_threads(self.threads):
            bfloat16 = use_bfloat16(self.precision, device)
            self._fit_once(events, sample, held_out, device, bfloat16)
            if bfloat16 and not self._precise_enough(sample if held_out is None else held_out.sample(), device):
                disagreement = self.training_
                self._fit_once(events, sample, held_out, device, bfloat16=False)
                self.training_ |= {name: disagreement[name] for name in ("disagreement", "statement")}
        self.network_.to("cpu").eval()
        return self

    def _fit_once(
        self,
        events: TrainingEvents,
        sample: Tensor,
        held_out: TrainingEvents | None,
        device: torch.device,
        bfloat16: bool,
    ) -> None:
        options, ranks = self._options(bfloat16), Ranks.current()
        fingerprint = self._fingerprint(events, held_out, bfloat16)
        total = self.epochs * len(events)
        # dropout and initialisation draw from torch's global generator: seeded here, given back as it was
        with torch.random.fork_rng(), progress(total, f"training {self._saved_as()}") as advance:
            torch.manual_seed(self.seed)
            self.network_ = self._build()
            self._initialise(self.network_, sample)
            copied = copy_weights(self.network_, self.warm_start).to_json() if self.warm_start else {}
            self.network_.to(device)
            ranks.copy_from_first(self.network_)
            if not ranks.first:
                torch.manual_seed(ranks.world_size * self.seed + ranks.rank)  # dropout of its own
            self.history_ = train(
                self.network_,
                events,
                held_out,
                options,
                device,
                loss=self._loss(),
                fingerprint=fingerprint,
                advance=advance,
            )
        losses = [epoch.get("validation_loss", -epoch["epoch"]) for epoch in self.history_]
        self.training_ = {
            "precision": "bfloat16" if bfloat16 else "float32",
            "device": str(device),
            "best_epoch": int(np.argmin(losses)) + 1,
            "disagreement": None,
            "statement": "trained in float32",
            **({"warm_start": copied} if copied else {}),
        }

    def _precise_enough(self, X: Tensor, device: torch.device) -> bool:
        """Whether scores of the network trained in bfloat16 agree with float32; ``training_`` says how far."""
        found = score_disagreement(self.network_, X, device, self._link)
        agree = found <= self.precision_tolerance
        how = "trained in bfloat16" if agree else "trained again in float32, for in bfloat16"
        limit = f"tolerance {self.precision_tolerance:g}"
        statement = f"{how} scores differ from float32 by at most {found:.2g}, {limit}"
        if not agree:
            say(f"{self._saved_as()}: {statement}")
        self.training_ |= {"disagreement": found, "statement": statement}
        return agree

    def _options(self, bfloat16: bool) -> TrainingOptions:
        return TrainingOptions(
            epochs=self.epochs,
            batch_size=self.own_batch_size if self.batch_size is None else self.batch_size,
            learning_rate=self.own_learning_rate if self.learning_rate is None else self.learning_rate,
            optimiser=self.optimiser,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            l1=self.l1,
            schedule=self.schedule,
            schedule_factor=self.schedule_factor,
            schedule_epochs=self.schedule_epochs,
            patience=self.patience,
            seed=self.seed,
            bfloat16=bfloat16,
            # a second training in float32 must not go on from the first
            checkpoint=Path(self.checkpoint) / ("bfloat16" if bfloat16 else "float32") if self.checkpoint else None,
            checkpoint_every=self.checkpoint_every,
            checkpoint_batches=self.checkpoint_batches,
        )

    def _fingerprint(self, events: TrainingEvents, held_out: TrainingEvents | None, bfloat16: bool) -> str:
        """What must be the same for a checkpoint to be gone on with."""
        if self.checkpoint is None:
            return ""
        options = self._description()["options"]
        for name in _WITHOUT_EFFECT:
            del options[name]
        digests = [source.fingerprint() for source in (events, held_out) if source is not None]
        world_size = Ranks.current().world_size
        return content_hash({"options": options, "events": digests, "bfloat16": bfloat16, "world_size": world_size})

    @property
    def history(self) -> list[dict[str, float]]:
        """``history_``, the convergence of the training."""
        return self.history_

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.network_.parameters())

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``arrays.safetensors`` into ``folder``."""
        fitted = {"shape": list(self.shape_), "history": self.history_, "training": self.training_}
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.network_.state_dict().items()}
        write_model(folder, self._saved_as(), {**self._description(), **fitted}, arrays)

    @classmethod
    def _load(cls, folder: Path, saved_as: str) -> Self:
        content, arrays = read_model(folder, saved_as)
        model = cls._described(content)
        model.shape_ = tuple(content["shape"])
        model.history_, model.training_ = content["history"], content["training"]
        model.network_ = model._build()
        try:
            model.network_.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        except RuntimeError as error:
            raise ModelError(f"the weights in {folder} are of another network: {error}") from error
        model.network_.eval()
        return model


def resolve_device(name: str) -> torch.device:
    """Torch's device of a name; "auto": CUDA if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}: {error}") from error


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """So many threads inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
