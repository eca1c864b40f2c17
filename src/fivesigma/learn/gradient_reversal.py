"""Gradient reversal: features in which simulation and unlabelled data look alike (arXiv:1409.7495)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.progress import progress, say
from fivesigma.learn.adversarial import AdversarialClassifier, cuts_off_logit
from fivesigma.learn.class_mixture import ClassMixture, estimate_mixture
from fivesigma.learn.network_training import limited_threads, resolve_device
from fivesigma.learn.training_events import Events, events_of
from fivesigma.models.adversary import DomainHead, reversal_strength
from fivesigma.models.training_inputs import InvalidInputsError, training_inputs


@ESTIMATORS.register("gradient-reversal")
class GradientReversalClassifier(AdversarialClassifier):
    """A network whose last features do not tell labelled simulation (source) from unlabelled data (target).

    The network is trained plainly on the source, then goes on with a domain head on its features, before the logit: the
    labels' cross-entropy on the source, plus the domains' cross-entropy on both, whose gradient reaches the features
    turned around and multiplied by λ_p, ramped from 0 as eq. 14 of the paper. Batches are half source, half target; an
    epoch is as long as the larger. Differences from the paper: it begins with a trained network, and uses Adam.

    Aligning domains aligns their class mixtures too: where these differ, it harms. The target's share of signal is
    estimated from the plain network's scores (`fivesigma.learn.class_mixture`), and ``training_["statement"]`` says so.

    Parameters
    ----------
    penalty
        what λ_p is multiplied by; 0: the plain training goes on.
    match_mixture
        weight the source's classes in the domains' loss so that it has the target's estimated mixture.
    network, network_options
        any of our network classifiers, "dense", "cnn", …, and its options, for the plain training.
    domain_nodes
        hidden nodes of the domain head, layer by layer.
    epochs, batch_size, learning_rate
        against the domain head; the learning rate falls to 0 as a cosine.
    warm_start
        folder of a trained network (of the class ``network``, or an adversarial one with it), whose weights it begins
        with in place of the plain training.
    seed, threads, device, checkpoint
        as for `PivotClassifier`.
    """

    estimator_name = "gradient-reversal"
    takes_domain = True

    def __init__(
        self,
        *,
        penalty: float = 1.0,
        match_mixture: bool = False,
        network: str = "dense",
        network_options: Mapping[str, Any] | None = None,
        domain_nodes: Sequence[int] = (64,),
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        warm_start: Path | str | None = None,
        seed: int = 1,
        threads: int | None = 1,
        device: str = "auto",
        checkpoint: Path | str | None = None,
    ) -> None:
        self.penalty = penalty
        self.match_mixture = match_mixture
        self.network = network
        self.network_options = network_options
        self.domain_nodes = domain_nodes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
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
        domain: Any | None = None,
        validation: Labelled | None = None,
    ) -> Self:
        """Train on X of shape (event, feature) or (event, row, column); labels of the target are not looked at.

        Raises
        ------
        ConfigError
            if an option cannot be meant, or there is no ``domain``.
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``; a domain that has no events, or a source without both classes.
        ModelError
            if a loss is not finite.
        """
        if not (math.isfinite(self.penalty) and self.penalty >= 0) or self.epochs < 1 or self.batch_size < 4:
            raise ConfigError("gradient-reversal needs penalty ≥ 0, epochs ≥ 1 and batch_size ≥ 4")
        if domain is None:
            raise ConfigError("gradient-reversal needs `domain`: (event,), 0 for labelled events, 1 for the others")
        if y is not None:
            y = np.array(column_or_1d(y, warn=True))
            target = _target(domain, y.shape)
            y[target] = y[~target][0]  # whatever stood there
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, images=True, dtype=np.float32)
        self.classifier_ = self._trained_plainly(X[~target], y[~target], weight[~target], validation)
        score = self.predict_proba(X)[:, 1]
        mixture = estimate_mixture(score[~target], y[~target], weight[~target], score[target], weight[target])
        source = events_of(X[~target], y[~target], weight[~target])
        data = events_of(X[target], y[target], weight[target])
        with limited_threads(self.threads), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            features, _ = cuts_off_logit(self.network_)
            with torch.inference_mode():
                width = features.eval()(source.X[:2]).shape[1]
            self.adversary_ = self._adversary({"features": width})
            self._train(source, data, self._domain_weight(source, mixture))
        self.training_ = {"statement": mixture.statement(), "penalty": self.penalty, "mixture": mixture.to_json()}
        if mixture.differs:
            say(f"gradient-reversal: {self.training_['statement']}")
        return self

    def _train(self, source: Events, data: Events, domain_weight: Tensor) -> None:
        device = resolve_device(self.device)
        network, head = self.network_.to(device).train(), self.adversary_.to(device).train()
        parameters = [*network.parameters(), *head.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=self.learning_rate, fused=device.type in {"cpu", "cuda"})
        half = self.batch_size // 2
        steps = max(1, max(len(source.y), len(data.y)) // half)
        draws = torch.Generator().manual_seed(self.seed)
        self.history_ = []
        with progress(self.epochs * steps, "gradient reversal", unit="steps") as advance:
            for epoch in range(self.epochs):
                start, sums = time.monotonic(), np.zeros(2)
                batches = zip(_batches(len(source.y), half, draws), _batches(len(data.y), half, draws), strict=False)
                for step, (i, j) in zip(range(steps), batches, strict=False):
                    done = (epoch * steps + step) / (self.epochs * steps)
                    optimiser.param_groups[0]["lr"] = self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
                    losses = self._losses(
                        Events(*(t[i].to(device) for t in source)),
                        Events(*(t[j].to(device) for t in data)),
                        domain_weight[i].to(device),
                        self.penalty * reversal_strength(done),
                    )
                    optimiser.zero_grad(set_to_none=True)
                    losses.sum().backward()
                    sums += losses.detach().cpu().numpy()
                    if not np.isfinite(sums).all():
                        raise ModelError(
                            f"the losses of labels and domains are {losses.tolist()} in epoch {epoch + 1}; try a penalty "
                            f"below {self.penalty:g} or a learning rate below {self.learning_rate:g}"
                        )
                    optimiser.step()
                    advance(1)
                label_loss, domain_loss = (sums / steps).tolist()
                seconds = time.monotonic() - start
                self.history_.append(
                    {"epoch": epoch + 1, "train_loss": label_loss, "domain_loss": domain_loss, "seconds": seconds}
                )
        network.to("cpu").eval()
        head.to("cpu").eval()

    def _losses(self, source: Events, data: Events, domain_weight: Tensor, strength: float) -> Tensor:
        """Cross-entropies of the labels and of the domains, (2,)."""
        before_logit, to_logit = cuts_off_logit(self.network_)
        features = before_logit(torch.cat([source.X, data.X]))  # (batch, feature)
        entropy = nn.functional.binary_cross_entropy_with_logits
        labels = entropy(to_logit(features[: len(source.y)])[:, 0], source.y, source.weight)
        is_data = torch.cat([torch.zeros_like(source.y), torch.ones_like(data.y)])
        domains = entropy(self.adversary_(features, strength), is_data, torch.cat([domain_weight, data.weight]))
        return torch.stack([labels, domains])

    def _domain_weight(self, source: Events, mixture: ClassMixture) -> Tensor:
        """Weights of the source in the domains' loss, (event,), of mean |weight| 1."""
        weight = source.weight
        if self.match_mixture:
            at_least = mixture.uncertainty  # a share of 0 would leave a class out
            wanted = min(max(mixture.target, at_least), 1 - at_least)
            signal, background = wanted / mixture.source, (1 - wanted) / (1 - mixture.source)
            weight = weight * torch.where(source.y == 1, signal, background)
        return weight / weight.abs().mean()

    def _adversary_shape(self) -> dict[str, Any]:
        return {"features": self.features_}

    def _adversary(self, shape: Mapping[str, Any]) -> nn.Module:
        self.features_ = int(shape["features"])
        return DomainHead(self.features_, tuple(self.domain_nodes))


def _target(domain: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The events of the target."""
    values = np.asarray(domain)
    if values.shape != shape or values.ndim != 1:
        raise InvalidInputsError(f"expected one domain per event {shape}, got {values.shape}")
    for value, name in ((0, "source, labelled"), (1, "target")):
        if not (values == value).any():
            raise InvalidInputsError(f"domain {value} ({name}) has no events: nothing to adapt between")
    if not np.isin(values, (0, 1)).all():
        raise InvalidInputsError(f"expected domains 0 and 1, got {np.unique(values)[:5].tolist()}")
    target: NDArray[np.bool_] = values == 1
    return target


def _batches(events: int, size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Without end: all events in a random order, then again in another; a batch never runs over the end."""
    size = min(size, events)
    while True:
        yield from torch.randperm(events, generator=draws).split(size)[: events // size]
