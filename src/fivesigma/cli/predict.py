"""``fivesigma predict``: scores for other files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivesigma.cli.options import (
    DEADLINE_S,
    RETRIES,
    Deadline,
    Json,
    Quiet,
    Retries,
    Scheduler,
    Workers,
    engine_of,
    print_json,
    shown_progress,
)


def predict(
    source: Annotated[Path, typer.Argument(help="a finished run (runs/w-tagging), or an artefact that `export` wrote")],
    files: Annotated[list[str], typer.Argument(help="files, globs or folders to score")],
    output: Annotated[Path | None, typer.Option("--output", help="one ROOT file for all scores")] = None,
    output_folder: Annotated[
        Path | None, typer.Option("--output-folder", help="or one ROOT file of scores for each input file, here")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="only these models; may be repeated")] = None,
    branch: Annotated[
        list[str] | None, typer.Option("--branch", help="a branch of the input to copy beside them; may be repeated")
    ] = None,
    tree: Annotated[str | None, typer.Option("--tree", help="the tree to read, if not the study's")] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="work in this process, in so many threads, instead of in --workers"),
    ] = None,
    workers: Workers = 2,
    scheduler: Scheduler = None,
    deadline: Deadline = DEADLINE_S,
    retries: Retries = RETRIES,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Score every entry of other files, in their order and number: a friend tree of each."""
    from fivesigma.core.errors import ConfigError
    from fivesigma.predict import Threads, predict_study

    with shown_progress(quiet):
        if threads is not None and scheduler is not None:
            raise ConfigError("--threads works in this process, --scheduler elsewhere: give one of them")
        engine = Threads(threads) if threads is not None else engine_of(workers, scheduler, deadline, retries)
        made = predict_study(
            source,
            files,
            output,
            output_folder=output_folder,
            models=model,
            tree=tree,
            branches=branch or (),
            engine=engine,
        )
    if json:
        print_json(made.to_json())
        return
    for file in made.files:
        bad = ", ".join(f"{n:,} scores of {name} not finite" for name, n in file.not_finite.items() if n)
        print(f"{file.input}: {file.entries:,} entries, {file.entries:,} scored{bad and '; ' + bad} → {file.output}")
    print(f"{made.entries:,} entries read, {made.entries:,} scored")
