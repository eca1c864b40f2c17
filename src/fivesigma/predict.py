"""Scores for other files: every event, in the files' order and number, by models that have not seen it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.engine import Engine, InProcess, Outcome, Place, Task
from fivesigma.core.errors import ConfigError, DatasetError, UnknownNameError
from fivesigma.core.estimator import Estimator
from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Column
from fivesigma.core.progress import progress
from fivesigma.core.registry import unknown_name
from fivesigma.dataset import fold_of
from fivesigma.dataset.inputs import absolute
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
    engine: Engine | None = None,
) -> int:
    """Score every event of ``files`` with the models of a finished run; returns the number of events.

    An event whose identity columns (and what the label is worked out from, if it is one of them) are in the files is
    scored by the model of its own fold, which has not seen it even if the file was trained on. Files without those
    columns (unlabelled data, say) get the mean score of all folds' models. No selection is applied: the output has a
    row for every entry, in order, whoever scored it (``engine``, by default this process; scores of networks may differ
    in their last bits with the number of threads). It is a ROOT file with the TTree ``scores``: the identity columns
    that there are, and one float32 branch a model (``cnn+mass`` becomes ``cnn_mass``).

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
    wanted = tuple(_with_ingredients(definition, list(models) if models else list(definition.models)))
    shown = tuple(models) if models else tuple(definition.models)
    branches = _branch_names(shown)
    events = open_events(files, tree or next(iter(definition.samples.values())).tree)
    there = frozenset(set.intersection(*(set(file.branches) for file in events.files)))
    scorer = Scorer.load(folder.absolute(), wanted, there)
    tasks = list(_score_ranges(folder.absolute(), wanted, shown, there, scorer, events))
    scored = 0
    with (
        atomic_path(output) as temporary,
        progress(events.entries, "scoring") as advance,
        uproot.recreate(temporary) as out,
        closing(_in_order((engine or InProcess()).run(tasks))) as scores,
    ):
        target: Any = None
        for columns in scores:
            rows = {branches.get(name, name): values for name, values in columns.items()}
            if target is None:
                target = out.mktree("scores", {name: values.dtype for name, values in rows.items()})
            target.extend(rows)
            n = len(next(iter(rows.values())))
            scored += n
            advance(n)
    if scored != events.entries:
        raise DatasetError(f"expected {events.entries:,} scored events, got {scored:,}")
    return scored


Scores: TypeAlias = dict[str, NDArray[Any]]
"""Identity columns and scores by model of an entry range, all of shape (events,)."""


@dataclass(frozen=True)
class ScoreRange(Task[Scores]):
    """Entries of one file, to be scored; ``number`` is its place among all."""

    number: int
    folder: Path
    models: tuple[str, ...]
    shown: tuple[str, ...]
    there: frozenset[str]
    events: Events
    start: int
    stop: int

    @property
    def place(self) -> Place:
        """File, tree and entries."""
        file = self.events.files[0]
        return Place(f"entries {self.start:,} to {self.stop:,}", str(file.path), file.tree)

    def run(self) -> Scores:
        """Identity columns and scores."""
        scorer = Scorer.load(self.folder, self.models, self.there)
        columns = _read(scorer, self.events, Partition(self.events.files[0], self.start, self.stop))
        scores = score_events(columns, scorer.models, scorer.identity.fold(columns, scorer.definition.folds))
        found: Scores = {name: np.asarray(columns[name]) for name in scorer.identity.branches}
        return found | {name: scores[name] for name in self.shown}


@dataclass(frozen=True)
class Scorer:
    """The fitted models of a run, in the order in which they are needed, and what tells its events apart."""

    definition: StudyDefinition
    models: Mapping[str, Sequence[FoldModel]]
    identity: Identity

    @staticmethod
    @functools.lru_cache(maxsize=1)
    def load(folder: Path, models: tuple[str, ...], there: frozenset[str]) -> Scorer:
        """Read them, once in each process."""
        definition = _definition(folder)
        loaded = {name: _load(folder / "models" / name, definition.folds) for name in models}
        return Scorer(definition, loaded, Identity.of(definition, there))

    def needed(self) -> tuple[list[str], dict[str, Expression]]:
        """The branches to read, and the new variables to work out of them, in order."""
        new = {name: Expression(text) for name, text in self.definition.new_variables.items()}
        fitted = [features for folds in self.models.values() for _, features, _ in folds if features]
        needed = {name for features in fitted for name in features.inputs} | self.identity.columns
        for name, expression in reversed(new.items()):  # later ones may use earlier ones
            if name in needed:
                needed |= expression.columns
        return sorted(needed - set(new)), {name: new[name] for name in new if name in needed}


def _score_ranges(
    folder: Path,
    models: tuple[str, ...],
    shown: tuple[str, ...],
    there: frozenset[str],
    scorer: Scorer,
    events: Events,
) -> Iterator[ScoreRange]:
    number, (wanted, _) = 0, scorer.needed()
    for file in events.files:
        needed = {name: file.branch(name) for name in wanted}
        alone = replace(events, files=(replace(file, path=absolute(file.path), branches=needed),))
        for part in alone.partitions(STEP):
            yield ScoreRange(number, folder, models, shown, there, alone, part.start, part.stop)
            number += 1


def _in_order(outcomes: Generator[Outcome[Scores], None, None]) -> Generator[Scores, None, None]:
    """Values in the order of the tasks' numbers; those that come early wait."""
    early: dict[int, Scores] = {}
    following = 0
    with closing(outcomes):
        for outcome in outcomes:
            assert isinstance(outcome.task, ScoreRange)
            early[outcome.task.number] = outcome.result()
            while following in early:
                yield early.pop(following)
                following += 1


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


def _read(scorer: Scorer, events: Events, partition: Partition) -> dict[str, Column]:
    """The columns that models and identity need, new variables worked out."""
    branches, variables = scorer.needed()
    columns = events.read(partition, branches)
    for name, expression in variables.items():
        columns[name] = expression.evaluate_column(columns)
    return columns


def _branch_names(models: Sequence[str]) -> dict[str, str]:
    names = {name: re.sub(r"\W", "_", name) for name in models}
    if len(set(names.values())) < len(names):
        raise ConfigError(
            f"two models have the same branch name among {', '.join(names.values())}; choose with --model"
        )
    return names
