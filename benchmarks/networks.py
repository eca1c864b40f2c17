"""Training of networks: our loop against a DataLoader loop and skorch, our locally connected layer against the recipe.

``python -m benchmarks.networks`` from the root of the repository. skorch gets an environment of its own, made on the first
run in ``$XDG_CACHE_HOME/fivesigma-benchmarks`` (network needed once), that sees our torch. Contestants take turns, one
thread each, timed by the processor time of their process (others may be busy on the machine); ratios are medians over
interleaved repeats.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.record import Record, record
from fivesigma.learn.loop import TrainingOptions, train
from fivesigma.learn.precision import has_bfloat16_units
from fivesigma.learn.training_events import Events
from fivesigma.models import NETWORKS
from fivesigma.models.locally_connected_layer import LocallyConnected2d

CPU = torch.device("cpu")
PEER = ("skorch==1.4.0", "tabulate", "tqdm")
N_EVENTS = 20_480
N_FEATURES = 28
BATCH = 256
REPEATS = 7
DATALOADER_GOAL, LOCAL_GOAL = 1.15, 2.0
SKORCH_GOALS = ((1024, 3.0), (256, None))  # in small batches, calls cost more than products, and both pay for calls

PEER_PROGRAM = """
import json, sys, time
import skorch, torch
from torch import nn
torch.set_num_threads(1)
events, features, batch = (int(a) for a in sys.argv[1:])
torch.manual_seed(1)
X, y = torch.randn(events, features), torch.randint(0, 2, (events,)).float()
layers = []
for inputs in (features, 300, 300, 300, 300):
    layers += [nn.Linear(inputs, 300), nn.ReLU()]
network = nn.Sequential(*layers, nn.Linear(300, 1), nn.Flatten(0))
net = skorch.NeuralNetBinaryClassifier(network, optimizer=torch.optim.Adam, lr=1e-3, batch_size=batch, max_epochs=1,
    train_split=None, iterator_train__shuffle=True, verbose=0)
net.initialize()
print(json.dumps(skorch.__version__), flush=True)
for line in sys.stdin:
    start = time.process_time()
    net.partial_fit(X, y)
    print(json.dumps(time.process_time() - start), flush=True)
"""


def main() -> list[Record]:
    """Measure and record all."""
    torch.set_num_threads(1)
    return [
        against_dataloader(),
        *(against_skorch(batch, goal) for batch, goal in SKORCH_GOALS if has_bfloat16_units(CPU)),
        against_recipe("first layer, 25×25, 1 → 16 filters of 5×5", (25, 25), 1, 16, 5, 128),
        against_recipe("32×32, 16 → 16 filters of 3×3", (32, 32), 16, 16, 3, 64),
    ]


def deep_network() -> nn.Sequential:
    """28 – 5 × 300 – 1, ReLU."""
    return NETWORKS["dense"]((N_FEATURES,), nodes=(300,) * 5, dropout=0.0, batch_norm=False)


def against_dataloader() -> Record:
    """One epoch in float32: our loop, and the loop of torch's tutorials over the same events."""
    torch.manual_seed(1)
    events = Events(torch.randn(N_EVENTS, N_FEATURES), torch.randint(0, 2, (N_EVENTS,)).float(), torch.ones(N_EVENTS))
    network = deep_network()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(*events), batch_size=BATCH, shuffle=True)

    def tutorial() -> None:
        total = 0.0
        for X, y, weight in loader:
            optimiser.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(network(X)[:, 0], y, weight)
            loss.backward()
            optimiser.step()
            total += loss.item()

    ours, peer, ratio = interleaved(our_epoch(events, bfloat16=False), timed(tutorial))
    return record(
        f"training of a 28 – 5 × 300 – 1 network, float32, batches of {BATCH}",
        ours=N_EVENTS / ours,
        peer=N_EVENTS / peer,
        ratio=ratio,
        peer_name="torch DataLoader(TensorDataset) loop",
        peer_version=torch.__version__,
        unit="events/s",
        goal=DATALOADER_GOAL,
        more_is_better=True,
    )


def against_skorch(batch: int, goal: float | None) -> Record:
    """One epoch: our loop in bfloat16, skorch as it comes."""
    torch.manual_seed(1)
    events = Events(torch.randn(N_EVENTS, N_FEATURES), torch.randint(0, 2, (N_EVENTS,)).float(), torch.ones(N_EVENTS))
    command = [str(peer_python()), "-c", PEER_PROGRAM, str(N_EVENTS), str(N_FEATURES), str(batch)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        version = json.loads(process.stdout.readline())
        ours, peer, ratio = interleaved(
            our_epoch(events, bfloat16=True, batch=batch), asked(process.stdin, process.stdout)
        )
        process.stdin.close()
    return record(
        f"training of a 28 – 5 × 300 – 1 network, ours in bfloat16, batches of {batch}",
        ours=N_EVENTS / ours,
        peer=N_EVENTS / peer,
        ratio=ratio,
        peer_name="skorch",
        peer_version=version,
        unit="events/s",
        goal=goal,
        more_is_better=True,
    )


def against_recipe(name: str, shape: tuple[int, int], channels: int, filters: int, size: int, batch: int) -> Record:
    """Forward and backward of one layer in float32; the first layer needs no gradient of the image, in both."""
    torch.manual_seed(1)
    x = torch.randn(batch, channels, *shape, requires_grad=channels > 1)
    layer = LocallyConnected2d(shape, channels, filters, size)
    locations = layer.rows * layer.columns
    weight = torch.randn(locations, channels * size * size, filters, requires_grad=True)
    bias = torch.zeros(filters, locations, requires_grad=True)

    def recipe() -> Tensor:
        patches = functional.unfold(x, size)  # (batch, channel · size · size, location)
        return (torch.einsum("bkl,lkf->bfl", patches, weight) + bias).view_as(gradient)

    gradient = torch.randn(batch, filters, layer.rows, layer.columns)

    def step(forward: Callable[[], Tensor], leaves: list[Tensor]) -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(gradient)

    ours, peer, ratio = interleaved(
        timed(lambda: step(lambda: layer(x), [x, *layer.parameters()])), timed(lambda: step(recipe, [x, weight, bias]))
    )
    return record(
        f"locally connected layer, training, {name}",
        ours=batch / ours,
        peer=batch / peer,
        ratio=ratio,
        peer_name="torch unfold + einsum",
        peer_version=torch.__version__,
        unit="images/s",
        goal=LOCAL_GOAL,
        more_is_better=True,
    )


def our_epoch(events: Events, *, bfloat16: bool, batch: int = BATCH) -> Callable[[], float]:
    """Seconds of one epoch of our loop."""
    network = deep_network()
    options = TrainingOptions(
        epochs=1, batch_size=batch, learning_rate=1e-3, weight_decay=0.0, schedule="constant", bfloat16=bfloat16
    )
    return timed(lambda: train(network, events, None, options, CPU))


def interleaved(ours: Callable[[], float], peer: Callable[[], float]) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios of neighbours, after one warm-up each."""
    ours()
    peer()
    pairs = [(ours(), peer()) for _ in range(REPEATS)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second), statistics.median(b / a for a, b in pairs)


def timed(job: Callable[[], Any]) -> Callable[[], float]:
    """The job, returning the processor time it took, in seconds."""

    def run() -> float:
        start = time.process_time()
        job()
        return time.process_time() - start

    return run


def asked(stdin: IO[str], stdout: IO[str]) -> Callable[[], float]:
    """The peer's program, asked for one more repeat by a line."""

    def run() -> float:
        stdin.write("again\n")
        stdin.flush()
        return float(json.loads(stdout.readline()))

    return run


def one_thread() -> dict[str, str]:
    """The environment for the peer."""
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def peer_python() -> Path:
    """Python of an environment with skorch that sees the packages of ours, made if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fivesigma-benchmarks"
    folder = cache / f"skorch-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        (folder / site / "ours.pth").write_text(str(Path(torch.__file__).parents[1]) + "\n", encoding="utf-8")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PEER], check=True)
        (folder / "complete").touch()
    return python


if __name__ == "__main__":
    main()
