"""``verify``: repeat the proof of an artefact, later or elsewhere, and say in words what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fivesigma.core.errors import ArtifactError, FivesigmaError, ParityError
from fivesigma.deploy.artifact import damaged_files, open_predictor, read_manifest, read_proof
from fivesigma.deploy.compiler import Compiler
from fivesigma.deploy.parity import Difference, compare
from fivesigma.deploy.target import TARGETS
from fivesigma.deploy.trained_model import TrainedModel


@dataclass(frozen=True)
class Verification:
    """What was repeated, all of it in agreement."""

    folder: Path
    inputs: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def verify(folder: str | Path, model: TrainedModel | None = None) -> Verification:
    """Check every file of an artefact, its libraries and its scores; with the trained model, that it still is this model.

    Raises
    ------
    ParityError
        if it scores otherwise than when it was written, or than ``model``; with all else that differs.
    ArtifactError
        if only files, features or versions differ.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = damaged_files(folder, manifest) + _old_libraries(manifest["libraries"])
    differences: list[Difference] = []
    wrong: list[str] = []
    inputs = 0
    try:
        proof = read_proof(folder, manifest)
        inputs = len(proof.inputs)
        tolerances = {output: found["tolerance"] for output, found in manifest["proof"]["outputs"].items()}
        names = [feature["name"] for feature in manifest["features"]]
        answers = open_predictor(folder, manifest).answers(proof.inputs)
        differences = compare(proof.expected, answers, tolerances)
        wrong = [found.sentence(names, proof.inputs) for found in differences if not found.within]
        if model is not None:
            problems += _model_changed(manifest, model)
        if model is not None and not problems:
            target = TARGETS[manifest["target"]].from_options(manifest["options"])
            target.check_all(model, folder, manifest["name"], manifest["details"])
    except ParityError as error:
        wrong.append(str(error))
    except FivesigmaError as error:
        problems.append(str(error))
    if problems or wrong:
        raise (ParityError if wrong else ArtifactError)("\n".join([*problems, *wrong]))
    return Verification(folder, inputs, tuple(differences), tuple(_notes(manifest)))


def _old_libraries(stated: Mapping[str, str]) -> list[str]:
    found = []
    for package, version in stated.items():
        try:
            here = metadata.version(package)
        except metadata.PackageNotFoundError:
            found.append(f"{package} is not installed; the artefact was proved with {version}")
            continue
        if _parts(here) < _parts(version):
            found.append(f"{package} {here} is older than {version}, with which the artefact was proved")
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _model_changed(manifest: Mapping[str, Any], model: TrainedModel) -> list[str]:
    """What of the model is not what was exported: features one by one, then anything else."""
    found = []
    stated = {feature["name"]: feature for feature in manifest["features"]}
    now = {feature["name"]: feature for feature in model.described()}
    if list(stated) != list(now):
        found.append(f"the model's features are {', '.join(now)}; the artefact's are {', '.join(stated)}")
    found += [
        f"feature {name!r}: {word} is {now[name].get(word)!r} in the model, {stated[name].get(word)!r} in the artefact"
        for name in sorted(stated.keys() & now.keys())
        for word in sorted(stated[name].keys() | now[name].keys())
        if stated[name].get(word) != now[name].get(word)
    ]
    if manifest["model"]["digest"] != model.digest and not found:
        found.append(
            f"the model was fitted again: its digest is {model.digest}, exported was {manifest['model']['digest']}"
        )
    return found


def _notes(manifest: Mapping[str, Any]) -> list[str]:
    """What differs here without any harm."""
    notes = []
    if (here := Compiler.find().version) != manifest["compiler"]:
        notes.append(f"compiled by {here}, exported with {manifest['compiler']}: same scores")
    for package, version in manifest["libraries"].items():
        if (here := metadata.version(package)) != version:
            notes.append(f"{package} {here} here, {version} when it was exported: same scores")
    return notes
