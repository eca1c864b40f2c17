"""Shuffled batches for training: our loader over converted shards, against torch's DataLoader, h5py and weaver-core.

``python -m benchmarks.loader`` from the root of the repository. All give batches of 1,024 events of (64, 4) float32 with
labels and weights, in random order: ours from shards on disk, padding as it goes and reporting a mask, checked against
the dataset first; the DataLoader from a ``TensorDataset`` of events padded beforehand, in memory; h5py from a file of
events padded beforehand, by sorted indices of a batch; weaver-core (an environment of its own) from the uncompressed ROOT
file that ours were converted from, shuffled as for its trainings. One thread each, timed by its processor time (others
may be busy on the machine); ratios are medians over interleaved repeats. Everything is in the page cache.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")  # before NumPy and torch are loaded

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import torch
import uproot
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.networks import interleaved
from benchmarks.peers import WEAVER, peer_python, running
from benchmarks.reading import CARD, WEAVER_PROGRAM
from benchmarks.record import Record, against_rate, record
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import BatchLoader, Collection, Conversion, Dataset, Sample, convert
from fivesigma.dataset.padding import Padded

N_EVENTS = 200_000
MEAN_CONSTITUENTS, SPREAD = 45, 14
LENGTH = 64
FEATURES = ("pt", "eta", "phi", "energy")
BATCH = 1024
PEER_BATCHES = 60  # they need ten times as long
DATALOADER_GOAL, H5PY_GOAL, WEAVER_GOAL = 8.0, 10.0, 12.0
ASKED_RATE = 1_000_000.0  # events/s


def main() -> list[Record]:
    """Measure and record all three, and our rate."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        dataset = jets(Path(name))
        loader = BatchLoader(
            dataset, collections={"constituents": Collection(FEATURES, LENGTH)}, batch_size=BATCH, prefetch=0
        )
        X = in_memory(dataset)
        y, weight = np.array(dataset.y), np.array(dataset.weight)
        of_torch = DataLoader(
            TensorDataset(*map(torch.from_numpy, (X, y, weight))), batch_size=BATCH, shuffle=True, drop_last=False
        )
        file = Path(name) / "padded.h5"
        with h5py.File(file, "w") as output:
            for key, array in (("X", X), ("y", y), ("weight", weight)):
                output[key] = array
        with h5py.File(file) as opened:
            of_memory = first_batches(lambda: iter(of_torch))
            first = against(loader, of_memory, "torch DataLoader(TensorDataset)", torch.__version__, DATALOADER_GOAL)
            second = against(loader, first_batches(lambda: of_h5py(opened)), "h5py", h5py.__version__, H5PY_GOAL)
        card = Path(name) / "card.yaml"
        card.write_text(CARD, encoding="utf-8")
        python = peer_python("weaver-core", WEAVER)
        with running(python, WEAVER_PROGRAM, str(Path(name) / "jets.root"), str(card)) as weaver:
            third = against(loader, weaver, "weaver-core", weaver.version, WEAVER_GOAL)
        ours = max(first.ours, second.ours, third.ours)
        return [first, second, third, against_rate("shuffled batches from shards", ours, ASKED_RATE)]


def first_batches(peer: Callable[[], Iterator[Any]]) -> Callable[[], float]:
    """Seconds an event of a peer's first batches."""
    return lambda: seconds_an_event(islice(peer(), PEER_BATCHES))


def against(loader: BatchLoader, peer: Callable[[], float], peer_name: str, peer_version: str, goal: float) -> Record:
    """An epoch of ours, and what the peer says that an event takes."""
    seconds, peer_seconds, ratio = interleaved(lambda: seconds_an_event(iter(loader)), peer)
    return record(
        f"shuffled batches of {BATCH} × ({LENGTH}, {len(FEATURES)}), against {peer_name}",
        ours=1 / seconds,
        peer=1 / peer_seconds,
        ratio=ratio,
        peer_name=peer_name,
        peer_version=peer_version,
        unit="events/s",
        goal=goal,
        more_is_better=True,
    )


def seconds_an_event(batches: Iterator[Any]) -> float:
    """Processor time of this process, divided by the events given."""
    start, events = time.process_time(), 0
    for batch in batches:
        events += len(batch) if not isinstance(batch, list) else len(batch[0])
    return (time.process_time() - start) / events


def of_h5py(file: h5py.File) -> Iterator[list[NDArray[Any]]]:
    """Batches in random order; h5py takes indices in rising order only."""
    order = np.random.default_rng().permutation(len(file["y"]))
    for begin in range(0, len(order), BATCH):
        index = np.sort(order[begin : begin + BATCH])
        yield [file[key][index] for key in ("X", "y", "weight")]


def in_memory(dataset: Dataset) -> NDArray[np.float32]:
    """All events padded, in the order of rows, after a check of one batch event by event."""
    asked = {"constituents": Collection(FEATURES, LENGTH)}
    found = [batch.collections["constituents"] for batch in BatchLoader(dataset, collections=asked, shuffle=False)]
    X = np.concatenate([part.values for part in found if isinstance(part, Padded)])
    for batch in islice(BatchLoader(dataset, collections=asked), 1):
        np.testing.assert_array_equal(batch.collections["constituents"].values, X[batch.row])
        for i, name in enumerate(FEATURES):
            column = dataset.column(name)
            assert isinstance(column, Jagged)
            event = column[batch.row[:1]].values[:LENGTH]
            np.testing.assert_array_equal(X[batch.row[0], : len(event), i], event)
    return X


def jets(folder: Path) -> Dataset:
    """Converted jets with about 45 constituents each, from an uncompressed ROOT file."""
    rng = np.random.default_rng(1)
    counts = np.clip(rng.normal(MEAN_CONSTITUENTS, SPREAD, N_EVENTS).astype(np.int64), 1, None)
    constituents = {name: ak.unflatten(rng.random(int(counts.sum()), dtype=np.float32), counts) for name in FEATURES}
    label = rng.integers(0, 2, N_EVENTS).astype(np.int8)
    flat: dict[str, NDArray[Any]] = {
        "event": np.arange(N_EVENTS),
        "label": label,
        "signal": label,  # both for weaver-core
        "background": 1 - label,
        "weight": rng.normal(1.0, 0.5, N_EVENTS),
    }
    types: dict[str, Any] = {name: array.dtype for name, array in flat.items()}
    types |= dict.fromkeys(constituents, "var * float32")
    with uproot.recreate(folder / "jets.root", compression=None) as file:
        file.mktree("jets", types).extend({**flat, **constituents})
    conversion = Conversion(
        samples=(Sample(name="jets", files=(str(folder / "jets.root"),)),),
        columns=FEATURES,
        label="label",
        weight="weight",
        identity=("event",),
    )
    return convert(conversion, folder / "dataset")


if __name__ == "__main__":
    main()
