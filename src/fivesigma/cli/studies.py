"""``fivesigma studies``: what can be run, and the words it is written in."""

from __future__ import annotations

import typer

from fivesigma.cli.options import Json, print_json, print_table

app = typer.Typer(
    help="List the studies that ship with the package; show one; print the schema.", rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
def studies(context: typer.Context) -> None:
    """List the studies that ship with the package."""
    from fivesigma.studies import packaged_studies, read_study

    if context.invoked_subcommand is None:
        contents = [read_study(name)[0] for name in packaged_studies()]
        print_table([{key: content.get(key) or "" for key in ("study", "title", "reference")} for content in contents])


@app.command("show")
def show(study: str) -> None:
    """Print a study's YAML, to start another from."""
    from fivesigma.studies import read_study

    print(read_study(study)[1].read_text(encoding="utf-8"), end="")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of a study's YAML, for editors."""
    from fivesigma.studies import StudyDefinition

    print_json(StudyDefinition.model_json_schema())


@app.command("estimators")
def estimators() -> None:
    """List the estimators, with their options and defaults."""
    from fivesigma.learn import ESTIMATORS

    rows = []
    for name in ESTIMATORS:
        options = ESTIMATORS[name]().get_params(deep=False)
        rows.append(
            {"estimator": name, "options": ", ".join(f"{key}={value!r}" for key, value in sorted(options.items()))}
        )
    print_table(rows)


@app.command("layers")
def layers(json: Json = False) -> None:
    """List what declared networks are made of: layers with their shapes, initialisations, losses, optimisers, schedules."""
    from fivesigma.learn.vocabulary import vocabulary

    if json:
        print_json(vocabulary())
    else:
        print_table(vocabulary())
