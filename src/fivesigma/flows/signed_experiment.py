"""One experiment of the flow ``signed-weights``: draw events, fit every learner under every policy, judge on the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.engine import Place, Task
from fivesigma.core.errors import WeightError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.dataset.weight_policy import WeightPolicy, apply_weight_policy
from fivesigma.evaluate.efficiency import efficiencies
from fivesigma.evaluate.metrics import area_under_curve
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.flows.signed_toy import SignedEvents, draw_signed, grid, signal_probability

UNSIGNED = "no negative weights"
"""The yardstick beside the policies: as many positive events, drawn from the truth, as the signed ones are worth."""

FloatArray = NDArray[np.float64]
Fit = tuple[str, str]  # learner, policy


class LearnerWords(BaseModel):
    """One learner of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimator: str = Field(description="a name that `fivesigma studies estimators` lists")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the estimator")


@dataclass(frozen=True)
class SignedResult:
    """What one experiment found, by learner and policy."""

    probability: Mapping[Fit, FloatArray]  # of signal, at the points of the grid
    auc: Mapping[Fit, float]  # on signed test events
    optimum: float  # AUC of the true likelihood ratio on the same events
    refused: Mapping[Fit, str]  # what the learner said


@dataclass(frozen=True)
class SignedExperiment(Task[SignedResult]):
    """See the module; the same fields give the same result."""

    number: int
    seed: int
    train_events: int
    test_events: int
    negative_fraction: float
    policies: tuple[WeightPolicy, ...]
    learners: tuple[tuple[str, LearnerWords], ...]

    @property
    def place(self) -> Place:
        """What it is about."""
        return Place(f"signed-weights experiment {self.number + 1}")

    def run(self) -> SignedResult:
        """Draw, fit, judge."""
        import fivesigma.learn  # noqa: F401 fills the registry; here, so that reading a study does not wait for torch

        rng = np.random.default_rng([self.seed, self.number])
        train = draw_signed(self.train_events, self.negative_fraction, rng)
        test = draw_signed(self.test_events, self.negative_fraction, rng)
        worth = round(self.train_events * (1.0 - 2.0 * self.negative_fraction) ** 2)
        unsigned = draw_signed(worth, 0.0, rng)
        probability: dict[Fit, FloatArray] = {}
        auc: dict[Fit, float] = {}
        refused: dict[Fit, str] = {}
        points = grid()[0]
        for name, words in self.learners:
            for policy in (*self.policies, UNSIGNED):
                try:
                    model = self._fitted(words, policy, unsigned if policy == UNSIGNED else train)
                except WeightError as error:
                    refused[name, policy] = str(error)
                    continue
                probability[name, policy] = model.predict_proba(points)[:, 1]
                auc[name, policy] = signed_auc(model.predict_proba(test.X)[:, 1], test)
        return SignedResult(probability, auc, signed_auc(signal_probability(test.X), test), refused)

    def _fitted(self, words: LearnerWords, policy: str, train: SignedEvents) -> Any:
        weight = of_equal_classes(train)
        keep: Any = slice(None)
        if policy != UNSIGNED:
            applied = apply_weight_policy(policy, train.y, weight, train.X)  # type: ignore[arg-type]
            weight, keep = applied.weight, applied.keep
        factory = ESTIMATORS[words.estimator]
        options = dict(words.options)
        if "seed" in factory().get_params():
            options.setdefault("seed", self.seed * 1000 + self.number)
        return factory(**options).fit(train.X[keep], train.y[keep], weight[keep])


def of_equal_classes(events: SignedEvents) -> FloatArray:
    """Weights whose sum is the same in both classes, so that the true probability is that of equal classes."""
    sums = np.bincount(events.y, events.weight)
    weight: FloatArray = events.weight * (sums.mean() / sums)[events.y]
    return weight


def signed_auc(score: FloatArray, events: SignedEvents) -> float:
    """AUC with the events' signed weights."""
    return area_under_curve(efficiencies(scored_events(score, events.y, events.weight)))
