"""``predict`` from ROOT to ROOT against the slower of reading alone and scoring alone.

``python -m benchmarks.prediction`` from the root of the repository. One thread, one process: the parts cannot overlap, so
that the ratio says what everything else (identity, order, friend tree, ledger) and the faster part cost together. Timed by
processor time; medians over interleaved repeats; the events of the packaged samples over and over.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.record import Record, record
from fivesigma.core.progress import progress_mode
from fivesigma.deploy import CTrees, TrainedModel, export
from fivesigma.grid_inference.flow import repeated_samples
from fivesigma.predict import load_scorer, predict_study
from fivesigma.predict.score_files import STEP
from fivesigma.read import open_events
from fivesigma.study import run_study

GOAL = 0.8
REPEATS = 5
CASES = (("w-tagging", "substructure-bdt", 500_000), ("w-tagging", "fisher", 100_000), ("higgs", "trees-all", 200_000))


def main() -> list[Record]:
    """Measure the fitted runs, and the trees as C."""
    made = []
    with tempfile.TemporaryDirectory() as folder, progress_mode("quiet"):
        for study, model, entries in CASES:
            fitted = Path(folder) / study
            run_study(study, models=[model], output=fitted, until="evaluate")
            file, _, tree = repeated_samples(study, Path(folder), entries, 1)
            made.append(measure(f"{study} {model}, as fitted (five models)", fitted, model, file, tree))
            if model != "fisher":
                artefact = Path(folder) / f"{model}-c"
                export(TrainedModel.load(fitted, model=model), CTrees(), artefact)
                made.append(measure(f"{study} {model}, as C", artefact, None, file, tree))
    return made


def measure(name: str, source: Path, model: str | None, file: Path, tree: str) -> Record:
    """All of it against its slower part."""
    models = (model,) if model else ()
    events = open_events([file], tree)
    scorer = load_scorer(source, models, frozenset(events.files[0].branches))
    parts = list(events.partitions(STEP))
    read = [events.read(part, scorer.wanted) for part in parts]
    output = file.with_suffix(".scores.root")

    def everything() -> None:
        predict_study(source, [file], output, models=list(models) or None, tree=tree)

    def reading() -> None:
        for part in open_events([file], tree).partitions(STEP):
            events.read(part, scorer.wanted)

    def scoring() -> None:
        for columns in read:
            scorer.score(columns)

    times = [[seconds(job) for job in (everything, reading, scoring)] for _ in range(REPEATS)]
    slower = max((1, 2), key=lambda i: statistics.median(row[i] for row in times))
    n = events.entries
    return record(
        f"predict from ROOT to ROOT, {name}",
        ours=n / statistics.median(row[0] for row in times),
        peer=n / statistics.median(row[slower] for row in times),
        peer_name=("reading alone", "scoring alone")[slower - 1],
        peer_version="",
        unit="events/s",
        ratio=statistics.median(row[slower] / row[0] for row in times),
        goal=GOAL,
        more_is_better=True,
    )


def seconds(job: Callable[[], None]) -> float:
    """Processor time."""
    start = time.process_time()
    job()
    return time.process_time() - start


if __name__ == "__main__":
    main()
