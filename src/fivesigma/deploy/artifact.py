"""``Artifact``: a folder with an export, its manifest, and the inputs and scores that prove it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, OutputError
from fivesigma.core.integrity import write_json
from fivesigma.core.jagged import Columns
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.parity import Proof
from fivesigma.deploy.target import TARGETS, Predictor
from fivesigma.features.contract import column_of

FORMAT = 1
"""Of the manifest."""
MANIFEST = "manifest.json"
PROOF = "proof"
COLUMNS = "inputs.npz"
"""Inputs of the proof of a model of jagged columns; of others they are ``inputs.npy``."""


@dataclass(frozen=True)
class Artifact:
    """An export on disk; ``manifest`` says what it is, ``predict`` uses it."""

    folder: Path
    manifest: Mapping[str, Any]
    predictor: Predictor

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return tuple(feature["name"] for feature in self.manifest["features"])

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Scores of events given by name, of shape (event,); their order does not matter.

        Raises
        ------
        FeatureError
            if a column is missing, with the nearest name.
        """
        if any(feature.get("jagged") for feature in self.manifest["features"]):
            return self.predictor.predict(EventColumns({name: column_of(columns, name) for name in self.inputs}))
        values = np.stack([np.asarray(column_of(columns, name), dtype=np.float64) for name in self.inputs], axis=1)
        return self.predictor.predict(values)


def load_artifact(folder: str | Path) -> Artifact:
    """Open an artefact whose files are those of its manifest; `fivesigma.deploy.verify` repeats the whole proof.

    A target in C is compiled by the system's compiler and loaded: open only what you would compile yourself.

    Raises
    ------
    ArtifactError
        if it is damaged, incomplete or changed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if damage := damaged_files(folder, manifest):
        raise ArtifactError("\n".join(damage))
    predictor = open_predictor(folder, manifest)
    return Artifact(folder, manifest, predictor)


def open_predictor(folder: Path, manifest: Mapping[str, Any]) -> Predictor:
    """The target's own reader; its feature names must be those of the manifest."""
    predictor: Predictor = TARGETS[manifest["target"]].open(folder, manifest["name"], manifest["details"])
    stated = tuple(feature["name"] for feature in manifest["features"])
    if predictor.inputs != stated:
        raise ArtifactError(
            f"the features of {folder} are {', '.join(predictor.inputs)}, but its manifest says {', '.join(stated)}"
        )
    return predictor


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, if it is as it was written.

    Raises
    ------
    ArtifactError
        if it is missing, of another format, or changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder} is no artefact: cannot read {path}: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path} is of another format than {FORMAT}; export the model again")
    if manifest.get("digest") != _digest(manifest):
        raise ArtifactError(f"{path} was changed by hand or damaged: its digest is not the one that it states")
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write it, with the digests of all files and of itself."""
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    content = {"format": FORMAT, **manifest, "files": files}
    write_json(folder / MANIFEST, {**content, "digest": _digest(content)})


def damaged_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each file that is missing or changed."""
    found = []
    for name, stated in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.stat().st_size != stated["bytes"]:
            found.append(f"{path} was changed: it has {path.stat().st_size:,} bytes, expected {stated['bytes']:,}")
        elif sha256(path) != stated["sha256"]:
            found.append(f"{path} was changed: its sha256 is {sha256(path)}, expected {stated['sha256']}")
    return found


def write_proof(folder: Path, proof: Proof) -> None:
    """Inputs and expected answers, as NumPy's plain arrays."""
    (folder / PROOF).mkdir()
    if isinstance(proof.inputs, EventColumns):
        proof.inputs.save(folder / PROOF / COLUMNS)
    else:
        np.save(folder / PROOF / "inputs.npy", proof.inputs, allow_pickle=False)
    for output, values in proof.expected.items():
        np.save(folder / PROOF / f"{output}.npy", values, allow_pickle=False)


def read_proof(folder: Path, manifest: Mapping[str, Any]) -> Proof:
    """What ``write_proof`` wrote."""
    stated = manifest["proof"]
    try:
        jagged = folder / PROOF / COLUMNS
        inputs = (
            EventColumns.load(jagged)
            if jagged.is_file()
            else np.load(folder / PROOF / "inputs.npy", allow_pickle=False)
        )
        expected = {
            output: np.load(folder / PROOF / f"{output}.npy", allow_pickle=False) for output in stated["outputs"]
        }
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error, KeyError) as error:
        raise ArtifactError(f"cannot read the proof of {folder}: {error}") from error
    return Proof(inputs, expected, stated["inputs"])


def sha256(path: Path) -> str:
    """Of a file's bytes, with bounded memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name on success and is removed on failure.

    Raises
    ------
    OutputError
        if ``folder`` is there already, or cannot be made.
    """
    if folder.exists():
        raise OutputError(f"{folder} is there already; choose another with --output, or remove it")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.partial")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; choose another with --output") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _digest(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
