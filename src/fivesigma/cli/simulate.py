"""``fivesigma simulate``: samples made with real generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fivesigma.cli.options import Json, Quiet, Workers, command_line, print_json, shown_progress


def simulate(
    name: Annotated[str, typer.Argument(help="what to simulate: w-tagging")],
    output: Annotated[Path, typer.Option("--output", help="the ROOT file to write")],
    n_signal: Annotated[int, typer.Option("--n-signal", min=1, help="signal jets")] = 10_000,
    n_background: Annotated[int, typer.Option("--n-background", min=1, help="background jets")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed gives the same content")] = 1,
    workers: Workers = 2,
    file_format: Annotated[Literal["ttree", "rntuple"], typer.Option("--format", help="ROOT container")] = "ttree",
    multiparton: Annotated[bool, typer.Option(help="multi-parton interactions")] = True,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a sample with Pythia 8 and FastJet (extra `sim`); an interrupted one goes on when called again."""
    from fivesigma.simulate import SIMULATIONS

    with shown_progress(quiet):
        result = SIMULATIONS[name](
            output,
            n_signal=n_signal,
            n_background=n_background,
            seed=seed,
            workers=workers,
            file_format=file_format,
            multiparton=multiparton,
            command=command_line(),
        )
    if json:
        print_json(result.to_json())
    else:
        print(f"written: {output.resolve()}")
