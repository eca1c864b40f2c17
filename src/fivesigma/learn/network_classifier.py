"""Any registered network as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.integrity import content_hash
from fivesigma.core.progress import progress, say
from fivesigma.dataset import BatchLoader
from fivesigma.features import Features
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.loop import OptimiserName, ScheduleName, TrainingOptions, logits, train
from fivesigma.learn.precision import Precision, score_disagreement, use_bfloat16
from fivesigma.learn.training_events import (
    Events,
    EventsInMemory,
    EventsOfLoader,
    TrainingEvents,
    require_both_classes,
)
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.locally_connected_layer import LocallyConnected2d
from fivesigma.models.model_folder import read_model, write_model
from fivesigma.models.networks import NETWORKS, InputScale, he_initialise
from fivesigma.models.training_inputs import InvalidInputsError, check_weight, prediction_inputs, training_inputs

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


class NetworkClassifier(BinaryClassifier):
    """A network of ``NETWORKS`` that learns signal against background by weighted binary cross-entropy.

    Inputs are divided by their root mean square inside the network. Weights are normalised to mean |weight| = 1 over
    the training events; signed weights are allowed (a negative weight turns its event's loss around; in sum, not in
    each batch, the loss is that of the cancelled sample).

    Parameters
    ----------
    network
        a name in ``NETWORKS``; None: the class's own.
    architecture
        keyword arguments of the network's factory, such as ``{"nodes": [256, 128, 64]}``.
    dropout, batch_norm
        for every hidden layer; None: the network's own default.
    epochs, batch_size, learning_rate, optimiser, weight_decay, schedule
        ``batch_size`` and ``learning_rate`` None: the class's own, 256 and 0.003, for "cnn" 64 and 0.006.
        ``weight_decay`` is L2 (decoupled with "adamw"), on weights only. ``schedule``: "constant", "cosine" or
        "one-cycle".
    patience
        with ``validation``: stop after so many epochs without a better validation loss, 0 never; in both cases the
        weights of the best epoch are kept.
    seed, threads
        the same seed, threads and machine give the same network, bit for bit. ``threads`` of the CPU in ``fit`` and
        ``predict_proba``; None: leave torch's own setting. One is best where the machine is shared.
    device
        "auto": a CUDA device if there is one, else the CPU; or torch's name of one. CUDA and MPS: written, not tested.
    precision
        "auto": train in bfloat16 where the processor has units for it; "float32"; "bfloat16". Prediction is in float32.
    precision_tolerance
        trained in bfloat16, the network is evaluated in both precisions; if any probability differs by more than
        this, it is trained again in float32, and ``training_["statement"]`` says so.
    checkpoint, checkpoint_every, checkpoint_batches
        folder where the state is kept every so many epochs, and within an epoch every so many batches (0: not); a
        killed ``fit`` called again goes on and ends with the same bits as one that was not killed. The last two
        checkpoints are kept: if one is damaged, the other is gone on from.

    In a process group of torch, ``fit`` and ``fit_stream`` train on all ranks together: `fivesigma.learn.distributed`.
    """

    accepts_negative_weight: ClassVar[bool] = True
    network_name: ClassVar[str | None] = None
    own_batch_size: ClassVar[int] = 256
    own_learning_rate: ClassVar[float] = 3e-3

    network_: nn.Sequential
    history_: list[dict[str, float]]
    """For each epoch ``{"epoch", "train_loss", "validation_loss", "learning_rate", "seconds"}``."""
    training_: dict[str, Any]
    """``precision`` used, ``disagreement`` between the precisions, ``device``, ``best_epoch``, ``statement``."""

    def __init__(
        self,
        *,
        network: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        dropout: float | None = None,
        batch_norm: bool | None = None,
        epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        optimiser: OptimiserName = "adam",
        weight_decay: float = 1e-5,
        schedule: ScheduleName = "one-cycle",
        patience: int = 5,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
        precision: Precision = "auto",
        precision_tolerance: float = 0.02,
        checkpoint: Path | str | None = None,
        checkpoint_every: int = 1,
        checkpoint_batches: int = 0,
    ) -> None:
        self.network = network
        self.architecture = architecture
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimiser = optimiser
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.patience = patience
        self.seed = seed
        self.threads = threads
        self.device = device
        self.precision = precision
        self.precision_tolerance = precision_tolerance
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.checkpoint_batches = checkpoint_batches

    def fit(self, X: Any, y: Any, weight: Any | None = None, *, validation: Labelled | None = None) -> Self:
        """Train on X of shape (event, feature) or (event, row, column).

        Raises
        ------
        ConfigError
            if an option cannot be meant, or the network does not fit the shape of X.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        ModelError
            if a loss is not finite.
        ResumeError
            if ``checkpoint`` holds a training of other options or other events.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, images=True, dtype=np.float32)
        ranks, batch_size = Ranks.current(), self._options(bfloat16=False).batch_size
        events = EventsInMemory(_events(X, y, weight), batch_size, ranks)
        held_out = None
        if validation is not None:
            labels = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
            X_validation = prediction_inputs(self, validation.X, images=True, dtype=np.float32)
            weight_validation = check_weight(self, validation.weight, len(labels))
            held_out = EventsInMemory(_events(X_validation, labels, weight_validation), batch_size, ranks)
        return self._fit(events, held_out)

    def fit_stream(
        self, loader: BatchLoader, *, validation: BatchLoader | None = None, features: Features | None = None
    ) -> Self:
        """Train on what a loader gives: on more events than memory holds.

        The inputs are the loader's flat columns, its one padded collection, or what fitted ``features`` make of its
        ``columns``. Batches are the loader's: its ``batch_size``, its folds, weights and balance, its seed for the
        order. Weights are divided by their mean absolute value over the training events; inputs by the root mean
        square of the first 100,000 events or so. In a process group the loaders need ``rank`` and ``world_size`` of
        ``Ranks.current()``. Checkpoints resume in mid-epoch, see ``checkpoint_batches``.

        Raises
        ------
        ConfigError
            if it is not clear what the inputs are, or ``batch_size`` is set to another one than the loader's.
        WeightError
            if a class has no positive sum of weights.
        ModelError
            if an input is not finite (naming column, row and batch), or a loss.
        ResumeError
            if ``checkpoint`` holds a training of other options or other events.
        """
        if self.batch_size not in {None, loader.batch_size}:
            raise ConfigError(f"batch_size is {self.batch_size}, but the loader's is {loader.batch_size}: leave it out")
        require_both_classes(loader)
        ranks, mean = Ranks.current(), loader.chosen.mean_absolute_weight
        events = EventsOfLoader(loader, features, ranks, mean)
        held_out = None if validation is None else EventsOfLoader(validation, features, ranks, mean)
        self.classes_ = np.array([0, 1])
        return self._fit(events, held_out)

    def _fit(self, events: TrainingEvents, held_out: TrainingEvents | None) -> Self:
        sample = events.sample()
        self.shape_ = tuple(int(side) for side in sample.shape[1:])
        self.n_features_in_ = self.shape_[0]
        device = resolve_device(self.device)
        with _threads(self.threads):
            bfloat16 = use_bfloat16(self.precision, device)
            self._fit_once(events, sample, held_out, device, bfloat16)
            if bfloat16 and not self._precise_enough(sample if held_out is None else held_out.sample(), device):
                disagreement = self.training_
                self._fit_once(events, sample, held_out, device, bfloat16=False)
                self.training_ |= {name: disagreement[name] for name in ("disagreement", "statement")}
        self.network_.to("cpu").eval()
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal in float32 arithmetic, shape (event, 2)."""
        X = self._inputs(X)
        with _threads(self.threads):
            return two_columns(torch.sigmoid(logits(self.network_, X, torch.device("cpu")).double()).numpy())

    @property
    def history(self) -> list[dict[str, float]]:
        """``history_``, the convergence of the training."""
        return self.history_

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.network_.parameters())

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in order, for ``layer_output``."""
        return tuple(name for name, _ in self.network_.named_children())

    def layer_output(self, X: Any, layer: str) -> NDArray[np.float32]:
        """What a layer puts out for X, shape (event, node) or (event, filter, row, column); memory grows with the
        events.

        Raises
        ------
        ConfigError
            if there is no such layer.
        """
        if layer not in self.layer_names:
            raise ConfigError(f"the network has no layer {layer!r}; it has {', '.join(self.layer_names)}")
        part = self.network_[: self.layer_names.index(layer) + 1].eval()
        with _threads(self.threads), torch.inference_mode():
            outputs = [part(x).float() for x in self._inputs(X).split(512)]
        return np.asarray(torch.cat(outputs).contiguous().numpy())

    def first_layer_filters(self) -> NDArray[np.float32]:
        """Weights of the first layer that has any, as images.

        Dense and maxout networks: (node, row, column) (maxout: all pieces, one node's after another); convolutional:
        (filter, row, column) of the filter; locally connected: the filters at the central location. Tabular inputs:
        (node, feature).
        """
        layer = next(m for m in self.network_ if isinstance(getattr(m, "weight", None), nn.Parameter))
        weight = layer.weight
        assert isinstance(weight, Tensor)
        weight = weight.detach()
        if isinstance(layer, LocallyConnected2d):
            weight = layer.filters_at(layer.rows // 2, layer.columns // 2)[:, 0]
        elif weight.dim() == 2:
            weight = weight.reshape(len(weight), *self.shape_)
        elif weight.dim() == 4:
            weight = weight[:, 0]
        return np.asarray(weight.numpy().copy())

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``arrays.safetensors`` into ``folder``."""
        fitted = {"shape": list(self.shape_), "history": self.history_, "training": self.training_}
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.network_.state_dict().items()}
        write_model(folder, self._saved_as(), {**self._description(), **fitted}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content, arrays = read_model(folder, cls.network_name or "network")
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
            he_initialise(self.network_)
            for layer in self.network_:
                if isinstance(layer, InputScale):
                    layer.fit(sample)
            self.network_.to(device)
            ranks.copy_from_first(self.network_)
            if not ranks.first:
                torch.manual_seed(ranks.world_size * self.seed + ranks.rank)  # dropout of its own
            self.history_ = train(
                self.network_, events, held_out, options, device, fingerprint=fingerprint, advance=advance
            )
        losses = [epoch.get("validation_loss", -epoch["epoch"]) for epoch in self.history_]
        self.training_ = {
            "precision": "bfloat16" if bfloat16 else "float32",
            "device": str(device),
            "best_epoch": int(np.argmin(losses)) + 1,
            "disagreement": None,
            "statement": "trained in float32",
        }

    def _precise_enough(self, X: Tensor, device: torch.device) -> bool:
        """Whether scores of the network trained in bfloat16 agree with float32; ``training_`` says how far."""
        found = score_disagreement(self.network_, X, device)
        agree = found <= self.precision_tolerance
        how = "trained in bfloat16" if agree else "trained again in float32, for in bfloat16"
        limit = f"tolerance {self.precision_tolerance:g}"
        statement = f"{how} scores differ from float32 by at most {found:.2g}, {limit}"
        if not agree:
            say(f"{self._saved_as()}: {statement}")
        self.training_ |= {"disagreement": found, "statement": statement}
        return agree

    def _build(self) -> nn.Sequential:
        name = self.network or self.network_name
        if name is None:
            raise ConfigError(f"say which network: {', '.join(NETWORKS)}")
        chosen = {"dropout": self.dropout, "batch_norm": self.batch_norm}
        options = {**(self.architecture or {}), **{key: value for key, value in chosen.items() if value is not None}}
        try:
            return NETWORKS[name](self.shape_, **options)
        except TypeError as error:
            raise ConfigError(f"the network {name!r} cannot be built with {options}: {error}") from error

    def _options(self, bfloat16: bool) -> TrainingOptions:
        return TrainingOptions(
            epochs=self.epochs,
            batch_size=self.own_batch_size if self.batch_size is None else self.batch_size,
            learning_rate=self.own_learning_rate if self.learning_rate is None else self.learning_rate,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
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

    def _inputs(self, X: Any) -> Tensor:
        X = prediction_inputs(self, X, images=True, dtype=np.float32)
        if X.shape[1:] != self.shape_:
            raise InvalidInputsError(f"expected events of shape {self.shape_}, got {X.shape[1:]}")
        return torch.from_numpy(np.ascontiguousarray(X))

    def _saved_as(self) -> str:
        return self.network_name or "network"


@ESTIMATORS.register("dense")
class DenseClassifier(NetworkClassifier):
    """The network "dense": fully connected ReLU layers."""

    network_name = "dense"


@ESTIMATORS.register("maxout")
class MaxoutClassifier(NetworkClassifier):
    """The network "maxout": maxout layers, then ReLU layers."""

    network_name = "maxout"


@ESTIMATORS.register("cnn")
class ConvolutionalClassifier(NetworkClassifier):
    """The network "cnn": convolutions with a large first filter; images only."""

    network_name = "cnn"
    own_batch_size = 64  # convolutions cost as much per jet in small batches, and learn more from many steps
    own_learning_rate = 6e-3


@ESTIMATORS.register("locally-connected")
class LocallyConnectedClassifier(NetworkClassifier):
    """The network "locally-connected": filters of their own at every place; images only."""

    network_name = "locally-connected"


def resolve_device(name: str) -> torch.device:
    """Torch's device of a name; "auto": CUDA if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}: {error}") from error


def _events(X: NDArray[np.float32], y: NDArray[np.int8], weight: NDArray[np.float64]) -> Events:
    normalised = (weight / np.abs(weight).mean()).astype(np.float32)
    return Events(
        torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(y.astype(np.float32)), torch.from_numpy(normalised)
    )


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """So many threads inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
