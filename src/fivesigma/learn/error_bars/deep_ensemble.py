"""Deep ensembles: networks that differ in their first weights and in the order of events (arXiv:1612.01474)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.error_bars.estimator import ErrorBarClassifier, ErrorBarRegressor, ErrorBars
from fivesigma.learn.error_bars.network import ErrorBarNetwork
from fivesigma.learn.training_events import Events


class DeepEnsemble(ErrorBars):
    """``members`` networks; a draw is a member.

    Lakshminarayanan, Pritzel and Blundell, arXiv:1612.01474, without their adversarial training (section 2.3). With
    one member it is a plain network: no epistemic error bar, only the noise that it learned.

    Members that are trained on the same events share the fluctuations of these events, and their spread does not show
    them. With ``bootstrap`` every member has a Poisson bootstrap of the events, and it does.

    Parameters
    ----------
    members
        networks; 5 in the paper. Asked for more draws than members, they are taken in turn.
    bootstrap
        weights of the events times Poisson(1), for each member; the paper trains on all events. For the others see
        ``ErrorBars``; ``draws`` is not among them.
    """

    def __init__(
        self,
        *,
        members: int = 5,
        bootstrap: bool = False,
        nodes: Sequence[int] = (64, 64),
        epochs: int = 40,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 1e-5,
        patience: int = 5,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
    ) -> None:
        self.members = members
        self.bootstrap = bootstrap
        self.nodes = nodes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.seed = seed
        self.threads = threads
        self.device = device

    def _build(self, features: int) -> ErrorBarNetwork:
        return ErrorBarNetwork(features, self.nodes, self.task)

    def _train(self, events: Events, validation: Events | None) -> None:
        seeds = np.random.SeedSequence(self.seed).generate_state(self.members)
        fitted = [self._train_network(self._of_member(events, int(s)), validation, int(s)) for s in seeds]
        self.networks_, self.history_ = [network for network, _ in fitted], fitted[0].history

    def _of_member(self, events: Events, seed: int) -> Events:
        if not self.bootstrap:
            return events
        counts = np.random.default_rng(seed).poisson(1.0, len(events.y)).astype(np.float32)
        return events._replace(weight=events.weight * torch.from_numpy(counts))

    def _draw_outputs(self, X: Tensor, n: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 nothing is random
        members = torch.stack([network(X) for network in self.networks_])  # (member, event, output)
        return members[torch.arange(n) % len(members)]

    def _own_draws(self) -> int:
        return self.members


@ESTIMATORS.register("deep-ensemble")
class DeepEnsembleClassifier(DeepEnsemble, ErrorBarClassifier):
    """A deep ensemble for signal against background."""

    estimator_name = "deep-ensemble"


@ESTIMATORS.register("deep-ensemble-regressor")
class DeepEnsembleRegressor(DeepEnsemble, ErrorBarRegressor):
    """A deep ensemble for a target with noise."""

    estimator_name = "deep-ensemble-regressor"
