"""From ROOT to padded batches: ours against uproot with awkward's padding, and against weaver-core's loader.

``python -m benchmarks.reading`` from the root of the repository. The same 150,000 events with about 50 constituents of
four features (float32), written uncompressed and with LZ4, ZSTD and ZLIB, become batches of 1,024 × (64, 4) float32.
LZ4 finds nothing in values of full precision, so that ROOT files have them as they are; a second LZ4 sample is rounded
to 10 bits of mantissa, as compact formats store them.

Against uproot (``iterate``, ``ak.pad_none``): `padded_batches`, including the scan of the file with its digest and all
other checks. Against weaver-core (a data card with the same inputs, ``SimpleIterDataset`` in a DataLoader, an
environment of its own): `BatchLoader` over `RootSource`, with labels, weights, folds and a check that values are finite;
it is opened before, which is a record of its own. One thread each, processor time, medians of interleaved repeats.
"""

from __future__ import annotations

import os

from benchmarks.peers import ONE_THREAD, WEAVER, peer_python, running

os.environ.update(ONE_THREAD)  # before NumPy and torch are loaded

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from benchmarks.networks import interleaved
from benchmarks.record import Record, record
from fivesigma.dataset import BatchLoader, Collection, Conversion, RootSource, Sample, padded_batches
from fivesigma.read import open_events

N_EVENTS = 150_000
MEAN_CONSTITUENTS, SPREAD = 50, 14
LENGTH, BATCH, STEP = 64, 1024, 20_000
FEATURES = ("pt", "eta", "phi", "energy")
BASKET = 10_000  # events written at a time
BITS = 23  # of a float32's mantissa
CODECS: dict[str, tuple[Any, int, float]] = {
    "uncompressed": (None, BITS, 10.0),
    "LZ4": (uproot.LZ4(4), BITS, 10.0),
    "LZ4 (10-bit values)": (uproot.LZ4(4), 10, 10.0),
    "ZSTD": (uproot.ZSTD(5), BITS, 5.0),
    "ZLIB": (uproot.ZLIB(1), BITS, 2.0),
}
WEAVER_GOAL = 12.0
CARD = f"""
treename: jets
inputs:
  points:
    length: {LENGTH}
    vars: [pt, eta, phi, energy]
labels:
  type: simple
  value: [signal, background]
"""
WEAVER_PROGRAM = f"""
import importlib.metadata, json, sys, time, logging
logging.disable(logging.CRITICAL)
import torch
torch.set_num_threads(1)
from torch.utils.data import DataLoader
from weaver.utils.dataset import SimpleIterDataset
out, sys.stdout = sys.stdout, sys.stderr
print(json.dumps(importlib.metadata.version("weaver-core")), file=out, flush=True)
data = SimpleIterDataset({{"_": [sys.argv[1]]}}, sys.argv[2], for_training=True, fetch_by_files=False,
                         fetch_step={STEP / N_EVENTS})
for line in sys.stdin:
    start, events = time.process_time(), 0
    for X, y, *_ in DataLoader(data, batch_size={BATCH}):
        assert X["points"].shape[1:] == (4, {LENGTH})
        events += len(X["points"])
    print(json.dumps((time.process_time() - start) / events), file=out, flush=True)
"""


def main() -> list[Record]:
    """Measure and record every codec."""
    python = peer_python("weaver-core", WEAVER)
    made = []
    with tempfile.TemporaryDirectory() as name:
        card = Path(name) / "card.yaml"
        card.write_text(CARD, encoding="utf-8")
        for codec, (compression, bits, goal) in CODECS.items():
            path = sample(Path(name) / "jets.root", compression, bits)
            check(path)
            job = f"ROOT {codec} to padded ({LENGTH}, {len(FEATURES)})"
            pairs = interleaved(lambda p=path: seconds_an_event(ours(p)), lambda p=path: seconds_an_event(of_uproot(p)))  # type: ignore[misc]
            made.append(rates(job, "uproot + ak.pad_none", uproot.__version__, goal, pairs))
            loader = labelled(path)
            with running(python, WEAVER_PROGRAM, str(path), str(card)) as weaver:
                pairs = interleaved(lambda x=loader: seconds_an_event(iter(x)), weaver)  # type: ignore[misc]
                made.append(rates(f"{job}, with labels", "weaver-core", weaver.version, WEAVER_GOAL, pairs))
    return made


def ours(path: Path) -> Iterator[NDArray[np.float32]]:
    """All events in the order of the file, from opening on."""
    for batch in padded_batches(open_events(path, "jets"), FEATURES, LENGTH, BATCH):
        yield batch.values


def labelled(path: Path) -> BatchLoader:
    """All events in the order of the file, padded, with labels, weights and folds."""
    conversion = Conversion(
        samples=(Sample(name="jets", files=(str(path),)),),
        columns=FEATURES,
        label="signal",
        weight="weight",
        identity=("event",),
    )
    collections = {"constituents": Collection(FEATURES, LENGTH)}
    return BatchLoader(
        RootSource(conversion, STEP), collections=collections, batch_size=BATCH, shuffle=False, prefetch=0
    )


def of_uproot(path: Path) -> Iterator[NDArray[np.float32]]:
    """The same batches as uproot and awkward make them."""
    for part in uproot.iterate({path: "jets"}, list(FEATURES), step_size=STEP):
        padded = [ak.fill_none(ak.pad_none(part[name], LENGTH, clip=True), 0.0) for name in FEATURES]
        X = np.stack([ak.to_numpy(column) for column in padded], axis=-1).astype(np.float32)
        for begin in range(0, len(X), BATCH):
            yield X[begin : begin + BATCH]


def check(path: Path) -> None:
    """All give the same numbers."""
    expected = np.concatenate(list(of_uproot(path)))
    np.testing.assert_array_equal(np.concatenate(list(ours(path))), expected)
    found = np.concatenate([batch.collections["constituents"].values for batch in labelled(path)])
    np.testing.assert_array_equal(found, expected)


def rates(job: str, peer_name: str, version: str, goal: float | None, pairs: tuple[float, float, float]) -> Record:
    """Seconds an event of both, and their ratio, as a record of rates."""
    seconds, peer_seconds, ratio = pairs
    return record(
        job,
        ours=1 / seconds,
        peer=1 / peer_seconds,
        ratio=ratio,
        peer_name=peer_name,
        peer_version=version,
        unit="events/s",
        goal=goal,
        more_is_better=True,
    )


def seconds_an_event(batches: Iterator[Any]) -> float:
    """Processor time of this process, divided by the events given."""
    start, events = time.process_time(), 0
    for batch in batches:
        events += len(batch)
    return (time.process_time() - start) / events


def sample(path: Path, compression: Any, bits: int = BITS) -> Path:
    """Events of normally distributed values, rounded to so many bits of mantissa, in baskets of 10,000 events."""
    rng = np.random.default_rng(3)
    with uproot.recreate(path, compression=compression) as file:
        tree = None
        for first in range(0, N_EVENTS, BASKET):
            counts = np.clip(rng.normal(MEAN_CONSTITUENTS, SPREAD, BASKET).astype(np.int64), 1, None)
            values = {name: rounded(rng.normal(0, 1, int(counts.sum())), bits) for name in FEATURES}
            signal = rng.integers(0, 2, BASKET)
            columns: dict[str, Any] = {name: ak.unflatten(column, counts) for name, column in values.items()}
            columns |= {"event": np.arange(first, first + BASKET), "signal": signal, "background": 1 - signal}
            columns["weight"] = rng.normal(1.0, 0.5, BASKET)
            if tree is None:
                types = {n: "var * float32" if n in FEATURES else c.dtype for n, c in columns.items()}
                tree = file.mktree("jets", types)
            tree.extend(columns)
    return path


def rounded(values: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """As float32 with so many bits of mantissa."""
    mantissa, exponent = np.frexp(values)
    scale = 2.0 ** (bits + 1)
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


if __name__ == "__main__":
    main()
