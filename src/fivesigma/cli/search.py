"""``fivesigma search``: hyper-parameters of one model of a study."""

from __future__ import annotations

from typing import Annotated

import typer

from fivesigma.cli.options import (
    DEADLINE_S,
    RETRIES,
    Inputs,
    Json,
    Output,
    Quiet,
    Seed,
    Study,
    command_line,
    engine_of,
    parse_inputs,
    print_json,
    print_table,
    shown_progress,
)


def search(
    study: Study,
    model: Annotated[str, typer.Argument(help="a model of the study that has `search` ranges")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="sets of parameters to try, all runs together")] = 30,
    turns: Annotated[
        int | None, typer.Option("--turns", min=1, help="folds that judge each trial [default: all but the first]")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="what is to be large")] = "auc",
    inputs: Inputs = None,
    output: Output = None,
    seed: Seed = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Search a model's hyper-parameters; interrupted or asked for more trials, the same command goes on."""
    from fivesigma.search import search_study

    with shown_progress(quiet):
        found = search_study(
            study,
            model,
            trials=trials,
            turns=turns,
            metric=metric,
            inputs=parse_inputs(inputs),
            output=output,
            seed=seed,
            engine=engine_of(1, None, DEADLINE_S, RETRIES),
            command=command_line(),
        )
    if json:
        print_json(found.content)
        return
    print_table(found.rows())
    gain, unseen = found.content["gain"], found.content["gain_on_unseen_fold"]
    print(f"gain: {gain['value']:+.4f} on the judged folds, {found.content['gain_per_cpu_hour']:+.3g} per CPU-hour")
    if unseen is not None:
        difference = unseen["difference"]
        print(f"gain on the unseen fold: {difference['value']:+.4f} ± {difference['uncertainty']:.4f}")
    print(f"report: {found.report.resolve()}")
