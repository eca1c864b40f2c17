"""What all learners with error bars share: fitting, draws, what is said from them, a folder on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.estimator import Labelled
from fivesigma.core.progress import progress
from fivesigma.learn.error_bars.draws import LEVEL, FloatArray, ProbabilityDraws, TargetDraws, Uncertainty
from fivesigma.learn.error_bars.network import Drawn, ErrorBarNetwork, Task
from fivesigma.learn.error_bars.training import Penalty, Training, train_network
from fivesigma.learn.network_training import limited_threads, resolve_device
from fivesigma.learn.training_events import Events
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.model_folder import Arrays, read_model, write_model
from fivesigma.models.regressor import Regressor
from fivesigma.models.saved_estimator import SavedEstimator
from fivesigma.models.training_inputs import check_weight, prediction_inputs, regression_inputs, training_inputs

History = list[dict[str, float]]


@runtime_checkable
class WithErrorBars(Protocol):
    """What a learner with error bars promises beside ``fit``, ``save`` and ``load``."""

    def predict_samples(self, X: Any, n: int | None = None, seed: int | None = None) -> FloatArray:
        """Draws of the answer, (sample, event, class) or (sample, event); a draw is one function of X."""

    def predict_interval(self, X: Any, level: float = LEVEL) -> FloatArray:
        """Central interval of each event, (event, 2)."""

    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Epistemic and aleatoric standard deviation of the target of each event."""


class FittedNetwork(NamedTuple):
    """One trained network and the loss of each epoch."""

    network: ErrorBarNetwork
    history: History


class ErrorBars(SavedEstimator, ABC):
    """A learner of ``ErrorBarNetwork`` from which functions can be drawn; the base of all methods.

    Every method takes these parameters beside its own.

    Parameters
    ----------
    nodes
        of each hidden layer; () is a linear model.
    epochs, batch_size, learning_rate, weight_decay
        of Adam with a one-cycle learning rate. ``weight_decay`` is L2, on weights only.
    patience
        with ``validation``: stop after so many epochs without a better validation loss, 0 never; the weights of the
        best epoch are kept.
    draws
        how many functions a prediction draws if it is not told; deep ensembles take their members.
    seed, threads, device
        the same seed, threads and machine give the same answers, bit for bit. ``device`` "auto": CUDA for training
        if there is one. Predictions run on the CPU. CUDA and MPS: written, not tested.
    """

    task: ClassVar[Task]

    networks_: list[ErrorBarNetwork]
    history_: History
    """Of the first network: for each epoch ``{"epoch", "train_loss", "validation_loss", "seconds"}``."""

    nodes: Sequence[int]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    draws: int
    seed: int
    threads: int | None
    device: str

    @abstractmethod
    def _build(self, features: int) -> ErrorBarNetwork:
        """An untrained network; torch's generator is seeded."""

    def _train(self, events: Events, validation: Events | None) -> None:
        """Set ``networks_`` and ``history_``."""
        network, self.history_ = self._train_network(events, validation, self.seed)
        self.networks_ = [network]

    def _draw_outputs(self, X: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Outputs of n functions, (draw, event, output); the default draws the random layers of the only network."""
        (network,) = self.networks_
        layers = [layer for layer in network.modules() if isinstance(layer, Drawn)]
        outputs = []
        for _ in range(n):
            for layer in layers:
                layer.redraw(generator)
            outputs.append(network(X))
        for layer in layers:
            layer.forget()
        return torch.stack(outputs)

    def _own_draws(self) -> int:
        return self.draws

    def _own_arrays(self) -> Arrays:
        """What the method fitted beside the networks."""
        return {}

    def _take_arrays(self, arrays: Arrays) -> None:
        """Take back what ``_own_arrays`` gave."""

    def _fit_networks(self, events: Events, validation: Events | None) -> None:
        if self._own_draws() < 1:
            raise ConfigError(f"a prediction needs at least 1 draw (of an ensemble: member), got {self._own_draws()}")
        self.n_features_in_ = events.X.shape[1]
        with limited_threads(self.threads), torch.random.fork_rng():
            self._train(events, validation)

    def _train_network(
        self, events: Events, validation: Events | None, seed: int, penalty: Penalty | None = None
    ) -> FittedNetwork:
        training = Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )
        torch.manual_seed(seed)
        network = self._build(events.X.shape[1])
        network.standardise.fit(events.X)
        with progress(self.epochs * len(events.y), f"training {self.estimator_name}") as advance:
            history = train_network(
                network,
                events,
                validation,
                self.task,
                training,
                resolve_device(self.device),
                seed=seed,
                penalty=penalty,
                advance=advance,
            )
        return FittedNetwork(network, history)

    def _outputs(self, X: NDArray[Any], n: int | None, seed: int | None) -> FloatArray:
        """Outputs of the functions drawn, (draw, event, output)."""
        n, seed = self._own_draws() if n is None else n, self.seed if seed is None else seed
        if n < 1:
            raise ConfigError(f"n: expected at least 1 draw, got {n}")
        generator = torch.Generator().manual_seed(seed)
        with limited_threads(self.threads), torch.inference_mode():
            drawn = self._draw_outputs(torch.from_numpy(np.ascontiguousarray(X)), n, generator)
        return np.asarray(drawn.double().numpy())

    @property
    def history(self) -> History:
        """``history_``, the convergence of the training."""
        return self.history_

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for network in self.networks_ for p in network.parameters())

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``arrays.safetensors`` into ``folder``."""
        arrays = {
            f"network/{i}/{name}": tensor.numpy()
            for i, network in enumerate(self.networks_)
            for name, tensor in network.state_dict().items()
        }
        content = {**self._description(), "networks": len(self.networks_), "history": self.history_}
        write_model(folder, self.estimator_name, content, {**arrays, **self._own_arrays()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content, arrays = read_model(folder, cls.estimator_name)
        model = cls._described(content)
        model.history_, model.networks_ = content["history"], []
        for i in range(content["networks"]):
            network, prefix = model._build(model.n_features_in_), f"network/{i}/"
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            try:
                network.load_state_dict({name: torch.from_numpy(array) for name, array in own.items()})
            except RuntimeError as error:
                raise ModelError(f"the weights in {folder} are of another network: {error}") from error
            model.networks_.append(network.eval())
        model._take_arrays(arrays)
        return model


class ErrorBarClassifier(ErrorBars, BinaryClassifier):
    """Signal against background; the error bar is that of the probability of signal."""

    task = "classification"
    accepts_negative_weight = True

    def fit(self, X: Any, y: Any, weight: Any | None = None, *, validation: Labelled | None = None) -> Self:
        """Fit on X of shape (event, feature), by weighted binary cross-entropy.

        Raises
        ------
        ConfigError
            if an option cannot be meant.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        ModelError
            if a loss is not finite.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, dtype=np.float32)
        held_out = None
        if validation is not None:
            labels = (np.asarray(validation.y) == self.classes_[1]).astype(np.float32)
            X_validation = prediction_inputs(self, validation.X, dtype=np.float32)
            held_out = as_events(X_validation, labels, check_weight(self, validation.weight, len(labels)))
        self._fit_networks(as_events(X, y.astype(np.float32), weight), held_out)
        return self

    def predict_draws(self, X: Any, n: int | None = None, seed: int | None = None) -> ProbabilityDraws:
        """The drawn logits, from which everything below follows."""
        X = prediction_inputs(self, X, dtype=np.float32)
        return ProbabilityDraws(self._outputs(X, n, seed)[:, :, 0])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The mean probabilities of background and signal, shape (event, 2)."""
        return two_columns(self.predict_draws(X).mean())

    def predict_samples(self, X: Any, n: int | None = None, seed: int | None = None) -> FloatArray:
        """Probabilities in n draws, shape (sample, event, class)."""
        return self.predict_draws(X, n, seed).samples()

    def predict_interval(self, X: Any, level: float = LEVEL) -> FloatArray:
        """Central interval of the probability of signal, shape (event, 2)."""
        return self.predict_draws(X).interval(level)

    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Epistemic and aleatoric standard deviation of the label as 0 or 1."""
        return self.predict_draws(X).uncertainty()


class ErrorBarRegressor(ErrorBars, Regressor):
    """A target with a mean and a noise that both depend on the event; the error bar holds both.

    Negative weights are refused: the likelihood of a variance has no minimum for them.
    """

    task = "regression"
    accepts_negative_weight = False

    target_mean_: float
    target_deviation_: float

    def fit(self, X: Any, y: Any, weight: Any | None = None, *, validation: Labelled | None = None) -> Self:
        """Fit on X of shape (event, feature) and y of shape (event,), by weighted Gaussian likelihood.

        Raises
        ------
        ConfigError
            if an option cannot be meant.
        InvalidInputsError, InvalidWeightError
            wrong shapes, NaN or infinity, negative weights.
        ModelError
            if a loss is not finite.
        """
        X, y, weight = regression_inputs(self, X, y, weight, dtype=np.float32)
        self.target_mean_ = float(np.average(y, weights=weight))
        deviation = float(np.sqrt(np.average((y - self.target_mean_) ** 2, weights=weight)))
        self.target_deviation_ = deviation if deviation > 0 else 1.0
        held_out = None
        if validation is not None:
            X_validation = prediction_inputs(self, validation.X, dtype=np.float32)
            y_validation = np.asarray(validation.y, dtype=np.float64)
            held_out_weight = check_weight(self, validation.weight, len(y_validation))
            held_out = as_events(X_validation, self._standardised(y_validation), held_out_weight)
        self._fit_networks(as_events(X, self._standardised(y), weight), held_out)
        return self

    def predict_draws(self, X: Any, n: int | None = None, seed: int | None = None) -> TargetDraws:
        """The drawn means and variances, from which everything below follows."""
        outputs = self._outputs(prediction_inputs(self, X, dtype=np.float32), n, seed)
        means = self.target_mean_ + self.target_deviation_ * outputs[:, :, 0]
        return TargetDraws(means, self.target_deviation_**2 * np.exp(outputs[:, :, 1]))

    def predict(self, X: Any) -> FloatArray:
        """The mean, shape (event,)."""
        return self.predict_draws(X).mean()

    def predict_samples(self, X: Any, n: int | None = None, seed: int | None = None) -> FloatArray:
        """The mean of the target in n draws, shape (sample, event)."""
        return self.predict_draws(X, n, seed).samples()

    def predict_interval(self, X: Any, level: float = LEVEL, of: Literal["target", "mean"] = "target") -> FloatArray:
        """Central interval, shape (event, 2), of the target of one event, or of the mean of such events."""
        return self.predict_draws(X).interval(level, of)

    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Epistemic and aleatoric standard deviation of the target, in its units."""
        return self.predict_draws(X).uncertainty()

    def _standardised(self, y: FloatArray) -> NDArray[np.float32]:
        return ((y - self.target_mean_) / self.target_deviation_).astype(np.float32)

    def _description(self) -> dict[str, Any]:
        return {**super()._description(), "target": [self.target_mean_, self.target_deviation_]}

    @classmethod
    def _described(cls, content: dict[str, Any]) -> Self:
        model = super()._described(content)
        model.target_mean_, model.target_deviation_ = content["target"]
        return model


def as_events(X: NDArray[np.float32], y: NDArray[np.float32], weight: NDArray[np.float64]) -> Events:
    """Tensors, with weights normalised to mean |weight| = 1."""
    normalised = (weight / np.abs(weight).mean()).astype(np.float32)
    return Events(torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(y), torch.from_numpy(normalised))
