"""``fivesigma verify``: the proof of an export, again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivesigma.cli.export import Feature, Fold, Model
from fivesigma.cli.options import Json, print_json


def verify(
    artefact: Annotated[Path, typer.Argument(help="a folder that `fivesigma export` wrote")],
    source: Annotated[
        Path | None, typer.Option("--against", help="also the trained model: run directory, model or estimator folder")
    ] = None,
    model: Model = None,
    fold: Fold = 0,
    feature: Feature = None,
    json: Json = False,
) -> None:
    """Repeat the proof of an export, here and now, and say in words what differs."""
    from fivesigma.deploy import load_model
    from fivesigma.deploy import verify as verify_artifact

    trained = None if source is None else load_model(source, model=model, fold=fold, inputs=feature)
    found = verify_artifact(artefact, trained)
    if json:
        worst = {d.output: {"worst": d.worst, "tolerance": d.tolerance} for d in found.differences}
        print_json(
            {"artefact": str(found.folder), "inputs": found.inputs, "outputs": worst, "notes": list(found.notes)}
        )
        return
    print(f"{found.folder}: every file as written, same scores for {found.inputs:,} inputs")
    for d in found.differences:
        print(f"  {d.output}: worst difference {d.worst:.3g}, tolerance {d.tolerance:.3g}")
    for note in found.notes:
        print(f"  {note}")
