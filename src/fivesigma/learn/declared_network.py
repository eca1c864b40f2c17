"""``network`` and ``network-regressor``: networks that a study declares, as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.dataset import BatchLoader
from fivesigma.features import Features
from fivesigma.learn.declared_training import DeclaredTraining
from fivesigma.learn.precision import Precision
from fivesigma.learn.training_events import require_both_classes
from fivesigma.learn.training_options import OptimiserName, ScheduleName
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.regressor import Regressor
from fivesigma.models.training_inputs import regression_inputs, training_inputs


@ESTIMATORS.register("network")
class DeclaredClassifier(DeclaredTraining, BinaryClassifier):
    """A declared network that tells two classes or more apart; see `DeclaredTraining` for the parameters."""

    estimator_name: ClassVar[str] = "network"

    def __init__(
        self,
        *,
        blocks: Mapping[str, Any] | None = None,
        heads: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Sequence[int]] | None = None,
        pretraining_epochs: int = 5,
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
        self.blocks = blocks
        self.heads = heads
        self.inputs = inputs
        self.pretraining_epochs = pretraining_epochs
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
        """Train on X of shape (event, …), or a mapping from inputs to such; y as in `DeclaredTraining`.

        Raises
        ------
        ConfigError
            if an option cannot be meant, or the network does not fit the shapes of X.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``; also where an input or a target is missing.
        ModelError
            if a loss is not finite.
        ResumeError
            if ``checkpoint`` holds a training of other options or other events.
        """
        own, targets = self._own_and_targets(y)
        packed = self._packed(X, self.inputs)
        checked, labels, weight, self.classes_ = training_inputs(
            self, packed, own, weight, images=True, multi_class=True, dtype=np.float32
        )
        self.shapes_ = self._shapes_of(X, checked)
        return self._fit_arrays(checked, self._by_head(labels.astype(np.float64), targets), weight, validation)

    def fit_stream(
        self, loader: BatchLoader, *, validation: BatchLoader | None = None, features: Features | None = None
    ) -> Self:
        """Train on what a loader gives, on more events than memory holds: see `NetworkClassifier.fit_stream`.

        Targets of heads must be among the loader's ``columns``; their mean and spread are those of the first 100,000
        events or so.
        """
        require_both_classes(loader)
        self.classes_ = np.array([0, 1])
        return self._fit_loader(loader, validation, features, target=None)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities by the head that learns the labels, in float32 arithmetic, shape (event, class)."""
        found = self.predict_heads(X)[self._own_head()]
        return two_columns(found[:, 0]) if found.shape[1] == 1 else found / found.sum(axis=1, keepdims=True)

    def _classes(self) -> int:
        return len(self.classes_)

    def _own_loss(self) -> str:
        return "bce" if len(self.classes_) == 2 else "cross-entropy"

    def _encoded(self, y: NDArray[Any]) -> NDArray[np.float64]:
        return np.searchsorted(self.classes_, y).astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        return tags


@ESTIMATORS.register("network-regressor")
class DeclaredRegressor(DeclaredTraining, Regressor):
    """A declared network that learns a number, such as an energy; see `DeclaredTraining` for the parameters."""

    estimator_name: ClassVar[str] = "network-regressor"

    def __init__(
        self,
        *,
        blocks: Mapping[str, Any] | None = None,
        heads: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Sequence[int]] | None = None,
        pretraining_epochs: int = 5,
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
        self.blocks = blocks
        self.heads = heads
        self.inputs = inputs
        self.pretraining_epochs = pretraining_epochs
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
        """Train on X of shape (event, …), or a mapping from inputs to such; y as in `DeclaredTraining`.

        Raises
        ------
        ConfigError
            if an option cannot be meant, or the network does not fit the shapes of X.
        InvalidInputsError, InvalidWeightError
            see ``regression_inputs``; also where an input or a target is missing.
        ModelError
            if a loss is not finite.
        ResumeError
            if ``checkpoint`` holds a training of other options or other events.
        """
        own, targets = self._own_and_targets(y)
        packed = self._packed(X, self.inputs)
        checked, numbers, weight = regression_inputs(self, packed, own, weight, images=True, dtype=np.float32)
        self.shapes_ = self._shapes_of(X, checked)
        return self._fit_arrays(checked, self._by_head(numbers, targets), weight, validation)

    def fit_stream(
        self,
        loader: BatchLoader,
        target: str,
        *,
        validation: BatchLoader | None = None,
        features: Features | None = None,
    ) -> Self:
        """Train on what a loader gives; ``target``, the column to learn, must be among its ``columns``."""
        return self._fit_loader(loader, validation, features, target)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """What the head that learns y says, shape (event,); of several quantiles, the one nearest to the median."""
        name = self._own_head()
        return self.predict_heads(X)[name][:, self.network_.losses[name].best]

    def _own_loss(self) -> str:
        return "mse"

    def _encoded(self, y: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(y, dtype=np.float64)
