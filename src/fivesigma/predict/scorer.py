"""Who scores events: the models of a finished run, each event by one that has not seen it, or an artefact."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import DatasetError, UnknownNameError
from fivesigma.core.estimator import Estimator
from fivesigma.core.jagged import Column
from fivesigma.core.registry import unknown_name
from fivesigma.dataset import fold_of
from fivesigma.dataset.samples import PSEUDO_COLUMNS
from fivesigma.deploy.artifact import MANIFEST, Artifact, load_artifact
from fivesigma.features import Features
from fivesigma.learn import Recipe, load_fold_model
from fivesigma.learn.scoring import score_out_of_fold
from fivesigma.read import Expression
from fivesigma.studies import StudyDefinition, parse_study

Scores = dict[str, NDArray[Any]]
"""Scores by model, each of shape (event,)."""
FoldModel = tuple[Recipe, Features | None, Estimator]


class Scorer(Protocol):
    """What gives scores: reads the branches of ``wanted``, and says who it is."""

    @property
    def wanted(self) -> list[str]:
        """The branches that it reads."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its scores."""

    def score(self, columns: Mapping[str, Column]) -> Scores:
        """Identity columns that there are, then a score a model, of shape (event,), from the wanted columns."""

    def describe(self) -> dict[str, Any]:
        """What is written beside the scores, to know later what made them."""


@functools.lru_cache(maxsize=1)
def load_scorer(source: Path, models: tuple[str, ...], there: frozenset[str]) -> Scorer:
    """The models of a run directory (all, or those named), or an artefact; read once in each process.

    ``there`` are the branches that all files have.

    Raises
    ------
    DatasetError
        if ``source`` is neither, or its fits are not finished.
    UnknownNameError
        for a model that it does not have.
    ArtifactError
        if the artefact is damaged or changed.
    """
    if (source / MANIFEST).is_file() and not (source / "study.json").is_file():
        return ArtifactScorer.load(source, models)
    return RunScorer.load(source, models, there)


@dataclass(frozen=True)
class ArtifactScorer:
    """An export; its inputs are branches of these names."""

    artifact: Artifact

    @classmethod
    def load(cls, folder: Path, models: tuple[str, ...]) -> ArtifactScorer:
        """Open it, once its files are found to be those of its manifest."""
        artifact = load_artifact(folder)
        for name in models:
            if name != artifact.manifest["name"]:
                raise UnknownNameError(unknown_name("model", name, [artifact.manifest["name"]]))
        return cls(artifact)

    @property
    def wanted(self) -> list[str]:
        """Its inputs."""
        return sorted(self.artifact.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Its name."""
        return (self.artifact.manifest["name"],)

    def score(self, columns: Mapping[str, Column]) -> Scores:
        """Its scores, in its own precision; whatever it answers to values that are not finite."""
        return {self.outputs[0]: self.artifact.predict(columns)}

    def describe(self) -> dict[str, Any]:
        """Target, model and digest."""
        manifest = self.artifact.manifest
        return {"artefact": manifest["target"], "model": manifest["model"], "digest": manifest["digest"]}


@dataclass(frozen=True)
class RunScorer:
    """The fitted models of a run, in the order in which they are needed, and what tells its events apart."""

    definition: StudyDefinition
    models: Mapping[str, Sequence[FoldModel]]
    outputs: tuple[str, ...]
    identity: Identity
    keys: Mapping[str, str]  # of the fits, by model: content hashes of all that made them

    @classmethod
    def load(cls, folder: Path, models: tuple[str, ...], there: frozenset[str]) -> RunScorer:
        """Read them, with those that they combine."""
        definition = cls.definition_of(folder)
        shown = models or tuple(definition.models)
        needed = _with_ingredients(definition, shown)
        loaded = {name: _load(folder / "models" / name, definition.folds) for name in needed}
        keys = {
            name: json.loads((folder / "models" / name / "fold-0" / "done.json").read_text(encoding="utf-8"))["key"]
            for name in needed
        }
        return cls(definition, loaded, shown, Identity.of(definition, there), keys)

    @staticmethod
    def definition_of(folder: Path) -> StudyDefinition:
        """The study that a run directory is of."""
        path = folder / "study.json"
        if not path.is_file():
            raise DatasetError(
                f"{folder} is neither a run directory nor an artefact: {path.name} and {MANIFEST} of an artefact are missing; "
                "make one with `fivesigma run` or `fivesigma export`"
            )
        return parse_study(json.loads(path.read_text(encoding="utf-8")), source=str(path))

    @property
    def wanted(self) -> list[str]:
        """The branches that models, new variables and the identity need."""
        return self._needed()[0]

    def score(self, columns: Mapping[str, Column]) -> Scores:
        """Scores in float32; events of known identity by the model of their own fold, others by the mean of all folds."""
        known = dict(columns)
        for name, expression in self._needed()[1].items():
            known[name] = expression.evaluate_column(known)
        scores = score_events(known, self.models, self.identity.fold(known, self.definition.folds))
        identity = {name: np.asarray(known[name]) for name in self.identity.branches}
        return {**identity, **{name: scores[name] for name in self.outputs}}

    def describe(self) -> dict[str, Any]:
        """Study, seed, folds and the keys of the fits."""
        return {
            "study": self.definition.study,
            "seed": self.definition.seed,
            "folds": self.definition.folds,
            "own_fold": self.identity.complete,
            "fits": dict(self.keys),
        }

    def _needed(self) -> tuple[list[str], dict[str, Expression]]:
        """The branches to read, and the new variables to work out of them, in order."""
        new = {name: Expression(text) for name, text in self.definition.new_variables.items()}
        fitted = [features for folds in self.models.values() for _, features, _ in folds if features]
        needed = {name for features in fitted for name in features.inputs} | self.identity.columns
        for name, expression in reversed(new.items()):  # later ones may use earlier ones
            if name in needed:
                needed |= expression.columns
        return sorted(needed - set(new)), {name: new[name] for name in new if name in needed}


def score_events(
    columns: Mapping[str, Column], models: Mapping[str, Sequence[FoldModel]], fold: NDArray[np.int8] | None
) -> dict[str, NDArray[np.float32]]:
    """Scores by model, shape (event,): each event by the model of its fold, or the mean over folds without ``fold``.

    Models that combine the scores of others must come after those.
    """
    if fold is not None:
        return score_out_of_fold(columns, models, fold)
    n, n_folds = len(next(iter(columns.values()))), len(next(iter(models.values())))
    total = {name: np.zeros(n) for name in models}
    for k in range(n_folds):
        for name, scores in score_out_of_fold(columns, models, np.full(n, k, np.int8)).items():
            total[name] += scores
    return {name: np.asarray(scores / n_folds, np.float32) for name, scores in total.items()}


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
