"""A step of learning to pivot against the steps of its two networks on their own.

``python -m benchmarks.adversarial`` from the root of the repository. One thread, the same batches, processor time; the
contestants take turns, and the ratio is the median over repeats. The peer is the sum of a step of the classifier down its
cross-entropy and a step of the adversary down its likelihood on scores that it is handed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.record import Record, record
from fivesigma.learn.duel import Duel
from fivesigma.learn.training_events import Events
from fivesigma.models import NETWORKS
from fivesigma.models.adversary import Adversary

N_EVENTS, N_FEATURES, BATCH = 20_000, 28, 128
STEPS, REPEATS = 100, 15
GOAL = 1 / 1.3
NETWORKS_MEASURED = (("28–3×64–1", (64, 64, 64)), ("28–5×300–1", (300,) * 5))


class Options:
    """Of the duel."""

    batch_size = BATCH
    learning_rate = adversary_learning_rate = 1e-3
    seed = 1


def main() -> list[Record]:
    """Measure and record all."""
    torch.set_num_threads(1)
    return [against_own_steps(name, nodes) for name, nodes in NETWORKS_MEASURED]


def against_own_steps(name: str, nodes: tuple[int, ...]) -> Record:
    """One step of both against each other, and one step of each alone."""
    torch.manual_seed(1)
    events = Events(torch.randn(N_EVENTS, N_FEATURES), torch.randint(0, 2, (N_EVENTS,)).float(), torch.ones(N_EVENTS))
    nuisance, device = torch.randn(N_EVENTS, 1), torch.device("cpu")
    network = NETWORKS["dense"]((N_FEATURES,), nodes=nodes, dropout=0.0, batch_norm=False)
    duel = Duel(network, Adversary([0]), events, nuisance, np.ones(N_EVENTS, np.bool_), device, Options)
    contestants: dict[str, Callable[[], None]] = {"duel": lambda: duel.step(10.0), "alone": lambda: alone(duel)}
    seconds: dict[str, list[float]] = {key: [] for key in contestants}
    for _ in range(REPEATS):
        for key, step in contestants.items():
            start = time.process_time()
            for _ in range(STEPS):
                step()
            seconds[key].append((time.process_time() - start) / STEPS)
    return record(
        f"adversarial training step, classifier {name}, mixture of five Gaussians, batches of {BATCH}",
        ours=1e3 * statistics.median(seconds["duel"]),
        peer=1e3 * statistics.median(seconds["alone"]),
        peer_name="the steps of its two networks alone",
        peer_version="",
        unit="ms",
        goal=round(GOAL, 3),
        ratio=statistics.median(b / a for a, b in zip(seconds["duel"], seconds["alone"], strict=True)),
    )


def alone(duel: Duel) -> None:
    """The same batch, the same optimisers; nothing is played against anything."""
    index = torch.randint(N_EVENTS, (BATCH,), generator=duel.draws)
    X, y, weight = (tensor[index] for tensor in duel.events)
    nuisance, shown = duel.nuisance[index], duel.shown[index]
    loss = nn.functional.binary_cross_entropy_with_logits(duel.network(X)[:, 0], y, weight)
    duel.f_optimiser.zero_grad(set_to_none=True)
    loss.backward()
    duel.f_optimiser.step()
    loss.item()
    own = (shown * duel.adversary(y, nuisance)).mean()  # some score: its value does not matter
    duel.r_optimiser.zero_grad(set_to_none=True)
    own.backward()
    duel.r_optimiser.step()


if __name__ == "__main__":
    main()
