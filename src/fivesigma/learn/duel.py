"""The steps of a classifier f against an adversary r (arXiv:1611.01046, algorithm 1)."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.learn.loop import logits
from fivesigma.learn.training_events import Events
from fivesigma.models.adversary import ReverseGradient

_SCORED_AT_ONCE = 4096  # events
_LOOKED_AT = 10_000  # events whose scores tell whether f has collapsed
_NO_SPREAD = 1e-4  # standard deviation of scores below which f is constant
_WORSE_THAN_GUESSING = 0.5  # nats by which L_f may exceed the entropy of the labels
_OUT_OF_TOUCH = 2.0  # nats by which L_r may exceed the entropy of the nuisances


class DuelOptions(Protocol):
    """Those of `PivotClassifier` that the steps need."""

    batch_size: int
    learning_rate: float
    adversary_learning_rate: float
    seed: int


class Duel:
    """f and r, their optimisers and the events.

    Parameters
    ----------
    network, adversary
        f, which gives logits (batch, 1), and r, which gives −log p(z | f), (batch,).
    events, nuisance
        in memory: inputs, labels and weights; (event, nuisance).
    on
        (event,): the events that r is shown. L_r is their mean.
    """

    def __init__(
        self,
        network: nn.Module,
        adversary: nn.Module,
        events: Events,
        nuisance: Tensor,
        on: NDArray[np.bool_],
        device: torch.device,
        options: DuelOptions,
    ) -> None:
        self.network, self.adversary = network.to(device).eval(), adversary.to(device).train()
        self.events, self.nuisance, self.device, self.batch_size = events, nuisance, device, options.batch_size
        shown = torch.from_numpy(on.astype(np.float32)) * events.weight
        self.shown = shown / shown.abs().mean()  # (event,): weight in L_r
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        fused = device.type in {"cpu", "cuda"}
        self.f_optimiser = torch.optim.Adam(self.parameters, lr=options.learning_rate, fused=fused)
        self.r_optimiser = torch.optim.Adam(adversary.parameters(), lr=options.adversary_learning_rate, fused=fused)
        self.draws = torch.Generator().manual_seed(options.seed)
        self._losses: list[tuple[Tensor, Tensor]] = []
        self.finite = True

    def teach(self, steps: int) -> None:
        """So many steps of r down L_r, each on a new batch, f fixed: its scores are worked out once for all of them."""
        if steps <= 0:
            return
        n = len(self.events.y)
        index = torch.randint(n, (steps, self.batch_size), generator=self.draws)
        if index.numel() < n:
            score = self._scores(self.events.X[index.flatten()]).view(index.shape)
        else:
            score = self._scores(self.events.X)[index]
        nuisance, shown = self.nuisance[index].to(self.device), self.shown[index].to(self.device)
        for s, z, w in zip(score.to(self.device), nuisance, shown, strict=True):
            self._teach_once(s, z, w)

    def step(self, penalty: float) -> None:
        """One step of f down E = L_f − λ L_r and one of r down L_r, on the same new batch.

        One way back serves both: L_f + L_r, with the gradient that reaches f through r turned around and multiplied by λ.
        """
        index = torch.randint(len(self.events.y), (self.batch_size,), generator=self.draws)
        X, y, weight = (tensor[index].to(self.device) for tensor in self.events)
        logit = self.network(X)[:, 0]
        score: Tensor = ReverseGradient.apply(torch.sigmoid(logit), penalty)
        classifier_loss = nn.functional.binary_cross_entropy_with_logits(logit, y, weight)
        surprise = self.adversary(score, self.nuisance[index].to(self.device))
        adversary_loss = (self.shown[index].to(self.device) * surprise).mean()
        both = classifier_loss + adversary_loss
        self.f_optimiser.zero_grad(set_to_none=True)
        self.r_optimiser.zero_grad(set_to_none=True)
        both.backward()
        self.finite = self.finite and math.isfinite(both.detach().item())
        if self.finite:
            self.f_optimiser.step()
            self.r_optimiser.step()
        self._losses.append((classifier_loss.detach(), adversary_loss.detach()))

    def take_losses(self) -> dict[str, float]:
        """Means of L_f and L_r over the steps since this was last asked."""
        f, r = (float(torch.stack(losses).mean()) for losses in zip(*self._losses, strict=True))
        self._losses.clear()
        return {"train_loss": f, "adversary_loss": r}

    def all_losses(self) -> dict[str, float]:
        """L_f and L_r over all events, as they are now."""
        self.network.to(self.device)
        logit = logits(self.network, self.events.X, self.device)
        f = nn.functional.binary_cross_entropy_with_logits(logit, self.events.y, self.events.weight)
        with torch.inference_mode():
            r = self.adversary.cpu()(torch.sigmoid(logit), self.nuisance)
        return {"classifier_loss": float(f), "adversary_loss": float((self.shown * r).mean())}

    def trouble(self, losses: dict[str, float], entropy: float) -> str:
        """What shows that the training diverges, or nothing."""
        f, r = losses["train_loss"], losses["adversary_loss"]
        if not (self.finite and math.isfinite(f) and math.isfinite(r)):
            return f"the losses are L_f = {f:.3g}, L_r = {r:.3g}"
        share = float((self.events.y * self.events.weight).sum() / self.events.weight.sum())
        guessing = -share * math.log(share) - (1 - share) * math.log(1 - share) if 0 < share < 1 else math.log(2)
        if f > guessing + _WORSE_THAN_GUESSING:
            return f"the classifier is worse than guessing: L_f = {f:.3g}, guessing {guessing:.3g}"
        if r > entropy + _OUT_OF_TOUCH:
            return f"the adversary has lost touch: L_r = {r:.3g}, the nuisances' entropy is at most {entropy:.3g}"
        spread = float(self._scores(self.events.X[: min(len(self.events.y), _LOOKED_AT)]).std())
        if spread < _NO_SPREAD:
            return f"the scores have become constant, their standard deviation is {spread:.2g}"
        return ""

    def _teach_once(self, score: Tensor, nuisance: Tensor, shown: Tensor) -> None:
        loss = (shown * self.adversary(score, nuisance)).mean()
        self.r_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.r_optimiser.step()

    def _scores(self, X: Tensor) -> Tensor:
        """(event,), on the CPU."""
        with torch.no_grad():
            parts = [torch.sigmoid(self.network(x.to(self.device))[:, 0]).cpu() for x in X.split(_SCORED_AT_ONCE)]
        return torch.cat(parts)
