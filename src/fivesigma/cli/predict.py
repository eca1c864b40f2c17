"""``fivesigma predict``: scores for other files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivesigma.cli.options import (
    DEADLINE_S,
    RETRIES,
    Deadline,
    Quiet,
    Retries,
    Scheduler,
    Workers,
    engine_of,
    shown_progress,
)


def predict(
    run_directory: Annotated[Path, typer.Argument(help="a finished run, for example runs/w-tagging")],
    files: Annotated[list[str], typer.Argument(help="files, globs or folders to score")],
    output: Annotated[Path, typer.Option("--output", help="the ROOT file of scores to write")],
    model: Annotated[list[str] | None, typer.Option("--model", help="only these models; may be repeated")] = None,
    tree: Annotated[str | None, typer.Option("--tree", help="the tree to read, if not the study's")] = None,
    workers: Workers = 2,
    scheduler: Scheduler = None,
    deadline: Deadline = DEADLINE_S,
    retries: Retries = RETRIES,
    quiet: Quiet = False,
) -> None:
    """Score every event of other files, in their order and number, by models that have not seen it."""
    from fivesigma.predict import predict_study

    with shown_progress(quiet):
        engine = engine_of(workers, scheduler, deadline, retries)
        events = predict_study(run_directory, files, output, models=model, tree=tree, engine=engine)
    print(f"{events:,} events scored: {output.resolve()}")
