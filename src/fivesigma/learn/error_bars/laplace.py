"""Last-layer Laplace: a plain network, and the Gaussian posterior of its last layer (arXiv:2106.14806)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.error_bars.estimator import ErrorBarClassifier, ErrorBarRegressor, ErrorBars
from fivesigma.learn.error_bars.last_layer import LastLayerEvents, LastLayerPosterior, last_layer_posterior
from fivesigma.learn.error_bars.network import ErrorBarNetwork
from fivesigma.learn.training_events import Events
from fivesigma.models.model_folder import Arrays


class Laplace(ErrorBars):
    """One network, trained as ever; then the posterior of its last layer with all other weights held fixed.

    A draw takes the weights of the logit, or of the target's mean, from the posterior of ``last_layer_posterior``; the
    noise of a target stays as it was learned. Needs laplace-torch (extra ``bayes``) to fit, not to predict.

    The parameters are those of ``ErrorBars``.
    """

    posterior_: LastLayerPosterior

    def __init__(
        self,
        *,
        nodes: Sequence[int] = (64, 64),
        epochs: int = 40,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 1e-5,
        patience: int = 5,
        draws: int = 100,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
    ) -> None:
        self.nodes = nodes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.draws = draws
        self.seed = seed
        self.threads = threads
        self.device = device

    def _build(self, features: int) -> ErrorBarNetwork:
        return ErrorBarNetwork(features, self.nodes, self.task)

    def _train(self, events: Events, validation: Events | None) -> None:
        super()._train(events, validation)
        (network,) = self.networks_
        with torch.no_grad():
            features = network.features(events.X)
            variance = torch.ones(len(features))
            if network.noise is not None:
                variance = network.log_variance(features)[:, 0].exp()
        weight = events.weight * float(events.weight.sum() / events.weight.square().sum())
        head = nn.Linear(features.shape[1], 1)
        head.load_state_dict(network.head.state_dict())
        self.posterior_ = last_layer_posterior(head, LastLayerEvents(features, events.y, weight, variance), self.task)

    def _draw_outputs(self, X: Tensor, n: int, generator: torch.Generator) -> Tensor:
        (network,) = self.networks_
        features = network.features(X)
        normal = torch.randn((n, len(self.posterior_.mean)), generator=generator, dtype=torch.float64)
        weights = torch.from_numpy(self.posterior_.mean) + normal @ torch.from_numpy(self.posterior_.scale).T
        phi = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
        drawn = (weights.float() @ phi.T)[:, :, None]  # (draw, event, 1)
        if network.noise is None:
            return drawn
        return torch.cat([drawn, network.log_variance(features).expand(n, -1, 1)], dim=2)

    def _own_arrays(self) -> Arrays:
        mean, scale, prior_precision = self.posterior_
        return {
            "posterior/mean": mean,
            "posterior/scale": scale,
            "posterior/prior_precision": np.array([prior_precision]),
        }

    def _take_arrays(self, arrays: Arrays) -> None:
        self.posterior_ = LastLayerPosterior(
            arrays["posterior/mean"], arrays["posterior/scale"], float(arrays["posterior/prior_precision"][0])
        )


@ESTIMATORS.register("laplace")
class LaplaceClassifier(Laplace, ErrorBarClassifier):
    """Last-layer Laplace for signal against background."""

    estimator_name = "laplace"


@ESTIMATORS.register("laplace-regressor")
class LaplaceRegressor(Laplace, ErrorBarRegressor):
    """Last-layer Laplace for a target with noise."""

    estimator_name = "laplace-regressor"
