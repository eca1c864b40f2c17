"""Learning to pivot: a classifier whose scores do not tell the nuisances (arXiv:1611.01046)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.progress import progress, say
from fivesigma.learn.adversarial import AdversarialClassifier, state_of
from fivesigma.learn.duel import Duel
from fivesigma.learn.network_training import limited_threads, resolve_device
from fivesigma.learn.nuisances import Nuisances
from fivesigma.learn.pick_penalty import PenaltyScore, score_penalty
from fivesigma.learn.training_events import events_of
from fivesigma.models.adversary import Adversary
from fivesigma.models.training_inputs import training_inputs

AdversaryOn = Literal["all", "background", "signal"]
RECORDS = 50  # lines of history; after each, the training is looked at and its weights are remembered


@ESTIMATORS.register("pivot")
class PivotClassifier(AdversarialClassifier):
    """A network f against an adversary r that infers the nuisances from its score: E = L_f − λ L_r.

    L_f is the weighted cross-entropy of the classes, L_r the mean of −log p_r(z | f(x)): a mixture of Gaussians for a
    continuous nuisance, a categorical distribution for a discrete one (whole numbers, at most ten different), and for
    several the chain rule p(z₁ | f) p(z₂ | f, z₁) …. As in algorithm 1 of the paper, f is trained plainly, then r on
    its scores, then in each of ``iterations`` r makes ``adversary_steps`` steps down L_r and f one down E. There is no
    early stopping: the last weights are kept, as in the paper. Differences: both use Adam; the last of r's steps and
    that of f are made together, on one batch; during the duel dropout is off and batch normalisation frozen, so that r
    sees the f that will be used.

    Parameters
    ----------
    penalty
        λ, how much independence is worth; 0: the plain network. A list is scanned, each from the same plain network,
        and the λ with the largest AMS on the validation events is kept (see ``signal``).
    on
        the events whose scores r sees: "all", or of one class only, for independence given the class; the paper's
        physics example takes "background", whose score enters the null hypothesis.
    network, network_options
        any of our network classifiers, "dense", "cnn", …, and its options, for the plain training too.
    components, adversary_nodes
        Gaussians for a continuous nuisance, and the adversary's hidden nodes, layer by layer.
    iterations, adversary_steps, adversary_pretraining, batch_size
        the paper's T, K and M; ``adversary_pretraining`` steps of r come before the first iteration.
    learning_rate, adversary_learning_rate
        of f against r, and of r.
    signal, background, background_uncertainty
        with a list of penalties: yields before the cut and a relative uncertainty, to which that from the nuisance is
        added in quadrature: the spread of the background's efficiency between values (or quintiles) of each nuisance.
    warm_start
        folder of a trained network (of the class ``network``, or a pivot with one) to begin with, in place of the plain
        training.
    seed, threads, device
        as for networks. The network options have their own ``device`` for the plain training.
    checkpoint
        folder for the plain training's checkpoints; a killed duel begins anew from there.

    A λ that diverges (a loss that is not finite, scores that become constant, a classifier worse than guessing, an
    adversary that loses touch) is named in ``training_["statement"]``, and the weights before that are kept.
    """

    estimator_name = "pivot"
    takes_nuisance = True

    def __init__(
        self,
        *,
        penalty: float | Sequence[float] = 1.0,
        on: AdversaryOn = "all",
        network: str = "dense",
        network_options: Mapping[str, Any] | None = None,
        components: int = 5,
        adversary_nodes: Sequence[int] = (20, 20),
        iterations: int = 200,
        adversary_steps: int = 100,
        adversary_pretraining: int = 1000,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        adversary_learning_rate: float = 1e-3,
        signal: float = 100.0,
        background: float = 1000.0,
        background_uncertainty: float = 0.0,
        warm_start: Path | str | None = None,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
        checkpoint: Path | str | None = None,
    ) -> None:
        self.penalty = penalty
        self.on = on
        self.network = network
        self.network_options = network_options
        self.components = components
        self.adversary_nodes = adversary_nodes
        self.iterations = iterations
        self.adversary_steps = adversary_steps
        self.adversary_pretraining = adversary_pretraining
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.adversary_learning_rate = adversary_learning_rate
        self.signal = signal
        self.background = background
        self.background_uncertainty = background_uncertainty
        self.warm_start = warm_start
        self.seed = seed
        self.threads = threads
        self.device = device
        self.checkpoint = checkpoint

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        nuisance: Any | None = None,
        validation: Labelled | None = None,
    ) -> Self:
        """Train on X of shape (event, feature) or (event, row, column), nuisance of shape (event, nuisance).

        Raises
        ------
        ConfigError
            if an option cannot be meant, there are no nuisances, or nothing to choose among penalties by.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``; a nuisance that is not known for some events, naming how many.
        ModelError
            if the plain training's loss is not finite.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, images=True, dtype=np.float32)
        if nuisance is None:
            raise ConfigError(
                "pivot needs `nuisance`, of shape (event, nuisance): what is the score to be independent of?"
            )
        self._check_options(validation)
        nuisances = Nuisances.of(np.asarray(nuisance, np.float64), len(y))
        self.categories_ = nuisances.categories
        on = self._seen_by_adversary(y)
        self.classifier_ = self._trained_plainly(X, y, weight, validation)
        plain = state_of(self.network_)[0]
        events = events_of(X, y, weight)
        chosen: tuple[float, PenaltyScore, list[dict[str, Tensor]]] | None = None
        scan = []
        for penalty in self._penalties():
            self.network_.load_state_dict(plain)
            with limited_threads(self.threads), torch.random.fork_rng():
                torch.manual_seed(self.seed)
                self.adversary_ = self._adversary({"categories": nuisances.categories})
                duel = Duel(
                    self.network_, self.adversary_, events, nuisances.tensor, on, resolve_device(self.device), self
                )
                self._train(duel, penalty, nuisances.entropy(weight, on))
            if len(self._penalties()) > 1:
                assert validation is not None
                found = self._score(validation)
                scan.append({"penalty": penalty, **found.to_json(), "statement": self.training_["statement"]})
                if chosen is None or found.significance > chosen[1].significance:
                    chosen = (penalty, found, [*state_of(self.network_, self.adversary_)])
                    kept = self.history_, self.training_
        if chosen is not None:
            self.network_.load_state_dict(chosen[2][0])
            self.adversary_.load_state_dict(chosen[2][1])
            self.history_, self.training_ = kept
            self.training_ |= {"scan": scan}
            self.training_["statement"] += (
                f"; chosen among {len(scan)} by AMS {chosen[1].significance:.2f} on validation"
            )
        return self

    def _train(self, duel: Duel, penalty: float, entropy: float) -> None:
        """Fight; keep the history, and the last good weights if λ diverges."""
        self.history_ = []
        every = max(1, self.iterations // RECORDS)
        good, good_iteration, trouble = state_of(self.network_, self.adversary_), 0, ""
        duel.teach(self.adversary_pretraining)
        iterations = self.iterations if penalty > 0 else 0
        with progress(iterations, f"pivot, λ = {penalty:g}", unit="iterations") as advance:
            for iteration in range(1, iterations + 1):
                duel.teach(self.adversary_steps - 1)
                duel.step(penalty)
                advance(1)
                if iteration % every and iteration != iterations and duel.finite:
                    continue
                record = duel.take_losses()
                self.history_.append({"epoch": iteration, **record})
                if trouble := duel.trouble(record, entropy):
                    break
                good, good_iteration = state_of(self.network_, self.adversary_), iteration
        statement = f"λ = {penalty:g}, {good_iteration} iterations against the adversary"
        if trouble:
            self.network_.load_state_dict(good[0])
            self.adversary_.load_state_dict(good[1])
            kept = f"the weights of {good_iteration} are kept"
            statement = f"λ = {penalty:g} diverged by iteration {iteration} ({trouble}); {kept}"
            say(f"pivot: {statement}")
        self.network_.to("cpu").eval()
        self.adversary_.to("cpu").eval()
        losses = duel.all_losses()
        self.training_ = {"statement": statement, "penalty": penalty, "diverged": bool(trouble), **losses}
        self.training_["entropy_bound"] = entropy

    def _score(self, validation: Labelled) -> PenaltyScore:
        labels = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
        assert validation.nuisance is not None
        return score_penalty(
            self.predict_proba(validation.X)[:, 1],
            labels,
            validation.weight,
            validation.nuisance,
            signal=self.signal,
            background=self.background,
            relative_uncertainty=self.background_uncertainty,
        )

    def _penalties(self) -> tuple[float, ...]:
        return (float(self.penalty),) if isinstance(self.penalty, int | float) else tuple(map(float, self.penalty))

    def _check_options(self, validation: Labelled | None) -> None:
        penalties = self._penalties()
        if not penalties or not all(math.isfinite(p) and p >= 0 for p in penalties):
            raise ConfigError(f"pivot needs penalties λ ≥ 0, got {self.penalty!r}")
        if self.iterations < 1 or self.adversary_steps < 1 or self.adversary_pretraining < 0 or self.batch_size < 2:
            raise ConfigError(
                "pivot needs iterations ≥ 1, adversary_steps ≥ 1, adversary_pretraining ≥ 0 and batch_size ≥ 2"
            )
        if self.learning_rate <= 0 or self.adversary_learning_rate <= 0 or self.components < 1:
            raise ConfigError("pivot needs learning_rate > 0, adversary_learning_rate > 0 and components ≥ 1")
        if self.on not in ("all", "background", "signal"):
            raise ConfigError(f"on: expected 'all', 'background' or 'signal', got {self.on!r}")
        if len(penalties) > 1 and (validation is None or validation.nuisance is None):
            raise ConfigError("choosing among penalties needs validation events with their nuisances: give one penalty")

    def _seen_by_adversary(self, y: NDArray[np.int8]) -> NDArray[np.bool_]:
        if self.on == "all":
            return np.ones(len(y), np.bool_)
        seen: NDArray[np.bool_] = y == (1 if self.on == "signal" else 0)
        return seen

    def _adversary_shape(self) -> dict[str, Any]:
        return {"categories": list(self.categories_)}

    def _adversary(self, shape: Mapping[str, Any]) -> nn.Module:
        self.categories_ = tuple(int(n) for n in shape["categories"])
        return Adversary(self.categories_, self.components, tuple(self.adversary_nodes))
