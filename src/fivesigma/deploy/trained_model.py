"""``TrainedModel``: a fitted learner with the features that it was fitted on, as one function of named columns."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FeatureError, ModelError, UnknownNameError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.core.integrity import content_hash, file_digest
from fivesigma.core.registry import unknown_name
from fivesigma.dataset import Dataset
from fivesigma.features import Tabular
from fivesigma.learn import load_fold_model

LARGEST = float(np.finfo(np.float64).max)
RECORDED = 20_000
"""The most recorded events that are read."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class TrainedModel:
    """One fitted learner and its features, with what a deployment must say about them.

    ``recorded`` are input values of real events (event, input), for proofs, bins and losses, with ``labels`` and
    ``weight`` (event,); empty if there are none.
    """

    name: str
    estimator: Any
    inputs: tuple[str, ...]
    features: Tabular | None = None  # None: the estimator takes the inputs as they are
    units: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    source: str = ""
    recorded: Float64 = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    labels: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8), repr=False)
    weight: Float64 = field(default_factory=lambda: np.empty(0), repr=False)

    @classmethod
    def load(
        cls, path: str | Path, *, model: str | None = None, fold: int = 0, inputs: Sequence[str] | None = None
    ) -> TrainedModel:
        """Read a model from disk.

        Parameters
        ----------
        path
            a run directory (with ``model``), the folder of a model in it (``runs/NAME/models/MODEL``), of one of its
            folds, or what an estimator's ``save`` wrote (with ``inputs``).
        model
            which model of a run directory.
        fold
            the model of which fold; it has not seen that fold's events.
        inputs
            names of the columns of X, for an estimator that was saved alone.

        Raises
        ------
        ModelError, UnknownNameError
            if there is no such model.
        FeatureError
            if it sees anything but one number an event and column (images, other models' scores).
        """
        found = folder_of_fold(Path(path), model, fold)
        return cls._alone(Path(path), inputs) if found is None else cls._of_fold(*found)

    @classmethod
    def _of_fold(cls, folder: Path, fold: int) -> TrainedModel:
        recipe, features, estimator = load_fold_model(folder, fold)
        if recipe.scores or not isinstance(features, Tabular):
            sees = f"the scores of {', '.join(recipe.scores)}" if recipe.scores else f"features {recipe.features!r}"
            raise FeatureError(
                f"model {recipe.name!r} sees {sees}; this target takes models that see one number an event and column "
                "(features 'tabular')"
            )
        run = folder.parent.parent
        return cls(
            recipe.name,
            estimator,
            features.inputs,
            features,
            units_of(run, features.inputs),
            model_digest(folder / f"fold-{fold}"),
            f"fold {fold} of {recipe.name}",
            *_recorded(run, folder / f"fold-{fold}", features.inputs),
        )

    @classmethod
    def _alone(cls, folder: Path, inputs: Sequence[str] | None) -> TrainedModel:
        content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        estimator = ESTIMATORS[str(content.get("estimator"))].load(folder)
        columns = int(content["n_features_in"])
        if inputs is None or len(inputs) != columns or len(set(inputs)) < columns:
            raise FeatureError(
                f"{folder} was fitted on {columns} unnamed columns; name each (--feature), got "
                f"{', '.join(inputs) if inputs else 'none'}"
            )
        return cls(folder.name, estimator, tuple(inputs), digest=model_digest(folder), source=str(content["estimator"]))

    @property
    def kind(self) -> str:
        """The estimator's registered name."""
        own = type(self.estimator)
        return next((name for name, known in ESTIMATORS.items() if known is own), own.__name__)

    def described(self) -> list[dict[str, Any]]:
        """Each input's name, unit and transform, as the manifest holds them."""
        scales = {} if self.features is None else self.features.to_json()["scales"] or {}
        scaling = "none" if self.features is None else self.features.scaling
        return [
            {"name": name, "unit": self.units.get(name, ""), "scaling": scaling, "scale": scales.get(name)}
            for name in self.inputs
        ]

    def scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """What the estimator sees of ``values`` (event, input).

        Beyond what the features take: NaN stays NaN, infinities are the largest numbers, and below zero the logarithm
        is continued by its value at zero.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.features is None:
            return values
        lowest = 0.0 if self.features.scaling == "log" else -LARGEST
        finite = np.clip(np.nan_to_num(values, nan=0.0, posinf=LARGEST, neginf=lowest), lowest, LARGEST)
        with np.errstate(over="ignore", under="ignore"):
            scaled = self.features.transform(dict(zip(self.inputs, finite.T, strict=True)))
        scaled[np.isnan(values)] = np.nan
        return scaled

    def probability(self, values: NDArray[Any]) -> Float64:
        """The learner's own answer for finite ``values`` (event, input): signal's probability, or what it regresses."""
        X = self.scaled(values)
        if hasattr(self.estimator, "predict_proba"):
            return np.asarray(self.estimator.predict_proba(X)[:, 1], dtype=np.float64)
        return np.asarray(self.estimator.predict(X), dtype=np.float64)


def folder_of_fold(folder: Path, model: str | None, fold: int) -> tuple[Path, int] | None:
    """Where a run keeps a model, and which fold of it; None for an estimator that was saved alone.

    Raises
    ------
    ModelError, UnknownNameError
        if there is no such model.
    """
    if (folder / "model.json").is_file():
        return None
    if (folder / "models").is_dir():
        folder = _of_run(folder, model)
    if (found := re.fullmatch(r"fold-(\d+)", folder.name)) is not None:
        folder, fold = folder.parent, int(found[1])
    if not (folder / f"fold-{fold}" / "recipe.json").is_file():
        raise ModelError(
            f"no fitted model in {folder / f'fold-{fold}'}; expected a run directory with --model, the folder of a "
            "model in it (runs/<study>/models/<model>), or a folder that an estimator's save wrote"
        )
    return folder, fold


def _of_run(run: Path, model: str | None) -> Path:
    known = sorted(path.name for path in (run / "models").iterdir() if path.is_dir())
    if model is None:
        raise ModelError(f"{run} has several models; choose one with --model: {', '.join(known)}")
    if model not in known:
        raise UnknownNameError(unknown_name("model", model, known))
    return run / "models" / model


def model_digest(folder: Path) -> str:
    """Of everything that makes predictions: the estimator's files and the fitted features."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".npy"]
    keep = [path for path in files if path.name not in {"done.json", "started.json", "recipe.json"}]
    return content_hash({path.relative_to(folder).as_posix(): file_digest(path) for path in keep})


def units_of(run: Path, names: Sequence[str]) -> dict[str, str]:
    """Units in brackets of the study's titles."""
    study = run / "study.json"
    titles = json.loads(study.read_text(encoding="utf-8")).get("titles", {}) if study.is_file() else {}
    found = {name: re.search(r"\[(.+)\]\s*$", titles.get(name, "")) for name in names}
    return {name: match[1] for name, match in found.items() if match}


def _recorded(run: Path, fold: Path, names: Sequence[str]) -> tuple[Float64, NDArray[np.int8], Float64]:
    """Values, labels and weights of events of the run, evenly spread; its dataset is the one of as many events as scores."""
    events = len(np.load(fold / "scores.npy", mmap_mode="r", allow_pickle=False))
    for path in sorted((run / "dataset").glob("*/dataset.json")):
        dataset = Dataset.open(path.parent, verify=False)
        if len(dataset) == events:
            chosen = np.unique(np.linspace(0, events - 1, min(RECORDED, events)).astype(np.int64))
            values = [np.asarray(dataset.column(name), dtype=np.float64)[chosen] for name in names]
            return np.stack(values, axis=1), dataset.y[chosen], dataset.weight[chosen]
    return np.empty((0, len(names))), np.empty(0, np.int8), np.empty(0)
