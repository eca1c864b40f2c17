"""Monte Carlo dropout: dropout stays on in prediction, and each mask is a draw (arXiv:1506.02142)."""

from __future__ import annotations

from collections.abc import Sequence

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.error_bars.estimator import ErrorBarClassifier, ErrorBarRegressor, ErrorBars
from fivesigma.learn.error_bars.network import ErrorBarNetwork


class McDropout(ErrorBars):
    """One network with dropout after every hidden layer, in training and in prediction.

    Gal and Ghahramani, arXiv:1506.02142: with L2 this approximates a Gaussian process. The width of the error bar
    follows from the rate, which the data do not choose: check the coverage, and tune ``dropout`` on held-out events.

    Parameters
    ----------
    dropout
        fraction of nodes left out, the same in all hidden layers. For the others see ``ErrorBars``.
    """

    def __init__(
        self,
        *,
        dropout: float = 0.1,
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
        self.dropout = dropout
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
        if not 0 < self.dropout < 1:
            raise ConfigError(f"dropout: expected between 0 and 1, got {self.dropout:g}")
        return ErrorBarNetwork(features, self.nodes, self.task, dropout=self.dropout)


@ESTIMATORS.register("mc-dropout")
class McDropoutClassifier(McDropout, ErrorBarClassifier):
    """Monte Carlo dropout for signal against background."""

    estimator_name = "mc-dropout"


@ESTIMATORS.register("mc-dropout-regressor")
class McDropoutRegressor(McDropout, ErrorBarRegressor):
    """Monte Carlo dropout for a target with noise."""

    estimator_name = "mc-dropout-regressor"
