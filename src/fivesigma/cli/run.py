"""``run`` and the stages of it after ``convert``: ``fit``, ``evaluate``, ``explain``, ``report``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivesigma.cli.options import (
    DEADLINE_S,
    RETRIES,
    Inputs,
    Json,
    Models,
    Output,
    Quiet,
    Seed,
    Study,
    Workers,
    command_line,
    engine_of,
    parse_inputs,
    print_json,
    print_table,
    shown_progress,
)

if TYPE_CHECKING:
    from fivesigma.study import StudyResult


def run(
    study: Study,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    seed: Seed = None,
    workers: Workers = 2,
    keep: Annotated[Path | None, typer.Option("--keep", help="also write the results to this JSON file")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Do everything: from input files to report.html."""
    result = _run_until(
        "report", quiet, study, inputs, models=models, output=output, seed=seed, workers=workers, keep=keep
    )
    _print_results(result, json)
    if not json:
        print(f"report: {(result.run.path / 'report.html').resolve()}")


def fit(
    study: Study,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    seed: Seed = None,
    workers: Workers = 2,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Fit every model of a study on every fold; print what each cost. Under torchrun, networks on all ranks together."""
    from fivesigma.learn.distributed import process_group
    from fivesigma.results import cost_rows
    from fivesigma.study import convert_study, fit_study, open_run

    with ExitStack() as stack:
        ranks = stack.enter_context(process_group())
        stack.enter_context(shown_progress(quiet or not ranks.first))
        definition, directory = stack.enter_context(open_run(study, parse_inputs(inputs), output, models, seed))
        engine = engine_of(workers, None, DEADLINE_S, RETRIES)
        fits = fit_study(definition, directory, convert_study(definition, directory, engine), workers=workers)
    if not ranks.first:
        return
    if json:
        print_json(cost_rows(fits.scores))
    else:
        print_table(cost_rows(fits.scores))


def evaluate(
    study: Study,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    seed: Seed = None,
    workers: Workers = 2,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a study's models, with uncertainties; print the table of results."""
    result = _run_until("evaluate", quiet, study, inputs, models=models, output=output, seed=seed, workers=workers)
    _print_results(result, json)


def explain(
    study: Study,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    seed: Seed = None,
    workers: Workers = 2,
    quiet: Quiet = False,
) -> None:
    """Look inside a study's models; write ``explain.json`` into the run directory."""
    result = _run_until("explain", quiet, study, inputs, models=models, output=output, seed=seed, workers=workers)
    print(f"explained: {(result.run.path / 'explain.json').resolve()}")


def report(
    study: Study,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    seed: Seed = None,
    workers: Workers = 2,
    quiet: Quiet = False,
) -> None:
    """Write a study's report from what is already fitted (what is missing is made first)."""
    result = _run_until("report", quiet, study, inputs, models=models, output=output, seed=seed, workers=workers)
    print(f"report: {(result.run.path / 'report.html').resolve()}")


def _run_until(until: Any, quiet: bool, study: str, inputs: list[str] | None, **options: Any) -> StudyResult:
    from fivesigma.study import run_study

    with shown_progress(quiet):
        return run_study(study, inputs=parse_inputs(inputs), until=until, command=command_line(), **options)


def _print_results(result: StudyResult, json: bool) -> None:
    if json:
        print_json(result.metrics)
    else:
        print_table(result.rows())


VERBS = (fit, evaluate, explain, report, run)
