"""``predict`` from ROOT to ROOT, against the slower of reading alone and evaluating alone.

``python -m benchmarks.prediction`` from the root of the repository; a C compiler is needed. The embedded samples,
repeated with event numbers of their own, are scored by (i) boosted trees on all 28 variables of ``higgs``, in C, (ii)
``substructure-bdt`` and (iii) ``cnn`` on jet images of ``w-tagging``, from a run directory, each event by its own fold's model.

Reading alone reads the needed branches in the same entry ranges and keeps nothing; evaluating alone has the columns in
memory; both in one thread. ``predict`` is all of it: opening, the digest of the file, reading, evaluating, writing the friend
tree. With two threads wall time counts, against the slower of the two; on one core processor time, against their sum (nothing
can be hidden there). Ratios are medians over repeats in which all three take turns; what else runs on the machine disturbs
the wall times, so that these are to be taken where nothing else runs.
"""

from __future__ import annotations

import os

from benchmarks.peers import ONE_THREAD

os.environ.update(ONE_THREAD)  # before NumPy and torch are loaded

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from benchmarks.record import Record, record
from fivesigma.core.jagged import Column
from fivesigma.deploy import CTrees, TrainedModel, export
from fivesigma.features import Tabular
from fivesigma.predict import Threads, load_scorer, predict_study
from fivesigma.predict.score_files import STEP
from fivesigma.predict.scorer import Scorer
from fivesigma.read import Events, open_events
from fivesigma.studies import load_study
from fivesigma.study import run_study
from fivesigma.trees import BoostedTrees

REPEATS = 5
BASKET = 10_000  # events
GOAL = 0.8
TRAIN = 6_000  # events of the samples that models are fitted on
TREES, LEAVES = 100, 31
JETS = 60_000, 15_000  # that trees and network are given


@dataclass(frozen=True)
class Job:
    """A model and the file that it scores."""

    name: str
    source: Path
    model: str | None
    file: Path
    tree: str

    def columns(self, scorer: Scorer, events: Events) -> list[dict[str, Column]]:
        """The needed branches, one entry range after another."""
        return [events.read(part, scorer.wanted) for part in events.partitions(STEP)]

    def predict(self, threads: int, output: Path) -> None:
        """From ROOT to ROOT."""
        models = None if self.model is None else [self.model]
        predict_study(self.source, [self.file], output, models=models, tree=self.tree, engine=Threads(threads))


def main() -> list[Record]:
    """Measure and record all."""
    with tempfile.TemporaryDirectory() as made:
        return [found for job in jobs(Path(made)) for found in measured(job, Path(made) / "scores.root")]


def jobs(folder: Path) -> list[Job]:
    """Fit the models, export the first, write the files."""
    trees, network = JETS
    few = repeated("w-tagging", "jets", folder / "few-jets.root", TRAIN)
    study = load_study("w-tagging")
    jets = study.samples["jets"].model_copy(update={"files": (str(few),)})
    short = study.models["cnn"].model_copy(update={"options": {"epochs": 1}})
    study = study.model_copy(
        update={
            "samples": {"jets": jets},
            "folds": 3,
            "models": {**study.models, "cnn": short},
            "evaluate": study.evaluate.model_copy(update={"replicas": 20}),
        }
    )
    run = run_study(study, models=["substructure-bdt", "cnn"], output=folder / "run", until="evaluate").run.path
    for_trees = repeated("w-tagging", "jets", folder / "jets.root", trees)
    for_network = repeated("w-tagging", "jets", folder / "images.root", network)
    return [
        Job("higgs, boosted trees in C", higgs_in_c(folder), None, higgs_file(folder), "events"),
        Job("w-tagging, substructure-bdt", run, "substructure-bdt", for_trees, "jets"),
        Job("w-tagging, cnn on jet images", run, "cnn", for_network, "jets"),
    ]


def higgs_in_c(folder: Path) -> Path:
    """100 trees of 31 leaves on all variables."""
    names = tuple(load_study("higgs").inputs["all"].options["inputs"])
    columns = uproot.open(embedded("higgs"))["events"].arrays([*names, "label"], library="np")
    chosen = np.random.default_rng(2).permutation(len(columns["label"]))[:TRAIN]  # signal stands before background
    few = {name: column[chosen] for name, column in columns.items()}
    features = Tabular(names).fit(few)
    estimator = BoostedTrees(trees=TREES, leaves=LEAVES).fit(features.transform(few), few["label"])
    model = TrainedModel("higgs", estimator, names, features)
    return export(model, CTrees(), folder / "higgs-c").folder


def higgs_file(folder: Path) -> Path:
    """A million events: with 200,000, a third of a second, what a run pays once (0.04 s) is a quarter of it."""
    return repeated("higgs", "events", folder / "higgs.root", 1_000_000)


def embedded(study: str) -> Path:
    """The sample that the package has."""
    return Path(str(resources.files("fivesigma.studies"))) / "data" / f"{study}.root"


def repeated(study: str, tree: str, path: Path, events: int) -> Path:
    """The embedded sample again and again, from all over it if that is too many, under new event numbers."""
    sample = uproot.open(embedded(study))[tree].arrays()
    order = np.random.default_rng(1).permutation(len(sample))
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        out: Any = None
        for start in range(0, events, BASKET):
            number = np.arange(start, min(start + BASKET, events))
            part = sample[order[number % len(sample)]]
            rows = {name: part[name] for name in part.fields if not counts_lists(name, part.fields)}
            rows["event_number"] = ak.Array(number.astype(np.int64))
            if out is None:
                out = file.mktree(tree, {name: column.type.content for name, column in rows.items()})
            out.extend(rows)
    return path


def counts_lists(name: str, fields: list[str]) -> bool:
    """Whether a branch is the counter that uproot writes itself."""
    return name.startswith("n") and name[1:] in fields


def measured(job: Job, output: Path) -> list[Record]:
    """With two threads by wall time, and on one core by processor time."""
    events = open_events([job.file], job.tree)
    models = () if job.model is None else (job.model,)
    scorer = load_scorer(job.source.absolute(), models, frozenset(events.files[0].branches))
    ready = job.columns(scorer, events)
    parts: dict[str, Callable[[], Any]] = {
        "reading": lambda: job.columns(scorer, events),
        "evaluating": lambda: [scorer.score(columns) for columns in ready],
        "two": lambda: job.predict(2, output),
        "one": lambda: job.predict(1, output),
    }
    for part in parts.values():
        part()  # compiles what is compiled at first use
    taken = [{name: timed(part) for name, part in parts.items()} for _ in range(REPEATS)]

    def median(of: Callable[[dict[str, tuple[float, float]]], float]) -> float:
        return statistics.median(of(repeat) for repeat in taken)

    n = events.entries
    reading, evaluating = median(lambda t: t["reading"][0]), median(lambda t: t["evaluating"][0])
    slower = "reading" if reading > evaluating else "evaluating"
    print(f"{job.name}: {n:,} events, reading {reading / n * 1e6:.3g}, evaluating {evaluating / n * 1e6:.3g} µs/event")
    return [
        record(
            f"predict in threads, {job.name}, two threads",
            ours=n / median(lambda t: t["two"][0]),
            peer=n / max(reading, evaluating),
            peer_name=f"{slower} alone, one thread",
            peer_version="",
            unit="events/s",
            ratio=median(lambda t: max(t["reading"][0], t["evaluating"][0]) / t["two"][0]),
            goal=GOAL,
        ),
        record(
            f"predict in threads, {job.name}, one core",
            ours=n / median(lambda t: t["one"][1]),
            peer=n / median(lambda t: t["reading"][1] + t["evaluating"][1]),
            peer_name="reading and evaluating, one after the other",
            peer_version="",
            unit="events/s",
            ratio=median(lambda t: (t["reading"][1] + t["evaluating"][1]) / t["one"][1]),
        ),
    ]


def timed(part: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor time in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    part()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
