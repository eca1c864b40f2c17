"""``fivesigma simulate``: samples made with real generators."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fivesigma.cli.options import Json, Quiet, Workers, command_line, print_json, shown_progress
from fivesigma.core.errors import ConfigError

PileUp = Annotated[float | None, typer.Option("--pile-up", help="mean number of further collisions [default: 50]")]
Pool = Annotated[int | None, typer.Option("--pool", min=1, help="soft-QCD events they are taken from [default: 1000]")]


def simulate(
    name: Annotated[str, typer.Argument(help="what to simulate; an unknown name lists the known ones")],
    output: Annotated[Path, typer.Option("--output", help="the ROOT file to write")],
    n_signal: Annotated[int, typer.Option("--n-signal", min=1, help="signal jets or events")] = 10_000,
    n_background: Annotated[int, typer.Option("--n-background", min=1, help="background jets or events")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed gives the same content")] = 1,
    workers: Workers = 2,
    file_format: Annotated[Literal["ttree", "rntuple"], typer.Option("--format", help="ROOT container")] = "ttree",
    multiparton: Annotated[
        bool | None, typer.Option("--multiparton/--no-multiparton", help="multi-parton interactions [default: on]")
    ] = None,
    pile_up: PileUp = None,
    pool: Pool = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a sample (most with Pythia 8 and FastJet, extra `sim`); an interrupted one goes on when called again."""
    from fivesigma.simulate import SIMULATIONS

    make = SIMULATIONS[name]
    special = {"multiparton": multiparton, "pile_up": pile_up, "pool": pool}
    with shown_progress(quiet):
        result = make(
            output,
            n_signal=n_signal,
            n_background=n_background,
            seed=seed,
            file_format=file_format,
            command=command_line(),
            **({"workers": workers} if "workers" in inspect.signature(make).parameters else {}),
            **_of_this_simulation(name, make, special),
        )
    if json:
        print_json(result.to_json())
    else:
        print(f"written: {output.resolve()}")


def _of_this_simulation(name: str, make: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, which not every simulation has."""
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - inspect.signature(make).parameters.keys():
        raise ConfigError(f"simulate {name} has no option --{option.replace('_', '-')}")
    return given
