"""Conversion of ROOT files to training shards: its rate, what integrity costs of it, and whether it scales.

``python -m benchmarks.conversion`` from the root of the repository converts 400,000 events with about 50 constituents of
three features (LZ4), against uproot and ``ak.to_parquet`` of the same branches, and takes the share of processor time
that is spent on verification alone: there is no way to convert without it.
``python -m benchmarks.conversion --events 10_000_000`` instead converts that many events from 100 files of mixed sizes
and codecs, and a tenth of them before, and compares time per event and peak memory. One thread, processor time.
``--workers 2`` instead converts eight million events with so many worker processes and with one, by the clock: to be run
where nothing else runs.
"""

from __future__ import annotations

import os

from benchmarks.peers import ONE_THREAD

os.environ.update(ONE_THREAD)  # before NumPy is loaded

import argparse
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import awkward as ak
import numpy as np
import uproot
import xxhash
from numpy.typing import NDArray

from benchmarks.networks import interleaved, timed
from benchmarks.record import Record, against_rate, record
from fivesigma.core.processes import Processes
from fivesigma.dataset import Conversion, Sample, convert, shards
from fivesigma.read import raw_branch, remote, root

convert_module = importlib.import_module("fivesigma.dataset.convert")  # hidden behind the function of that name

N_EVENTS = 400_000
MEAN_CONSTITUENTS, SPREAD = 50, 14
FEATURES = ("pt", "eta", "phi")
BASKET = 10_000  # events written at a time
ASKED_RATE = 400_000.0  # events/s
MAX_COST = 0.15  # of the time without integrity
FILES = 100
SCALED, SCALED_FILES = 8_000_000, 32  # events and files for several workers, which take seconds to start
CODECS = (None, uproot.LZ4(4), uproot.ZSTD(5), uproot.ZLIB(1), uproot.LZMA(1))
MAX_SLOWER = 1.15  # processor time an event of all files, over that of a tenth of them

VERIFYING: tuple[tuple[Any, str], ...] = (
    (remote, "file_digest"),  # of the input
    (shards, "file_digest"),  # of the shards when the dataset is opened
    (shards, "_digest"),  # of the shards as they are written
    (root, "check_directories"),
    (root, "baskets_of"),
    (root, "check_unchanged"),
    (raw_branch.RawBranch, "_compare_offsets"),
    (xxhash, "xxh64_intdigest"),  # of LZ4 blocks
    (convert_module, "refuse_repeated_rows"),
    (convert_module, "refuse_repeated_content"),
)
"""Functions of a conversion that only verify."""


def main() -> list[Record]:
    """Measure and record rate and cost."""
    with tempfile.TemporaryDirectory() as name:
        path = sample(Path(name) / "jets.root", N_EVENTS, 0, CODECS[1])
        outputs = iter(range(1_000))
        seconds, peer_seconds, ratio = interleaved(
            timed(lambda: convert(conversion([path]), Path(name) / f"{next(outputs)}")),
            timed(lambda: to_parquet(path, Path(name) / "jets.parquet")),
        )
        job = "conversion of LZ4 ROOT to shards"
        against_parquet = record(
            job,
            ours=N_EVENTS / seconds,
            peer=N_EVENTS / peer_seconds,
            ratio=ratio,
            peer_name="uproot + ak.to_parquet",
            peer_version=uproot.__version__,
            unit="events/s",
            more_is_better=True,
        )
        share = statistics.median(
            verifying_share(conversion([path]), Path(name) / f"{next(outputs)}") for _ in range(5)
        )
    return [
        against_parquet,
        against_rate(job, N_EVENTS / seconds, ASKED_RATE),
        record(
            f"{job}, with integrity and without",
            ours=seconds / N_EVENTS * 1e6,
            peer=seconds / N_EVENTS * 1e6 * (1 - share),
            peer_name="ours without what only verifies",
            peer_version="",
            unit="µs/event",
            goal=1 / (1 + MAX_COST),
        ),
    ]


def at_scale(events: int) -> list[Record]:
    """A tenth of the files, then all, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        edges = np.concatenate([[0], np.cumsum(sizes(events))])
        for i in range(FILES):
            sample(Path(name) / f"{i}.root", int(edges[i + 1] - edges[i]), int(edges[i]), CODECS[i % len(CODECS)])
        few, every = (_converted_apart(Path(name), n) for n in (FILES // 10, FILES))
    time_ratio, memory_ratio = (few[key] / every[key] for key in ("seconds_an_event", "peak_bytes"))
    job = f"conversion of {FILES} files of 5 codecs"
    return [
        record(
            f"{job}, {what}",
            ours=every[key] * scale,
            peer=few[key] * scale,
            ratio=ratio,
            peer_name=f"{FILES // 10} of the files",
            peer_version=f"{every['events']:,} against {few['events']:,} events",
            unit=unit,
            goal=goal,
        )
        for what, key, scale, ratio, unit, goal in (
            ("processor time", "seconds_an_event", 1e6, time_ratio, "µs/event", 1 / MAX_SLOWER),
            ("peak memory", "peak_bytes", 1e-9, memory_ratio, "GB", 1 / MAX_SLOWER),
        )
    ]


def sizes(events: int) -> NDArray[np.int64]:
    """Events of each file, from a tenth to twice the mean; each codec has its fifth of them.

    In the first tenth of the files too, which has a large and a small one of each codec: what a large file needs is needed
    there as well.
    """
    rng, each = np.random.default_rng(2), FILES // len(CODECS)
    found = rng.uniform(0.1, 1.9, (each, len(CODECS)))  # files take the codecs in turn
    found[:2] = [[1.9], [0.1]]
    found[2:] *= (each - 2) / found[2:].sum(axis=0)
    whole = np.rint(found.ravel() * events / FILES).astype(np.int64)
    whole[-1] += events - whole.sum()
    return whole


def scaled(workers: int) -> list[Record]:
    """One worker process and several, in turn."""
    with tempfile.TemporaryDirectory() as name:
        paths = [
            sample(Path(name) / f"{i}.root", SCALED // SCALED_FILES, i * (SCALED // SCALED_FILES), CODECS[1])
            for i in range(SCALED_FILES)
        ]
        outputs = iter(range(1_000))

        def seconds(processes: int) -> float:
            output = Path(name) / f"{next(outputs)}"
            start = time.perf_counter()
            convert(conversion(paths), output, engine=Processes(workers=processes))
            taken = time.perf_counter() - start
            shutil.rmtree(output)
            return taken

        pairs = [(seconds(workers), seconds(1)) for _ in range(3)]
    return [
        record(
            f"conversion by {workers} worker processes, by the clock",
            ours=SCALED / statistics.median(a for a, _ in pairs),
            peer=SCALED / statistics.median(b for _, b in pairs),
            ratio=statistics.median(b / a for a, b in pairs),
            peer_name="ours by one worker process",
            peer_version="",
            unit="events/s",
            more_is_better=True,
        )
    ]


APART = """
import json, resource, sys, time
from pathlib import Path
from benchmarks.conversion import conversion
from fivesigma.dataset import convert
folder, n = Path(sys.argv[1]), int(sys.argv[2])
start = time.process_time()
dataset = convert(conversion([folder / f"{i}.root" for i in range(n)]), folder / f"dataset-{n}")
seconds = time.process_time() - start
dataset.ledger.check()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"events": len(dataset), "seconds_an_event": seconds / len(dataset), "peak_bytes": peak}))
"""


def _converted_apart(folder: Path, files: int) -> dict[str, float]:
    command = [sys.executable, "-c", APART, str(folder), str(files)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def conversion(paths: list[Path]) -> Conversion:
    """All events, three jagged columns, with label, weight and identity."""
    return Conversion(
        samples=(Sample(name="jets", files=tuple(map(str, paths))),),
        columns=FEATURES,
        label="signal",
        weight="weight",
        identity=("event",),
    )


def to_parquet(path: Path, output: Path) -> None:
    """What one writes without us: the same branches with awkward, 100,000 entries at a time."""
    names = [*FEATURES, "event", "signal", "weight"]
    for i, part in enumerate(uproot.iterate({path: "jets"}, names, step_size=100_000)):
        ak.to_parquet(part, output.with_name(f"{i}-{output.name}"))


def verifying_share(what: Conversion, output: Path) -> float:
    """Share of a conversion's processor time that goes into `VERIFYING`."""
    spent = [0.0]

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent[0] += time.process_time() - start

        return run

    start = time.process_time()
    with ExitStack() as patches:
        for place, name in VERIFYING:
            patches.enter_context(patch.object(place, name, watched(getattr(place, name))))
        convert(what, output)
    total = time.process_time() - start
    return spent[0] / total


def sample(path: Path, events: int, first_event: int, compression: Any) -> Path:
    """Events of normally distributed values, in baskets of 10,000 events."""
    rng = np.random.default_rng([5, first_event])
    with uproot.recreate(path, compression=compression) as file:
        tree = None
        for first in range(first_event, first_event + events, BASKET):
            n = min(BASKET, first_event + events - first)
            counts = np.clip(rng.normal(MEAN_CONSTITUENTS, SPREAD, n).astype(np.int64), 1, None)
            columns: dict[str, Any] = {
                name: ak.unflatten(rng.normal(size=int(counts.sum())).astype(np.float32), counts) for name in FEATURES
            }
            columns |= {"event": np.arange(first, first + n), "signal": rng.integers(0, 2, n)}
            columns["weight"] = rng.normal(1.0, 0.5, n)
            if tree is None:
                types = {name: "var * float32" if name in FEATURES else c.dtype for name, c in columns.items()}
                tree = file.mktree("jets", types)
            tree.extend(columns)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, help="so many from 100 files of mixed sizes and codecs")
    parser.add_argument("--workers", type=int, help="so many worker processes against one")
    asked = parser.parse_args()
    if asked.events:
        at_scale(asked.events)
    elif asked.workers:
        scaled(asked.workers)
    else:
        main()
