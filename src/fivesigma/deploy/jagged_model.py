"""``JaggedModel``: a fitted learner that sees jagged columns, such as the constituents of jets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FeatureError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset import Dataset
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.trained_model import TrainedModel, folder_of_fold, model_digest, units_of
from fivesigma.features import Features, JetImages, SeveralInputs, Tabular
from fivesigma.learn import load_fold_model

RECORDED = 2_000
"""The most recorded events that are read."""


@dataclass(frozen=True)
class JaggedModel(TrainedModel):
    """A `TrainedModel` whose features make images, or several inputs, of its columns; ``features`` is None.

    ``events`` are recorded ones, for proofs.
    """

    transform: Features = field(default_factory=JetImages)
    events: EventColumns | None = field(default=None, repr=False)

    @property
    def parts(self) -> tuple[Features, ...]:
        """The features of each input of the estimator."""
        return tuple(self.transform.made.values()) if isinstance(self.transform, SeveralInputs) else (self.transform,)

    @property
    def jagged(self) -> dict[str, tuple[str, ...]]:
        """Columns that have as many values an event as each other, by the first of them."""
        images = [part for part in self.parts if isinstance(part, JetImages)]
        groups = [names for part in images for names in (part.columns[:3], part.columns[3:])]
        return {names[0]: tuple(names) for names in groups}

    def described(self) -> list[dict[str, Any]]:
        """Each input's name and unit, and the features that it goes into."""
        jagged = {name for names in self.jagged.values() for name in names}
        found = []
        for name in self.inputs:
            uses = [part.to_json() for part in self.parts if name in part.inputs]
            kinds = ", ".join(str(part["features"]) for part in uses)
            found.append(
                {
                    "name": name,
                    "unit": self.units.get(name, ""),
                    "jagged": name in jagged,
                    "scaling": kinds,
                    "scale": uses,
                }
            )
        return found

    def seen(self, events: EventColumns) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features of the events that ``predict`` takes, and which these are, (event,)."""
        taken = np.ones(len(events), np.bool_)
        for part in self.parts:
            taken &= _taken(part, events)
        with np.errstate(over="ignore", under="ignore"):
            X = self.transform.transform(events[taken].columns)
        finite = np.isfinite(X).reshape(len(X), -1).all(axis=1)
        taken[taken] = finite
        return X[finite], taken


def load_model(
    path: str | Path, *, model: str | None = None, fold: int = 0, inputs: Sequence[str] | None = None
) -> TrainedModel:
    """As `TrainedModel.load`, and a `JaggedModel` where it sees jagged columns.

    Raises
    ------
    ModelError, UnknownNameError
        if there is no such model.
    FeatureError
        if it sees other models' scores.
    """
    found = folder_of_fold(Path(path), model, fold)
    if found is None:
        return TrainedModel.load(path, model=model, fold=fold, inputs=inputs)
    folder, fold = found
    recipe, features, estimator = load_fold_model(folder, fold)
    if recipe.scores:
        raise FeatureError(
            f"model {recipe.name!r} sees the scores of {', '.join(recipe.scores)}: its cuts on them cannot be proved; "
            "export those models, and combine their scores where they are used"
        )
    if features is None or isinstance(features, Tabular):
        return TrainedModel.load(path, model=model, fold=fold, inputs=inputs)
    run = folder.parent.parent
    return JaggedModel(
        recipe.name,
        estimator,
        features.inputs,
        None,
        units_of(run, features.inputs),
        model_digest(folder / f"fold-{fold}"),
        f"fold {fold} of {recipe.name}",
        transform=features,
        events=_recorded(run, folder / f"fold-{fold}", features.inputs),
    )


def _recorded(run: Path, fold: Path, names: Sequence[str]) -> EventColumns | None:
    """Events of the run, evenly spread; its dataset is the one of as many events as scores."""
    events = len(np.load(fold / "scores.npy", mmap_mode="r", allow_pickle=False))
    for path in sorted((run / "dataset").glob("*/dataset.json")):
        dataset = Dataset.open(path.parent, verify=False)
        if len(dataset) == events:
            chosen = np.unique(np.linspace(0, events - 1, min(RECORDED, events)).astype(np.int64))
            return EventColumns({name: _double(dataset.column(name)[chosen]) for name in names})
    return None


def _double(column: Column) -> Column:
    if isinstance(column, Jagged):
        return Jagged(np.asarray(column.values, np.float64), column.offsets)
    return np.asarray(column, np.float64)


def _taken(part: Features, events: EventColumns) -> NDArray[np.bool_]:
    """Which events features do not refuse, (event,)."""
    taken = np.ones(len(events), np.bool_)
    if not isinstance(part, Tabular | JetImages):
        raise FeatureError(f"features {type(part).__name__} have no form outside of this package")
    for name in part.inputs:
        column = events.columns[name]
        if isinstance(column, Jagged):
            wrong = ~np.isfinite(column.values)
            taken[np.repeat(np.arange(len(column)), column.counts)[wrong]] = False
        else:
            taken &= np.isfinite(column)
            if isinstance(part, Tabular) and part.scaling == "log":
                taken &= ~(np.asarray(column) < 0)
    if isinstance(part, JetImages):
        constituents = events.columns[part.columns[0]]
        assert isinstance(constituents, Jagged)
        taken &= constituents.counts > 0
    return taken
