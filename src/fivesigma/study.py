"""The whole flow on one page: convert → reweight → fit → evaluate → explain → report.

Datasets and fits are kept in the run directory under the hash of all that made them, so a rerun does only what changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.engine import Engine
from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import write_json
from fivesigma.core.processes import Processes
from fivesigma.core.run_directory import RunDirectory
from fivesigma.dataset import (
    Conversion,
    ConversionPlan,
    Dataset,
    Reweighting,
    Sample,
    convert,
    plan_conversion,
    reweight,
    reweight_boosted,
    scan_inputs,
    train_validation_test,
    with_separation,
)
from fivesigma.evaluate import (
    Assessment,
    DataComparison,
    Expectation,
    Questions,
    ScoredModel,
    SystematicQuestions,
    assess,
)
from fivesigma.features import FEATURES
from fivesigma.flows import find_flow
from fivesigma.learn import FoldScores, Ranks, Recipe, cross_validate, learnt_columns, load_fold_model
from fivesigma.learn.conditions import require_known
from fivesigma.read import Expression
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.results import facts_of, flow_metrics, manifest_of, metrics_of, results_table
from fivesigma.studies import StudyDefinition, input_files, parse_words, read_study, resolve_study
from fivesigma.variations import Nominal, columns_for_variations, compare_with_data, varied_events

if TYPE_CHECKING:
    from fivesigma.explain import Insight

__all__ = [
    "Fits",
    "StudyResult",
    "conversion_of",
    "convert_study",
    "evaluate_study",
    "explain_study",
    "fit_study",
    "open_run",
    "plan_study",
    "resolve_study",
    "run_study",
]


@dataclass(frozen=True)
class Fits:
    """The weights that models were fitted and are judged with, and their scores."""

    weight: NDArray[np.float64]  # (event,), after reweighting
    reweighting: Reweighting | None
    scores: dict[str, FoldScores]


@dataclass(frozen=True)
class StudyResult:
    """What a run hands back: where it lies, its metrics as in metrics.json, its report."""

    run: RunDirectory
    metrics: dict[str, Any]
    report: Path | None

    def rows(self) -> list[dict[str, str]]:
        """The table of results: one model a row, one metric a column, each number with its uncertainty."""
        return results_table(self.metrics)


def run_study(
    study: str | Path | StudyDefinition,
    *,
    inputs: Mapping[str, str] | None = None,
    models: Sequence[str] | None = None,
    output: str | Path | None = None,
    seed: int | None = None,
    workers: int = 2,
    until: Literal["evaluate", "explain", "report"] = "report",
    keep: Path | None = None,
    command: str | None = None,
) -> StudyResult:
    """Run a study from its input files to its report.

    Parameters
    ----------
    study : name of a study that ships with the package, path of a YAML file, or a definition.
    inputs : other files for some samples: sample name → file, glob or folder.
    models : only these models, with those they combine and the baseline.
    output : the run directory; ``runs/<study>`` if left out.
    seed : instead of the study's own: of trainings and of the bootstrap; the split does not depend on it.
    workers : entry ranges converted, and fits done, at the same time, each in a process of its own.
    until : the last stage to do.
    keep : a second place for the results, such as ``docs/results/<study>.json``.
    command : the command line to state in the results, if there was one.

    Raises
    ------
    FivesigmaError
        whatever a stage has to say; what was finished is kept, and the next run goes on from there.
    """
    if not isinstance(study, StudyDefinition) and flow_name(study) != "classification":
        if models or until != "report":
            raise ConfigError(
                f"study {str(study)!r} has no models to choose and no stages; its flow takes --output and --seed"
            )
        return run_flow(study, inputs=inputs, output=output, seed=seed, workers=workers, keep=keep, command=command)
    with open_run(study, inputs, output, models, seed) as (definition, run):
        started, cpu = time.monotonic(), time.process_time()
        dataset = convert_study(definition, run, Processes(workers))
        fits = fit_study(definition, run, dataset, workers=workers)
        assessment = evaluate_study(definition, run, dataset, fits, Processes(workers))
        compared = compare_study_with_data(definition, run, dataset, fits, Processes(workers))
        cpu_seconds = time.process_time() - cpu + sum(s.cost.training_cpu_seconds for s in fits.scores.values())
        metrics = metrics_of(
            definition, dataset, fits.scores, assessment, compared, cpu_seconds=cpu_seconds, command=command
        )
        write_json(run.path / "metrics.json", metrics)
        if keep is not None:
            write_json(keep, metrics)
        if until == "evaluate":
            return StudyResult(run, metrics, None)
        insight = explain_study(definition, run, dataset, fits)
        write_json(run.path / "explain.json", insight.to_json(), indent=None)  # mostly images
        if until == "explain":
            return StudyResult(run, metrics, None)
        from fivesigma.report import write_classification_report  # here, where figures are drawn

        facts = facts_of(definition, fits.scores, metrics)
        report = write_classification_report(
            run.path / "report.html",
            facts,
            dataset,
            fits.weight,
            fits.reweighting,
            assessment,
            insight,
            workers,
            compared,
        )
        write_json(run.path / "manifest.json", manifest_of(metrics, seconds=time.monotonic() - started))
    return StudyResult(run, metrics, report)


def run_flow(
    study: str | Path,
    *,
    inputs: Mapping[str, str] | None = None,
    output: str | Path | None = None,
    seed: int | None = None,
    workers: int = 2,
    keep: Path | None = None,
    command: str | None = None,
) -> StudyResult:
    """Run a study whose YAML names another flow than classification; see :func:`run_study` for the parameters.

    ``inputs`` are for flows that read a file, their word ``sample``: another one, as ``{"sample": file}``.
    """
    content, path = read_study(study)
    flow = find_flow(str(content.get("flow")))
    if inputs and (set(inputs) != {"sample"} or "sample" not in flow.words.model_fields):
        takes = "takes --input sample=FILE" if "sample" in flow.words.model_fields else "has no inputs to choose"
        raise ConfigError(f"study {str(study)!r} {takes}, got {', '.join(inputs)}")
    content = {**content, **(inputs or {}), **({} if seed is None else {"seed": seed})}
    words = parse_words(flow.words, content, str(path))
    run = RunDirectory.create(output or Path("runs") / words.study)
    with run.lock():
        started, cpu = time.monotonic(), _cpu_seconds()
        write_json(run.path / "study.json", words.model_dump(mode="json"))
        result = flow.run(words, run, workers=workers)
        metrics = flow_metrics(words, result, cpu_seconds=_cpu_seconds() - cpu, command=command)
        write_json(run.path / "metrics.json", metrics)
        if keep is not None:
            write_json(keep, metrics)
        write_json(run.path / "manifest.json", manifest_of(metrics, seconds=time.monotonic() - started))
    return StudyResult(run, metrics, result.report)


def flow_name(study: str | Path) -> str:
    """What kind of study a YAML describes: "classification" unless it says otherwise."""
    return str(read_study(study)[0].get("flow", "classification"))


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@contextmanager
def open_run(
    study: str | Path | StudyDefinition,
    inputs: Mapping[str, str] | None = None,
    output: str | Path | None = None,
    models: Sequence[str] | None = None,
    seed: int | None = None,
    check_options: bool = True,
) -> Iterator[tuple[StudyDefinition, RunDirectory]]:
    """The checked definition and the locked run directory, with the definition written into it as ``study.json``."""
    definition = resolve_study(study, inputs, models, seed, check_options)
    run = RunDirectory.create(output or Path("runs") / definition.study)
    if not Ranks.current().first:  # under torchrun: the first rank holds the lock and writes
        yield definition, run
        return
    with run.lock():
        write_json(run.path / "study.json", definition.model_dump(mode="json"))
        yield definition, run


def convert_study(definition: StudyDefinition, run: RunDirectory, engine: Engine | None = None) -> Dataset:
    """Read, select, label, weight and split the events into ``<run>/dataset/<hash>``; kept if nothing changed."""
    ranks = Ranks.current()
    if not ranks.first:
        return Dataset.open(ranks.from_first(""), verify=False)  # the first has verified it
    dataset = _converted(definition, run, engine)
    ranks.from_first(str(dataset.path))
    return dataset


def _converted(
    definition: StudyDefinition, run: RunDirectory, engine: Engine | None, unlabelled: bool = False
) -> Dataset:
    conversion = conversion_of(definition).model_copy(update={"unlabelled": unlabelled})
    found = scan_inputs(conversion, engine)
    return convert(conversion, run.path / "dataset" / found.config_hash[:16], found, engine=engine)


def plan_study(definition: StudyDefinition, engine: Engine | None = None) -> ConversionPlan:
    """What `convert_study` would read and write; nothing is written."""
    return plan_conversion(scan_inputs(conversion_of(definition), engine))


def conversion_of(definition: StudyDefinition) -> Conversion:
    """The conversion that a study asks for: all columns that its models see, and those that it looks at otherwise."""
    shown = [name for words in definition.inputs.values() for name in FEATURES[words.features](**words.options).inputs]
    judged = [*definition.explain.variables, *definition.evaluate.bins, *definition.observers]
    judged += definition.reweight.variables if definition.reweight else ()
    judged += [*definition.evaluate.nuisances, *definition.evaluate.flatness, *definition.evaluate.sculpting]
    judged += [
        *columns_for_variations(definition),
        *(definition.evaluate.data.variables if definition.evaluate.data else ()),
    ]
    models = definition.models.values()
    judged += [name for model in models for name in (*model.nuisances, model.domain) if name is not None]
    judged += [name for model in models for name in learnt_columns(model.estimator, model.options)]
    chosen = [model.train_on for model in models if model.train_on is not None]
    for expression in [*definition.evaluate.restricted.values(), *definition.explain.windows.values(), *chosen]:
        judged += sorted(Expression(expression).columns)
    return Conversion(
        samples=tuple(
            Sample(
                name=name,
                files=input_files(words),
                tree=words.tree,
                label=words.label,
                weight=words.weight,
                entries=words.entries,
            )
            for name, words in definition.samples.items()
        ),
        selection=definition.selection,
        new_variables=definition.new_variables,
        columns=tuple(dict.fromkeys(shown)),
        observers=tuple(name for name in dict.fromkeys(judged) if name not in shown),
        label=definition.labels,
        weight=definition.weights,
        identity=definition.identity,
        row=definition.row or definition.identity,
        n_folds=definition.folds,
        nan=definition.nan,
        missing=definition.missing,
        missing_policy=definition.missing_policy,
        dtypes=definition.dtypes,
        max_loss=definition.max_loss,
        manifest=definition.manifest,
        remote=None if definition.remote is None else RemoteOptions(**definition.remote.model_dump()),
    )


def fit_study(definition: StudyDefinition, run: RunDirectory, dataset: Dataset, *, workers: int = 2) -> Fits:
    """Reweight, then fit every model on every fold; what is already fitted with the same inputs is kept."""
    weight, reweighting = reweighted(definition, dataset)
    for model in definition.models.values():
        require_known(dataset, model.nuisances, definition.missing)
    recipes = recipes_of(definition)
    scores = cross_validate(dataset, weight, recipes, run.path / "models", n_folds=definition.folds, workers=workers)
    return Fits(weight, reweighting, scores)


def reweighted(definition: StudyDefinition, dataset: Dataset) -> tuple[NDArray[np.float64], Reweighting | None]:
    """The weights (event,) that models are fitted and judged with."""
    if (words := definition.reweight) is None:
        return dataset.weight, None
    variables = {name: np.asarray(dataset.column(name)) for name in words.variables}
    y, weight, fold = dataset.y, dataset.weight, dataset.fold
    reweighting: Reweighting
    if words.method == "boosted":
        reweighting = reweight_boosted(variables, y, weight, fold, to_class=words.to, options=words.options)
    else:
        own = fold if words.out_of_fold else None
        reweighting = reweight(variables, y, weight, bins=words.bins, mode=words.mode, to_class=words.to, fold=own)
    reweighting = with_separation(reweighting, variables, y, weight)
    return reweighting.weight, reweighting


def recipes_of(definition: StudyDefinition) -> list[Recipe]:
    """What is to be fitted, one recipe a model."""
    return [
        Recipe(
            name=name,
            estimator=model.estimator,
            options=model.options,
            features=definition.features_of(model)[0],
            feature_options=definition.features_of(model)[1],
            scores=model.scores,
            weight_policy=model.weight_policy,
            seed=definition.seed,
            nuisances=model.nuisances,
            domain=model.domain,
            train_on=model.train_on,
            warm_start=model.warm_start,
            stream=model.stream,
        )
        for name, model in definition.models.items()
    ]


def evaluate_study(
    definition: StudyDefinition, run: RunDirectory, dataset: Dataset, fits: Fits, engine: Engine | None = None
) -> Assessment:
    """Measure every model on its out-of-fold scores, with uncertainties, under variations, and against each other."""
    words = definition.evaluate
    train, validation, test = train_validation_test(dataset.fold, 0, definition.folds)
    models = {
        name: ScoredModel(
            scores.out_of_fold(dataset.fold),
            scores.by_fold[0],
            validation if definition.models[name].scores else train,
            test,
        )
        for name, scores in fits.scores.items()
    }
    yields = words.yields
    questions = Questions(
        metrics=words.metrics,
        bins={name: (np.asarray(dataset.column(name)), edges) for name, edges in words.bins.items()},
        restricted={name: _passing(dataset, expression) for name, expression in words.restricted.items()},
        variables={name: np.asarray(dataset.column(name)) for name in definition.explain.variables},
        expectation=Expectation(yields.signal, yields.background, yields.background_uncertainty),
        systematics=_systematics(definition, run, dataset, fits, engine),
        replicas=words.replicas,
        seed=definition.seed,
    )
    return assess(models, dataset.y, fits.weight, dataset.event, questions)


def _systematics(
    definition: StudyDefinition, run: RunDirectory, dataset: Dataset, fits: Fits, engine: Engine | None
) -> SystematicQuestions:
    words = definition.evaluate
    require_known(dataset, (*words.nuisances, *words.flatness, *words.sculpting), definition.missing)
    columns = {name: np.asarray(dataset.column(name)) for name in (*words.nuisances, *words.flatness, *words.sculpting)}
    nominal = _nominal(run, dataset, fits)
    return SystematicQuestions(
        significance=words.significance,
        variations=varied_events(definition, nominal, lambda d, data: _converted(d, run, engine, data)),
        nuisances={name: columns[name] for name in words.nuisances},
        flatness={name: columns[name] for name in words.flatness},
        sculpting={name: columns[name] for name in words.sculpting},
        working_points=words.working_points,
        calibrate=words.calibrate,
        fold=dataset.fold,
    )


def compare_study_with_data(
    definition: StudyDefinition, run: RunDirectory, dataset: Dataset, fits: Fits, engine: Engine | None = None
) -> DataComparison | None:
    """Data beside simulation, in variables and scores; None where the study has no data."""
    nominal = _nominal(run, dataset, fits)
    return compare_with_data(definition, nominal, lambda d, data: _converted(d, run, engine, data))


def _nominal(run: RunDirectory, dataset: Dataset, fits: Fits) -> Nominal:
    scores = {name: scores.out_of_fold(dataset.fold) for name, scores in fits.scores.items()}
    return Nominal(dataset, fits.weight, fits.reweighting, scores, run.path / "models")


def explain_study(definition: StudyDefinition, run: RunDirectory, dataset: Dataset, fits: Fits) -> Insight:
    """Look inside: out-of-fold scores of all events, and the models of the first fold with events they have not seen."""
    from fivesigma.explain import look_inside

    words = definition.explain
    some = slice(0, None) if len(dataset) <= words.max_events else slice(0, None, -(-len(dataset) // words.max_events))
    return look_inside(
        {name: load_fold_model(run.path / "models" / name, 0)[1:] for name in words.models},
        columns={name: column[some] for name, column in dataset.columns.items()},
        y=dataset.y[some],
        weight=fits.weight[some],
        event=dataset.event[some],
        scores={name: fits.scores[name].out_of_fold(dataset.fold)[some] for name in words.models},
        unseen=dataset.fold[some] == 0,
        variables=words.variables,
        windows={name: _passing(dataset, expression)[some] for name, expression in words.windows.items()},
        seed=definition.seed,
    )


def _passing(dataset: Dataset, expression: str) -> NDArray[np.bool_]:
    """The events that pass an expression, shape (event,)."""
    parsed = Expression(expression)
    passed: NDArray[np.bool_] = np.asarray(
        parsed.evaluate({name: dataset.column(name) for name in parsed.columns}), bool
    )
    return passed
