"""Any registered network as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.dataset import BatchLoader
from fivesigma.features import Features
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.loop import Loss, logits, signal_cross_entropy
from fivesigma.learn.network_training import NetworkTraining, limited_threads
from fivesigma.learn.precision import Precision
from fivesigma.learn.training_events import EventsInMemory, EventsOfLoader, events_of, require_both_classes
from fivesigma.learn.training_options import OptimiserName, ScheduleName
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.locally_connected_layer import LocallyConnected2d
from fivesigma.models.networks import NETWORKS, InputScale, he_initialise
from fivesigma.models.training_inputs import InvalidInputsError, check_weight, prediction_inputs, training_inputs

_ANY = "any-network"  # the name on disk of a NetworkClassifier that was told its network


class NetworkClassifier(NetworkTraining, BinaryClassifier):
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
    epochs, batch_size, learning_rate
        ``batch_size`` and ``learning_rate`` None: the class's own, 256 and 0.003, for "cnn" 64 and 0.006.
    optimiser, momentum
        a name in `fivesigma.learn.optimisers.OPTIMISERS`; ``momentum`` is of "sgd" and "rmsprop".
    weight_decay, l1
        penalties on kernels only, never on biases or normalisations: L2 (decoupled with "adamw"), and l1 · Σ |w|.
    schedule, schedule_factor, schedule_epochs
        of the learning rate: a name in `fivesigma.learn.schedules.SCHEDULES`; the last two are of "step",
        "exponential" and "plateau".
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
    warm_start
        folder of a saved network, whose weights are copied into this one, by name, before training:
        `fivesigma.learn.warm_start`. None: start anew.
    checkpoint, checkpoint_every, checkpoint_batches
        folder where the state is kept every so many epochs, and within an epoch every so many batches (0: not); a
        killed ``fit`` called again goes on and ends with the same bits as one that was not killed. The last two
        checkpoints are kept: if one is damaged, the other is gone on from.

    In a process group of torch, ``fit`` and ``fit_stream`` train on all ranks together: `fivesigma.learn.distributed`.
    """

    accepts_negative_weight: ClassVar[bool] = True
    network_name: ClassVar[str | None] = None
    network_: nn.Sequential

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
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        l1: float = 0.0,
        schedule: ScheduleName = "one-cycle",
        schedule_factor: float = 0.5,
        schedule_epochs: int = 5,
        patience: int = 5,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
        precision: Precision = "auto",
        precision_tolerance: float = 0.02,
        warm_start: Path | str | None = None,
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
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.schedule = schedule
        self.schedule_factor = schedule_factor
        self.schedule_epochs = schedule_epochs
        self.patience = patience
        self.seed = seed
        self.threads = threads
        self.device = device
        self.precision = precision
        self.precision_tolerance = precision_tolerance
        self.warm_start = warm_start
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
        events = EventsInMemory(events_of(X, y, weight), batch_size, ranks)
        held_out = None
        if validation is not None:
            labels = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
            X_validation = prediction_inputs(self, validation.X, images=True, dtype=np.float32)
            weight_validation = check_weight(self, validation.weight, len(labels))
            held_out = EventsInMemory(events_of(X_validation, labels, weight_validation), batch_size, ranks)
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

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal in float32 arithmetic, shape (event, 2)."""
        X = self._inputs(X)
        with limited_threads(self.threads):
            return two_columns(torch.sigmoid(logits(self.network_, X, torch.device("cpu")).double()).numpy())

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
        with limited_threads(self.threads), torch.inference_mode():
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

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        return cls._load(folder, cls.network_name or _ANY)

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

    def _initialise(self, network: nn.Module, sample: Tensor) -> None:
        he_initialise(network)
        for layer in network.modules():
            if isinstance(layer, InputScale):
                layer.fit(sample)

    def _loss(self) -> Loss:
        return signal_cross_entropy

    def _link(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output)

    def _inputs(self, X: Any) -> Tensor:
        X = prediction_inputs(self, X, images=True, dtype=np.float32)
        if X.shape[1:] != self.shape_:
            raise InvalidInputsError(f"expected events of shape {self.shape_}, got {X.shape[1:]}")
        return torch.from_numpy(np.ascontiguousarray(X))

    def _saved_as(self) -> str:
        return self.network_name or _ANY


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
