"""The flow ``topological-trigger``: efficiency of decays of b hadrons at a given output rate, from cuts to a table in memory.

Candidates of two to four tracks are rows, events are what is counted: an event passes with its best candidate, and a decay
counts as kept only if a candidate of its own tracks passes. Thresholds are set by the output rate of collisions without
beauty, which a trigger does not want; those with beauty come on top and are counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fivesigma.core.errors import ConfigError
from fivesigma.core.progress import progress, say
from fivesigma.core.provenance import provenance
from fivesigma.core.registry import unknown_name
from fivesigma.core.run_directory import RunDirectory
from fivesigma.deploy.artifact import Artifact
from fivesigma.deploy.c_target import CTrees
from fivesigma.deploy.export import export
from fivesigma.deploy.table_target import LookupTable
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.trigger_rate import (
    RateComparison,
    TriggerInput,
    TriggerScores,
    compare_at_rates,
    threshold_at_rate,
)
from fivesigma.flows.flow import FlowResult, FlowWords
from fivesigma.flows.trigger_events import (
    SelectionWords,
    TriggerCandidates,
    TriggerSample,
    best_of_events,
    candidates_of,
    read_sample,
)
from fivesigma.flows.trigger_measures import (
    FlatSignal,
    Stability,
    TableChoice,
    TestEvents,
    monitor,
    scan_sizes,
    shared_memory,
    stability,
    table_scores_of,
    time_per_candidate,
    unevenness,
)
from fivesigma.flows.trigger_models import (
    TrainingCandidates,
    TriggerModel,
    TriggerModelWords,
    fit_trigger_model,
)
from fivesigma.physics.n_body import CANDIDATE_COLUMNS
from fivesigma.simulate.charged_tracks import BOTTOM
from fivesigma.simulate.heavy_flavour_decays import MODES
from fivesigma.simulate.vertex_detector import Response
from fivesigma.studies.definition import accept_options, input_file

Floats = NDArray[np.float64]

ALL = "all decays"
PROCESSES = 4
"""That share a table."""
SCAN = tuple((f"quantiles of {n} bins", f"quantiles:{n}") for n in (2, 3, 4, 6, 8))
PRUNED = (100_000, 30_000, 10_000, 3_000, 1_000, 300, 100)


class VariationWords(BaseModel):
    """A detector that is not what the trigger takes it for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution: float = Field(default=1.0, gt=0, description="factor on all impact parameter and vertex errors")
    half_shift_um: float = Field(default=0.0, description="shift of the detector's half at x > 0 along x, in µm")


class MonitoringWords(BaseModel):
    """How the trigger is watched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slices: int = Field(default=12, ge=2, description="slices of time")
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1, description="of all comparisons together")
    from_slice: int = Field(default=6, ge=1, description="slices before the change")


class TopologicalTriggerWords(FlowWords):
    """What a study of this flow says."""

    sample: str = Field(description="a file of `fivesigma simulate heavy-flavour`, its metadata beside it")
    input_rate_khz: float = Field(default=1000.0, gt=0, description="rate of collisions that the trigger is fed")
    output_rates_khz: tuple[float, ...] = Field(
        default=(1.0, 2.0, 5.0), min_length=1, description="rates to compare at"
    )
    test_fraction: float = Field(default=0.6, gt=0, lt=1, description="share of the events that no model sees")
    unseen: tuple[str, ...] = Field(default=(), description="decays that no model is trained on")
    selection: SelectionWords = SelectionWords()
    bins: dict[str, tuple[float, ...]] = Field(description="edges of each input for bonsai trees")
    models: dict[str, TriggerModelWords]
    variations: dict[str, VariationWords] = Field(default_factory=dict)
    monitoring: MonitoringWords
    replicas: int = Field(default=200, ge=20, description="of the bootstrap")

    @model_validator(mode="after")
    def _names_are_known(self) -> TopologicalTriggerWords:
        for name in self.unseen:
            if name not in (known := [mode.name for mode in MODES]):
                raise ValueError(f"unseen: {unknown_name('decay', name, known)}")
        for name in CANDIDATE_COLUMNS:
            if name not in self.bins:
                raise ValueError(f"bins: expected edges for each input, got none for {name}")
        for name in self.bins:
            if name not in CANDIDATE_COLUMNS:
                raise ValueError(f"bins: {unknown_name('input', name, CANDIDATE_COLUMNS)}")
        for needed in ("bdt", "bonsai", "uniform-bonsai"):
            if needed not in self.models:
                raise ValueError(f"models: the study compares {needed!r}; known: {', '.join(self.models)}")
        return self


@dataclass(frozen=True)
class Seen:
    """Candidates of one detector and the score of each by every model, (row,)."""

    candidates: TriggerCandidates
    score: Mapping[str, Floats]


@dataclass(frozen=True)
class TriggerStudy:
    """All that was measured, for results and report."""

    words: TopologicalTriggerWords
    sample: TriggerSample
    test: TestEvents
    models: Mapping[str, TriggerModel]
    seen: Mapping[str, Seen]  # by variation, "nominal" first
    scores: Mapping[str, TriggerScores]
    comparison: RateComparison
    deployed: Mapping[str, Artifact]
    sizes: list[TableChoice]
    tabulated: list[TableChoice]
    stable: list[Stability]
    flat: FlatSignal
    uneven: Mapping[tuple[str, str], Mapping[str, Measurement]]
    memory: Mapping[str, Any]
    times: Mapping[str, Measurement]
    watched: Mapping[str, Any]


class TopologicalTriggerFlow:
    """Read, combine, fit, deploy, judge; see the module."""

    words = TopologicalTriggerWords

    def run(self, words: TopologicalTriggerWords, run: RunDirectory, *, workers: int) -> FlowResult:
        """Do the study and write the report.

        Raises
        ------
        UnknownNameError
            an estimator, or an option of one, that is not known.
        ConfigError
            rates that the sample is too small for.
        ParityError
            if what is deployed is not what was trained.
        """
        from fivesigma.flows.trigger_report import write_trigger_report
        from fivesigma.flows.trigger_results import differences_of, more_of, rows_of
        from fivesigma.learn import ESTIMATORS  # here, so that checking a study's words does not wait for torch

        for name, model in words.models.items():
            accept_options("model", name, ESTIMATORS[model.estimator], model.options)
        study = measure_study(words, run.path / "deployed")
        made = {**provenance(seed=words.seed, command=None), "study": words.model_dump(mode="json")}
        report = write_trigger_report(run.path / "report.html", study, made, workers)
        return FlowResult(
            sample={**study.sample.file, "collisions_tested": study.test.given.collisions},
            results=rows_of(study),
            differences=differences_of(study),
            report=report,
            more=more_of(study),
        )


def measure_study(words: TopologicalTriggerWords, deployed: Path) -> TriggerStudy:
    """Everything but the report."""
    sample = read_sample(Path(input_file(words.sample)))
    test = _test_events(sample, words)
    responses = {"nominal": Response(), **{n: Response(**v.model_dump()) for n, v in words.variations.items()}}
    with progress(len(responses), "combining tracks", unit="detectors") as advance:
        candidates = {}
        for name, response in responses.items():
            candidates[name] = candidates_of(sample, words.selection, response)
            advance(1)
    rows = training_rows(sample, candidates["nominal"], words)
    models = {
        name: fit_trigger_model(name, model, rows, words.bins, words.seed) for name, model in words.models.items()
    }
    seen = {
        variation: Seen(found, {name: model.score(found.X) for name, model in models.items()})
        for variation, found in candidates.items()
    }
    nominal = seen["nominal"]
    scores = {name: test.scores(score, nominal.candidates) for name, score in nominal.score.items()}
    rate = middle_rate(words)
    cuts = {name: threshold_at_rate(one.background, test.given, rate) for name, one in scores.items()}
    artifacts = _deploy(models, scores, test, words, deployed)
    say("comparing at equal rates")
    comparison = compare_at_rates(
        scores, test.given, words.output_rates_khz, _parts(sample, test), n_replicas=words.replicas, seed=words.seed
    )
    flat = flat_signal(test, nominal)
    return TriggerStudy(
        words=words,
        sample=sample,
        test=test,
        models=models,
        seen=seen,
        scores=scores,
        comparison=comparison,
        deployed=artifacts,
        sizes=_sizes("bonsai", models, scores, test, nominal, rate, [(f"pruned to {n:,}", n) for n in PRUNED]),
        tabulated=_sizes("bdt", models, scores, test, nominal, rate, SCAN),
        stable=_stable(scores, test, seen, rate),
        flat=flat,
        uneven=_uneven(flat),
        memory=shared_memory(artifacts["bonsai table"].folder / "bonsai.table", PROCESSES),
        times=_times(models, artifacts, nominal.candidates.X),
        watched=_watched(words, test, seen, cuts),
    )


def middle_rate(words: TopologicalTriggerWords) -> float:
    """The output rate at which everything but the comparison of rates is done."""
    return words.output_rates_khz[len(words.output_rates_khz) // 2]


def training_rows(
    sample: TriggerSample, candidates: TriggerCandidates, words: TopologicalTriggerWords
) -> TrainingCandidates:
    """Candidates of the signal's own tracks against all of collisions without beauty; each event has weight one.

    Raises
    ------
    ConfigError
        if one of the classes has none.
    """
    label, flavour, mode = (sample.column(name) for name in ("label", "flavour", "mode"))
    seen = ~np.isin(mode, [m.code for m in MODES if m.name in words.unseen])
    train = ~sample.test(words.test_fraction, words.seed) & seen & ((label == 1) | (flavour != BOTTOM))
    event = candidates.event
    chosen = train[event] & ((label[event] == 0) | candidates.own)
    event = event[chosen]
    y = label[event].astype(np.int8)
    if len(np.unique(y)) < 2:
        raise ConfigError(f"{len(y)} candidates to learn from, of one class: simulate more, or loosen the selection")
    weight = 1.0 / np.bincount(event, minlength=sample.n_events)[event]
    weight /= np.where(y == 1, weight[y == 1].sum(), weight[y == 0].sum()) / (len(y) / 2)
    X = candidates.X[chosen]
    nuisance = {
        "decay_time": sample.column("decay_time").astype(np.float64)[event],
        "corrected_mass": X[:, CANDIDATE_COLUMNS.index("corrected_mass")],
    }
    # bins of equal width hold about as many events each
    spread = {name: _position(values, y == 1) for name, values in nuisance.items()}
    return TrainingCandidates(X, y, weight, spread)


def flat_signal(test: TestEvents, nominal: Seen) -> FlatSignal:
    """Signal events of the test that have a candidate, with the corrected mass of the best one of each model."""
    n = test.sample.n_events
    found = {
        name: best_of_events(score, nominal.candidates, nominal.candidates.own, n)
        for name, score in nominal.score.items()
    }
    some = next(iter(found.values()))[1]
    with_one = test.signal & (some >= 0)
    column = CANDIDATE_COLUMNS.index("corrected_mass")
    return FlatSignal(
        test.sample.column("decay_time").astype(np.float64)[with_one],
        {name: nominal.candidates.X[row[with_one], column] for name, (_, row) in found.items()},
        {name: best[with_one] for name, (best, _) in found.items()},
    )


def _position(values: Floats, signal: NDArray[np.bool_]) -> Floats:
    """Share of signal with a smaller value, (row,)."""
    ordered = np.sort(values[signal])
    return np.asarray(np.searchsorted(ordered, values, side="right") / len(ordered))


def _test_events(sample: TriggerSample, words: TopologicalTriggerWords) -> TestEvents:
    test = sample.test(words.test_fraction, words.seed)
    stored = sample.column("label") == 0
    share = (test & stored).sum() / stored.sum()
    given = TriggerInput(words.input_rate_khz, round(sample.collisions * float(share)))
    background = stored & (sample.column("flavour") != BOTTOM)
    return TestEvents(sample, test & ~stored, test & background, test & stored, given)


def _parts(sample: TriggerSample, test: TestEvents) -> dict[str, NDArray[np.bool_]]:
    mode = sample.column("mode")[test.signal]
    return {ALL: np.ones(len(mode), np.bool_)} | {m.name: mode == m.code for m in MODES if (mode == m.code).any()}


def _deploy(
    models: Mapping[str, TriggerModel],
    scores: Mapping[str, TriggerScores],
    test: TestEvents,
    words: TopologicalTriggerWords,
    folder: Path,
) -> dict[str, Artifact]:
    """Trees as C, bonsai trees as tables that keep the thresholds; each with its proof."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = {}
    for name, model in models.items():
        safe = name.replace("-", "_")
        if model.axes is not None:
            cuts = sorted({threshold_at_rate(scores[name].background, test.given, r) for r in words.output_rates_khz})
            target = LookupTable(bins={n: list(e) for n, e in words.bins.items()}, working_points=cuts, precision=0.01)
            made[f"{name} table"] = export(model.trained, target, folder / f"{name}-table", name=safe, seed=words.seed)
        elif model.words.estimator in TREE_LEARNERS:
            made[f"{name} in C"] = export(model.trained, CTrees(), folder / f"{name}-c", name=safe, seed=words.seed)
    return made


def _sizes(
    name: str,
    models: Mapping[str, TriggerModel],
    scores: Mapping[str, TriggerScores],
    test: TestEvents,
    nominal: Seen,
    rate: float,
    ways: Sequence[tuple[str, str | int]],
) -> list[TableChoice]:
    """Tables of one model, in several ways."""
    table_scores = table_scores_of(models[name], test, nominal.candidates)
    return scan_sizes(models[name], scores[name], table_scores, ways, test.given, rate)


def _stable(
    scores: Mapping[str, TriggerScores], test: TestEvents, seen: Mapping[str, Seen], rate: float
) -> list[Stability]:
    """Every model under every variation."""
    return [
        stability(name, variation, nominal, test.scores(found.score[name], found.candidates), test.given, rate)
        for variation, found in seen.items()
        if variation != "nominal"
        for name, nominal in scores.items()
    ]


def _uneven(flat: FlatSignal) -> dict[tuple[str, str], dict[str, Measurement]]:
    """Each uniform model and its plain one, in each variable."""
    pairs = [(f"uniform-{name}", name) for name in ("bdt", "bonsai") if f"uniform-{name}" in flat.score]
    return {
        (first, variable): unevenness(flat, first, second, variable)
        for first, second in pairs
        for variable in ("decay_time", "corrected_mass")
    }


def _times(models: Mapping[str, TriggerModel], made: Mapping[str, Artifact], X: Floats) -> dict[str, Measurement]:
    """Nanoseconds per candidate of the library, of C and of the table."""
    from fivesigma.deploy.table_target import CompiledTable

    X = np.ascontiguousarray(np.tile(X, (max(1, -(-20_000 // len(X))), 1))[:20_000])
    bdt: Any = models["bdt"].trained.estimator
    trees: Any = made["bdt in C"].predictor
    table: Any = made["bonsai table"].predictor
    fast = CompiledTable(made["bonsai table"].folder, "bonsai", table.table.code, "-std=c99", "-O3", "-march=native")
    n = len(X)
    return {
        "bdt": time_per_candidate(lambda: bdt.raw_score(X), n),
        "bdt in C": time_per_candidate(lambda: trees.scores(X), n),
        "bonsai table": time_per_candidate(lambda: table.predict(X), n),
        "bonsai table in C": time_per_candidate(lambda: fast.codes(table.table.cells, X), n),
        "bonsai table in C, one at a time": time_per_candidate(lambda: fast.code(table.table.cells, X), n),
    }


def _watched(
    words: TopologicalTriggerWords, test: TestEvents, seen: Mapping[str, Seen], cuts: Mapping[str, float]
) -> dict[str, Any]:
    """A stable run of slices, ``nominal``, and one for each variation that sets in: the slices and what was found."""
    watched = ("bdt", "bonsai")
    chosen = {name: cuts[name] for name in watched}
    states = {name: (one.candidates, {m: one.score[m] for m in watched}) for name, one in seen.items()}
    options = words.monitoring.model_dump()
    return {name: monitor(test, states["nominal"], states[name], chosen, **options) for name in seen}
