"""``fivesigma``: the verbs put together, errors in words, exit status non-zero on any failure."""

from __future__ import annotations

import sys

import typer

from fivesigma.cli import convert, export, inspect, predict, run, search, simulate, studies, verify
from fivesigma.core.errors import FivesigmaError

app = typer.Typer(
    name="fivesigma",
    help="From ROOT files to a physics-validated classifier, with every event accounted for.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("simulate")(simulate.simulate)
app.command("inspect")(inspect.inspect)
app.command("convert")(convert.convert)
for verb in run.VERBS:
    app.command(verb.__name__)(verb)
app.command("predict")(predict.predict)
app.command("search")(search.search)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.add_typer(studies.app, name="studies")


def main() -> None:
    """Run the command; a :class:`FivesigmaError` is printed without a traceback."""
    try:
        app()
    except FivesigmaError as error:
        print(f"fivesigma: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
