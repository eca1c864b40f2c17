"""Mean-field variational inference: every weight has a Gaussian of its own (arXiv:1505.05424, arXiv:1506.02557)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.error_bars.estimator import ErrorBarClassifier, ErrorBarRegressor, ErrorBars
from fivesigma.learn.error_bars.network import ErrorBarNetwork
from fivesigma.learn.error_bars.variational_layer import VariationalLinear
from fivesigma.learn.training_events import Events


class Variational(ErrorBars):
    """One network of ``VariationalLinear`` layers; a draw takes every weight from its posterior.

    The loss of an event is −log likelihood + KL(posterior ‖ prior) / events: the negative evidence bound of Bayes by
    backprop (arXiv:1505.05424, eq. 2), with ``events`` the effective number (Σw)²/Σw² of weighted ones.

    Parameters
    ----------
    prior_scale
        of the Gaussian prior, see ``VariationalLinear``; it takes the place of ``weight_decay``. For the others see
        ``ErrorBars``.
    """

    weight_decay = 0.0

    def __init__(
        self,
        *,
        prior_scale: float = 2.0,
        nodes: Sequence[int] = (64, 64),
        epochs: int = 80,
        batch_size: int = 128,
        learning_rate: float = 2e-2,
        patience: int = 10,
        draws: int = 100,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
    ) -> None:
        self.prior_scale = prior_scale
        self.nodes = nodes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.draws = draws
        self.seed = seed
        self.threads = threads
        self.device = device

    def _build(self, features: int) -> ErrorBarNetwork:
        if not self.prior_scale > 0:
            raise ConfigError(f"prior_scale: expected above 0, got {self.prior_scale:g}")
        layer = partial(VariationalLinear, prior_scale=self.prior_scale)
        return ErrorBarNetwork(features, self.nodes, self.task, layer)

    def _train(self, events: Events, validation: Events | None) -> None:
        effective = float(events.weight.sum() ** 2 / events.weight.square().sum())

        def penalty(network: ErrorBarNetwork) -> Tensor:
            return divergence(network) / effective

        network, self.history_ = self._train_network(events, validation, self.seed, penalty)
        self.networks_ = [network]


def divergence(network: ErrorBarNetwork) -> Tensor:
    """KL(posterior ‖ prior) of all layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, VariationalLinear)]
    return torch.stack([layer.divergence() for layer in layers]).sum()


@ESTIMATORS.register("variational")
class VariationalClassifier(Variational, ErrorBarClassifier):
    """Mean-field variational inference for signal against background."""

    estimator_name = "variational"


@ESTIMATORS.register("variational-regressor")
class VariationalRegressor(Variational, ErrorBarRegressor):
    """Mean-field variational inference for a target with noise."""

    estimator_name = "variational-regressor"
