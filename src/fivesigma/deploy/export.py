"""``export``: write a model in another form, and refuse to if it is not the same model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from fivesigma.core.errors import FeatureError, ParityError
from fivesigma.core.progress import say
from fivesigma.core.provenance import provenance
from fivesigma.deploy.artifact import Artifact, new_folder, open_predictor, read_manifest, write_manifest, write_proof
from fivesigma.deploy.c_source import identifier
from fivesigma.deploy.compiler import Compiler
from fivesigma.deploy.jagged_model import JaggedModel
from fivesigma.deploy.parity import Proof, compare
from fivesigma.deploy.target import Target
from fivesigma.deploy.trained_model import TrainedModel


def export(
    model: TrainedModel,
    target: Target,
    folder: str | Path,
    *,
    name: str | None = None,
    seed: int = 1,
    command: str | None = None,
) -> Artifact:
    """Write ``model`` as ``target`` into a new ``folder``, with its manifest and its proof.

    The folder appears only when what was written, read again and used, gives the answers of the trained model, by its own
    library, for recorded, random and adversarial inputs; tables for each of their cells.

    Parameters
    ----------
    model, target
        what, and as what; see `TrainedModel.load` and ``TARGETS``.
    name
        what files and names in C start with, if not the model's name.
    seed
        of the random inputs.
    command
        the command line, for the manifest.

    Raises
    ------
    FeatureError
        if the target does not take models of jagged columns, and this is one.
    ParityError
        if any answer differs by more than the target's tolerance; nothing is written.
    OutputError
        if the folder is there already or cannot be written.
    """
    if isinstance(model, JaggedModel) and not target.takes_jagged:
        raise FeatureError(
            f"model {model.name!r} sees jagged columns; the target {target.kind!r} takes models that see one number an "
            "event and column (features 'tabular')"
        )
    folder, name = Path(folder), identifier(name or model.name)
    with new_folder(folder) as temporary:
        written = target.write(model, temporary, name, seed)
        inputs, kinds = written.inputs
        proof = Proof(inputs, written.expected(inputs), kinds)
        target.write_test(model, temporary, name, proof)
        write_proof(temporary, proof)
        manifest: dict[str, Any] = {
            "target": target.kind,
            "name": name,
            "model": {
                "name": model.name,
                "estimator": model.kind,
                "source": model.source,
                "digest": model.digest,
            },
            "features": model.described(),
            "options": asdict(target),  # type: ignore[call-overload]
            "details": dict(written.details),
            "libraries": {package: metadata.version(package) for package in ("fivesigma", *written.libraries)},
            "compiler": Compiler.find().version,
            "made": provenance(seed, command),
        }
        predictor = open_predictor(temporary, manifest)
        differences = compare(proof.expected, predictor.answers(inputs), written.tolerances)
        if wrong := [d.sentence(model.inputs, inputs) for d in differences if not d.within]:
            raise ParityError(
                f"{target.kind} of {model.name!r} is not the model, and was not written: " + "; ".join(wrong)
            )
        complete = target.check_all(model, temporary, name, manifest["details"])
        manifest["proof"] = {
            "inputs": kinds,
            "outputs": {d.output: d.to_json(model.inputs, inputs) for d in differences},
            **complete,
        }
        write_manifest(temporary, manifest)
    for line in written.say:
        say(line)
    return Artifact(folder, read_manifest(folder), predictor)


def summary(artifact: Artifact) -> Sequence[str]:
    """What was written and proved, in lines."""
    proof = artifact.manifest["proof"]
    tried = ", ".join(f"{n:,} {kind}" for kind, n in proof["inputs"].items())
    lines = [f"{artifact.manifest['target']} of {artifact.manifest['model']['name']}: {artifact.folder}"]
    lines.append(f"compared with the model for {tried} inputs:")
    for output, found in proof["outputs"].items():
        lines.append(f"  {output}: worst difference {found['worst']:.3g}, tolerance {found['tolerance']:.3g}")
    return lines
