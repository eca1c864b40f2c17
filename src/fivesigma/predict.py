"""Scores for other files: every event, in the files' order and number, by models that have not seen it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, DatasetError, UnknownNameError
from fivesigma.core.estimator import Estimator
from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Column
from fivesigma.core.progress import progress
from fivesigma.core.registry import unknown_name
from fivesigma.dataset import fold_of
from fivesigma.dataset.samples import PSEUDO_COLUMNS
from fivesigma.features import Features
from fivesigma.learn import Recipe, load_fold_model, model_inputs, own_fold
from fivesigma.read import Events, Expression, Partition, open_events
from fivesigma.studies import StudyDefinition, parse_study

STEP = 50_000  # events scored at a time

FoldModel = tuple[Recipe, Features | None, Estimator]


def predict_study(
    run_directory: str | Path,
    files: Sequence[str | Path],
    output: Path,
    *,
    models: Sequence[str] | None = None,
    tree: str | None = None,
) -> int:
    """Score every event of ``files`` with the models of a finished run; returns the number of events.

    An event whose identity columns (and what the label is worked out from, if it is one of them) are in the files is
    scored by the model of its own fold, which has not seen it even if the file was trained on. Files without those
    columns (unlabelled data, say) get the mean score of all folds' models. No selection is applied: the output has a
    row for every entry. It is a ROOT file with the TTree ``scores``: the identity columns that there are, and one
    float32 branch a model (``cnn+mass`` becomes ``cnn_mass``).

    Raises
    ------
    DatasetError
        if the run directory holds no finished fits.
    UnknownNameError
        for a model that the run does not have.
    InputError, FeatureError
        as in reading and in the features: missing branches, values that are not finite.
    """
    import uproot

    folder = Path(run_directory)
    definition = _definition(folder)
    wanted = _with_ingredients(definition, list(models) if models else list(definition.models))
    loaded = {name: _load(folder / "models" / name, definition.folds) for name in wanted}
    events = open_events(files, tree or next(iter(definition.samples.values())).tree)
    shown = list(models) if models else list(definition.models)
    branches = _branch_names(shown)
    there = set.intersection(*(set(file.branches) for file in events.files))
    identity = Identity.of(definition, there)
    scored = 0
    with (
        atomic_path(output) as temporary,
        progress(events.entries, "scoring") as advance,
        uproot.recreate(temporary) as out,
    ):
        target: Any = None
        for partition in events.partitions(STEP):
            columns = _read(definition, events, partition, loaded, identity)
            scores = score_events(columns, loaded, identity.fold(columns, definition.folds))
            rows = {name: np.asarray(columns[name]) for name in identity.branches}
            rows |= {branches[name]: scores[name] for name in shown}
            if target is None:
                target = out.mktree("scores", {name: values.dtype for name, values in rows.items()})
            target.extend(rows)
            scored += len(partition)
            advance(len(partition))
    if scored != events.entries:
        raise DatasetError(f"expected {events.entries:,} scored events, got {scored:,}")
    return scored


def score_events(
    columns: Mapping[str, Column], models: Mapping[str, Sequence[FoldModel]], fold: NDArray[np.int8] | None
) -> dict[str, NDArray[np.float32]]:
    """Scores by model, shape (event,): each event by the model of its fold, or the mean over folds without ``fold``.

    Models that combine the scores of others must come after those.
    """
    by_fold: dict[str, list[NDArray[np.float32]]] = {}
    for name, folds in models.items():
        by_fold[name] = []
        for k, (recipe, features, estimator) in enumerate(folds):
            X = model_inputs(columns, features, [by_fold[other][k] for other in recipe.scores])
            by_fold[name].append(estimator.predict_proba(X)[:, 1].astype(np.float32))
    if fold is None:
        return {
            name: np.asarray(np.mean(scores, axis=0, dtype=np.float64), np.float32) for name, scores in by_fold.items()
        }
    return {name: own_fold(np.stack(scores), fold) for name, scores in by_fold.items()}


def _definition(folder: Path) -> StudyDefinition:
    path = folder / "study.json"
    if not path.is_file():
        raise DatasetError(f"{folder} is not a run directory: {path.name} is missing; make one with `fivesigma run`")
    return parse_study(json.loads(path.read_text(encoding="utf-8")), source=str(path))


def _with_ingredients(definition: StudyDefinition, names: Sequence[str]) -> list[str]:
    """The models, each after those whose scores it combines."""
    ordered: dict[str, None] = {}
    for name in names:
        if name not in definition.models:
            raise UnknownNameError(unknown_name("model", name, definition.models))
        ordered |= dict.fromkeys([*definition.models[name].scores, name])
    return sorted(ordered, key=lambda name: bool(definition.models[name].scores))


def _load(folder: Path, n_folds: int) -> list[FoldModel]:
    for k in range(n_folds):
        if not (folder / f"fold-{k}" / "done.json").is_file():
            raise DatasetError(f"model {folder.name!r} is not fitted on fold {k}; finish the run with `fivesigma fit`")
    return [load_fold_model(folder, k) for k in range(n_folds)]


@dataclass(frozen=True)
class Identity:
    """What tells a study's events apart, as far as other files have it."""

    order: tuple[str, ...]  # as in the study
    branches: tuple[str, ...]
    label: Expression | None  # of the label, where it is part of the identity
    complete: bool

    @classmethod
    def of(cls, definition: StudyDefinition, there: Collection[str]) -> Identity:
        """In a study's identity ``label`` is the label that was worked out, ``sample`` the sample's name: see `Conversion`."""
        branches = tuple(name for name in definition.identity if name not in PSEUDO_COLUMNS)
        label = Expression(definition.labels) if "label" in definition.identity and definition.labels else None
        wanted = {*branches, *(label.columns if label else ())}
        pseudo = {"label"} if label else set()
        complete = wanted <= set(there) and set(definition.identity) <= {*branches, *pseudo}
        return cls(definition.identity, tuple(name for name in branches if name in there), label, complete)

    @property
    def columns(self) -> set[str]:
        """The branches to read."""
        return {*self.branches, *(self.label.columns if self.label and self.complete else ())}

    def fold(self, columns: Mapping[str, Column], n_folds: int) -> NDArray[np.int8] | None:
        """The folds of these events, or None where the files do not tell them apart."""
        if not self.complete:
            return None
        parts = {name: np.asarray(columns[name]) for name in self.branches}
        if self.label:
            parts["label"] = np.asarray(self.label.evaluate(columns)).astype(np.int8)
        return fold_of([parts[name] for name in self.order], n_folds)


def _read(
    definition: StudyDefinition,
    events: Events,
    partition: Partition,
    models: Mapping[str, Sequence[FoldModel]],
    identity: Identity,
) -> dict[str, Column]:
    """The columns that models and identity need, new variables worked out."""
    inputs = {name for folds in models.values() for _, features, _ in folds if features for name in features.inputs}
    new = {name: Expression(text) for name, text in definition.new_variables.items()}
    needed = inputs | identity.columns
    for name, expression in reversed(new.items()):  # later ones may use earlier ones
        if name in needed:
            needed |= expression.columns
    columns = events.read(partition, sorted(needed - set(new)))
    for name, expression in new.items():
        if name in needed:
            columns[name] = expression.evaluate_column(columns)
    return columns


def _branch_names(models: Sequence[str]) -> dict[str, str]:
    names = {name: re.sub(r"\W", "_", name) for name in models}
    if len(set(names.values())) < len(names):
        raise ConfigError(
            f"two models have the same branch name among {', '.join(names.values())}; choose with --model"
        )
    return names
