"""Fit models of other studies, export them, and measure ``predict`` from ROOT to ROOT with each form of each model.

Two files are scored, one ``growth`` times the other, both of the study's own events repeated under new event numbers.
The difference of their processor times is that of the additional events, the rest is what a job pays before its first;
the memory must be the same. Timings are means over repeats, with the standard deviation of the mean. Scores of exports
are compared with those of the model that was exported, event by event.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.errors import DatasetError
from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.progress import progress
from fivesigma.core.provenance import provenance
from fivesigma.core.run_directory import RunDirectory
from fivesigma.deploy import TARGETS, export, load_model
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.results import results_rows
from fivesigma.flows.flow import FlowResult, FlowWords
from fivesigma.grid_inference.one_core import Use, predict_on_one_core
from fivesigma.grid_inference.report import write_grid_inference_report
from fivesigma.learn import load_fold_model
from fivesigma.predict import score_events
from fivesigma.read import open_events
from fivesigma.studies import input_files, load_study
from fivesigma.study import run_study

NATIVE = "run"
"""The form in which a model was fitted: one model a fold, by its own library."""
MEGABYTE = 1e6
SCORES = 2_000
"""Events whose scores are compared; all entries' order and number are."""
SCORED = "scores.root"
EXPORTED_FOLD = 0
"""The fold whose model `load_model` takes if it is not told another."""


class ModelsWords(BaseModel):
    """Models of one study, and the forms in which each is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    forms: dict[str, dict[str, dict[str, Any]]] = Field(
        description="model → form (a target of `fivesigma export`) → its options; the fitted run itself is always measured"
    )
    entries: int = Field(default=20_000, ge=100, description="entries of the smaller file")
    run: str | None = Field(default=None, description="a finished run of the study; fitted here if left out")


class GridInferenceWords(FlowWords):
    """What a study of this flow says."""

    studies: dict[str, ModelsWords] = Field(description="study → its models")
    growth: int = Field(default=10, ge=2, description="the larger file has so many times the entries of the smaller")
    repeats: int = Field(default=3, ge=2, description="how often everything is timed")


@dataclass(frozen=True)
class Form:
    """One model in one form, ready to score files."""

    study: str
    model: str
    kind: str
    source: Path  # run directory or artefact

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{self.study} {self.model}, {self.kind}"


class GridInferenceFlow:
    """Fit, export, score, measure; see the module."""

    words = GridInferenceWords

    def run(self, words: GridInferenceWords, run: RunDirectory, *, workers: int) -> FlowResult:
        """Do the study and write its report.

        Raises
        ------
        DatasetError
            if a friend tree has other entries than its input, or in another order.
        FivesigmaError
            whatever a stage has to say.
        """
        measured: dict[str, dict[str, Measurement]] = {}
        samples = {}
        for study, chosen in words.studies.items():
            fitted = _fitted(study, chosen, run.path, words.seed, workers)
            small, large, tree = repeated_samples(study, run.path, chosen.entries, words.growth)
            samples[study] = {"entries": [chosen.entries, chosen.entries * words.growth], "tree": tree}
            forms = list(_forms(study, chosen, fitted, run.path, words.seed))
            with progress(len(forms) * words.repeats, f"scoring {study}", unit="runs") as advance:
                for form in forms:
                    uses = []
                    for _ in range(words.repeats):
                        uses.append(tuple(_score(form, tree, file, run.path) for file in (small, large)))
                        advance(1)
                    found = _measure(uses, chosen.entries, words.growth)
                    if form.kind != NATIVE:
                        found["largest_difference"] = _difference(form, fitted, large, run.path / SCORED)
                    measured[form.name] = found
        made = provenance(seed=words.seed, command=None)
        report = write_grid_inference_report(run.path / "report.html", words, measured, made)
        return FlowResult(
            sample={"generated": "events of the studies' own samples, repeated", "studies": samples},
            results=[row for name, metrics in measured.items() for row in results_rows(name, metrics)],
            report=report,
        )


def _fitted(study: str, words: ModelsWords, folder: Path, seed: int, workers: int) -> Path:
    """The run directory with the models."""
    if words.run is not None:
        return Path(words.run)
    output = folder / "fits" / study
    return run_study(
        study, models=list(words.forms), output=output, seed=seed, workers=workers, until="evaluate"
    ).run.path


def repeated_samples(study: str, folder: Path, entries: int, growth: int) -> tuple[Path, Path, str]:
    """A small and a large file of the study's events, over and over, each event with a number of its own."""
    words = next(iter(load_study(study).samples.values()))
    events = open_events(list(input_files(words)), words.tree)
    file = events.files[0]
    names = [name for name, branch in file.branches.items() if branch.dtype is not None]
    columns = events.read(next(iter(events.partitions(file.entries))), names)
    paths = []
    for n in (entries, entries * growth):
        path = folder / f"{study}-{n}.root"
        if not path.exists():
            _write_repeated(path, file.tree, columns, n)
        paths.append(path)
    return paths[0], paths[1], file.tree


def _write_repeated(path: Path, tree: str, columns: Mapping[str, Column], n: int) -> None:
    """The columns over and over to ``n`` entries; ``event_number`` counts on."""
    import awkward as ak

    have = len(next(iter(columns.values())))
    with atomic_path(path) as temporary, uproot.recreate(temporary, compression=uproot.LZ4(1)) as file:
        types = {
            name: f"var * {c.values.dtype.name}" if isinstance(c, Jagged) else c.dtype for name, c in columns.items()
        }
        writer = file.mktree(tree, types)
        for start in range(0, n, have):
            part = {name: column[: min(have, n - start)] for name, column in columns.items()}
            part["event_number"] = np.arange(
                start, start + len(part["event_number"]), dtype=columns["event_number"].dtype
            )
            writer.extend(
                {k: ak.unflatten(c.values, c.counts) if isinstance(c, Jagged) else c for k, c in part.items()}
            )


def _forms(study: str, words: ModelsWords, fitted: Path, folder: Path, seed: int) -> Iterator[Form]:
    """The run, and every export of every model; one that is there already is taken as it is."""
    for model, forms in words.forms.items():
        yield Form(study, model, NATIVE, fitted)
        for kind, options in forms.items():
            output = folder / "artefacts" / study / f"{model}-{kind}"
            if not output.exists():
                target = TARGETS[kind].from_options(options)
                export(load_model(fitted, model=model), target, output, seed=seed)
            yield Form(study, model, kind, output)


def _score(form: Form, tree: str, file: Path, folder: Path) -> Use:
    """Score one file on one core; its friend must have its entries in its order."""
    output = folder / SCORED
    used = predict_on_one_core(form.source, form.model if form.kind == NATIVE else None, tree, file, output)
    with uproot.open(file) as one, uproot.open(output) as other:
        data, friend = one[tree], other["scores"]
        if friend.num_entries != data.num_entries:
            raise DatasetError(
                f"{output}: expected {data.num_entries:,} entries as in {file}, got {friend.num_entries:,}"
            )
        if form.kind == NATIVE:
            order = [tree["event_number"].array(library="np") for tree in (data, friend)]
            if not np.array_equal(*order):
                raise DatasetError(f"{output}: the entries are not in the order of {file}")
    return used


def _measure(uses: Sequence[Sequence[Use]], entries: int, growth: int) -> dict[str, Measurement]:
    """Rate, start and memory from repeated runs on both files."""
    small, large = (np.array([use[i].cpu_seconds for use in uses]) for i in (0, 1))
    per_event = (large - small) / (entries * (growth - 1))
    start = small - per_event * entries
    peaks = [np.array([use[i].peak_bytes for use in uses]) / MEGABYTE for i in (0, 1)]
    return {
        "microseconds_per_event": (microseconds := _mean(1e6 * per_event)),
        "events_per_cpu_second": _rate(microseconds),
        "start_cpu_seconds": _mean(start),
        "peak_memory_mb": _mean(peaks[1]),
        "memory_growth_mb": _mean(peaks[1] - peaks[0]),
    }


def _mean(values: NDArray[np.float64]) -> Measurement:
    n = len(values)
    return Measurement(
        float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), f"mean of {n} runs; standard deviation / √{n}"
    )


def _rate(microseconds: Measurement) -> Measurement:
    """Events per second: of the mean time, as the mean of rates would be too large where the time is not well known."""
    rate = 1e6 / microseconds.value
    return Measurement(rate, rate * microseconds.uncertainty / microseconds.value, f"10⁶ / time ({microseconds.how})")


def _difference(form: Form, fitted: Path, file: Path, output: Path) -> Measurement:
    """The largest difference of an export's scores, as ``predict`` wrote them, from those of the model that was exported."""
    fold_model = load_fold_model(fitted / "models" / form.model, EXPORTED_FOLD)
    features = fold_model[1]
    assert features is not None  # a model of columns
    events = open_events([file])
    columns = events.read(next(iter(events.partitions(SCORES))), features.inputs)
    expected = score_events(columns, {form.model: [fold_model]}, None)[form.model]
    with uproot.open(output) as scores:
        (branch,) = scores["scores"].keys()
        got = scores["scores"][branch].array(library="np", entry_stop=len(expected))
    worst = float(np.abs(got.astype(np.float64) - expected).max())
    return Measurement(worst, 0.0, f"largest of {len(expected):,} events; the fitted model's scores are in float32")
