"""A fitted model on disk: ``model.json`` says what it is, ``arrays.safetensors`` holds its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as dump_tensors

from fivesigma.core.errors import ModelError
from fivesigma.core.integrity import atomic_path, file_digest, write_json

Arrays = dict[str, NDArray[Any]]


def write_model(folder: Path, estimator: str, content: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays first, then ``model.json`` with their digest, so that a folder with ``model.json`` is complete.

    Raises
    ------
    OutputError
        if the folder cannot be written.
    """
    path = Path(folder) / "arrays.safetensors"
    with atomic_path(path) as temporary:
        temporary.write_bytes(dump_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    write_json(
        Path(folder) / "model.json", {"estimator": estimator, "files": {path.name: file_digest(path)}, **content}
    )


def read_model(folder: Path, estimator: str) -> tuple[dict[str, Any], Arrays]:
    """Read what ``write_model`` wrote.

    Raises
    ------
    ModelError
        if a file is missing, damaged (its xxh3 differs from the one in ``model.json``) or of another estimator.
    """
    return _with_arrays(read_model_json(folder, estimator), folder)


def read_any_model(folder: Path) -> tuple[dict[str, Any], Arrays]:
    """As ``read_model``, of whatever estimator that keeps arrays: ``"estimator"`` of the content says which."""
    return _with_arrays(read_model_json(folder, None), folder)


def _with_arrays(content: dict[str, Any], folder: Path) -> tuple[dict[str, Any], Arrays]:
    path = Path(folder) / "arrays.safetensors"
    try:
        return content, load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error


def read_model_json(folder: Path, estimator: str | None) -> dict[str, Any]:
    """Read ``model.json`` and verify the files that it lists; see ``read_model``. None: of any estimator."""
    path = Path(folder) / "model.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the model {path}: {error}") from error
    if estimator is not None and content.get("estimator") != estimator:
        raise ModelError(f"{path} holds a model {content.get('estimator')!r}, expected {estimator!r}")
    for name, digest in content["files"].items():
        file = path.parent / Path(name).name
        if not file.is_file():
            raise ModelError(f"the model file {file} is missing")
        if file_digest(file) != digest:
            raise ModelError(f"the model file {file} is damaged: its xxh3 is {file_digest(file)}, expected {digest}")
    return content
