"""``fivesigma export``: a trained model in another form, with its proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fivesigma.cli.options import Json, Quiet, command_line, print_json, shown_progress
from fivesigma.core.errors import ConfigError

Source = Annotated[
    Path, typer.Argument(help="a run directory, the folder of a model in it, or what an estimator's save wrote")
]
Model = Annotated[str | None, typer.Option("--model", help="which model of a run directory")]
Fold = Annotated[int, typer.Option("--fold", min=0, help="the model of which fold; it has not seen this fold's events")]
Feature = Annotated[
    list[str] | None,
    typer.Option("--feature", help="name of a column, in order, for an estimator saved alone; repeated"),
]


def export(
    source: Source,
    target: Annotated[str, typer.Argument(help="c, table, integer-table or onnx")],
    output: Annotated[Path, typer.Option("--output", help="the folder to write; it must not be there yet")],
    model: Model = None,
    fold: Fold = 0,
    feature: Feature = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="an option of the target, its value as YAML; may be repeated"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="what files and C names start with")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of the proof's random inputs")] = 1,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a trained model as C, as a table or as ONNX; refused unless it is proved to be the same model."""
    from fivesigma.deploy import TARGETS, TrainedModel, load_model
    from fivesigma.deploy import export as export_model
    from fivesigma.deploy.export import summary

    chosen = TARGETS[target].from_options(parse_settings(settings))
    load = load_model if chosen.takes_jagged else TrainedModel.load
    trained = load(source, model=model, fold=fold, inputs=feature)
    with shown_progress(quiet):
        artifact = export_model(trained, chosen, output, name=name, seed=seed, command=command_line())
    if json:
        print_json(artifact.manifest)
    else:
        print("\n".join(summary(artifact)))


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """``["layout=nested", "bins={mass: 20}"]`` → ``{"layout": "nested", "bins": {"mass": 20}}``."""
    import yaml

    found = {}
    for text in settings or ():
        option, separator, value = text.partition("=")
        try:
            found[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: the value is not YAML: {error}") from error
        if not (option and separator):
            raise ConfigError(f"--set {text!r}: expected OPTION=VALUE, for example --set layout=nested")
    return found
