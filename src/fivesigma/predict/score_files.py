"""``predict``: from ROOT to ROOT, no entry lost, added or out of order."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.engine import Engine, InProcess, Outcome, Place, Task
from fivesigma.core.errors import ConfigError, DatasetError
from fivesigma.core.jagged import Column
from fivesigma.core.progress import progress
from fivesigma.core.provenance import versions
from fivesigma.dataset.inputs import absolute
from fivesigma.predict.friend_file import branch_names, friend_file
from fivesigma.predict.scorer import RunScorer, Scorer, load_scorer
from fivesigma.read import Events, Partition, open_events
from fivesigma.read.schema import InputFile

STEP = 50_000
"""Entries that are read and scored at a time; memory is bounded by them, whatever the size of the input."""

Rows = dict[str, Column]
"""Columns of an entry range, all of one length."""


@dataclass(frozen=True)
class FileScores:
    """What became of one input file: as many scores as entries, or there is no result at all."""

    input: str
    tree: str
    entries: int
    output: str
    not_finite: Mapping[str, int]
    """Scores that are NaN or infinite, by model."""


@dataclass(frozen=True)
class Predicted:
    """The ledger of a prediction."""

    files: tuple[FileScores, ...]

    @property
    def entries(self) -> int:
        """Entries read, and scores written."""
        return sum(file.entries for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {"entries": self.entries, "files": [asdict(file) for file in self.files]}


def predict_study(
    source: str | Path,
    files: Sequence[str | Path],
    output: Path | None = None,
    *,
    output_folder: Path | None = None,
    models: Sequence[str] | None = None,
    tree: str | None = None,
    branches: Sequence[str] = (),
    engine: Engine | None = None,
) -> Predicted:
    """Score every entry of ``files`` with a finished run or an artefact; no selection is applied.

    The result is a ROOT file with the TTree ``scores``: one entry for every entry of the input, in its order, so that it
    is a friend of the input's tree. It has the identity columns that there are, ``branches`` of the input that are asked
    for, and a branch a model (``cnn+mass`` becomes ``cnn_mass``), float32 from a run, float64 from an artefact. Beside it
    stands the JSON text ``provenance``: what scored, versions, and input files with their digests.

    With a run, an event whose identity columns (and what the label is worked out from, if it is one of them) are in the
    files is scored by the model of its own fold, which has not seen it even if the file was trained on. Files without
    those columns (unlabelled data, say) get the mean score of all folds' models. Scores of networks may differ in their
    last bits with the number of threads. An artefact is one model; its inputs are branches of these names.

    Parameters
    ----------
    source
        run directory, or folder that ``export`` wrote.
    output
        one file for all inputs, one after another; or
    output_folder
        one file an input, ``<name>.scores.root``: each its input's friend.
    branches
        of the input, flat or lists, to be copied.

    Raises
    ------
    DatasetError, ArtifactError
        if ``source`` holds no finished fits, or is damaged.
    UnknownNameError
        for a model that the run does not have.
    ConfigError
        if not exactly one kind of output is given, or two outputs or branches would have the same name.
    InputError, FeatureError
        as in reading and in the features: missing branches, values that are not finite.
    OutputError
        if a file cannot be written. What is complete keeps its name; nothing else has one.
    """
    events = open_events(files, tree or _study_tree(Path(source)))
    there = frozenset(set.intersection(*(set(file.branches) for file in events.files)))
    scorer = load_scorer(Path(source).absolute(), tuple(models or ()), there)
    outputs = _outputs(events, output, output_folder)
    named = branch_names(scorer.outputs)
    if clash := sorted(set(branches) & set(named.values())):
        raise ConfigError(f"the input's branch {clash[0]!r} and a score have the same name; leave the branch out")
    tasks = list(_score_ranges(Path(source).absolute(), tuple(models or ()), there, scorer, events, tuple(branches)))
    with (
        progress(events.entries, "scoring") as advance,
        closing(_in_order((engine or InProcess()).run(tasks))) as scored,
    ):
        made = _write(events, outputs, _counted(scored, tasks, named, advance), scorer)
    return Predicted(made)


@dataclass(frozen=True)
class ScoreRange(Task[Rows]):
    """Entries of one file, to be scored; ``number`` is its place among all, ``file`` that of its file."""

    number: int
    file: int
    source: Path
    models: tuple[str, ...]
    there: frozenset[str]
    branches: tuple[str, ...]
    events: Events
    start: int
    stop: int

    @property
    def place(self) -> Place:
        """File, tree and entries."""
        file = self.events.files[0]
        return Place(f"entries {self.start:,} to {self.stop:,}", str(file.path), file.tree)

    def run(self) -> Rows:
        """Copied branches, identity columns and scores."""
        scorer = load_scorer(self.source, self.models, self.there)
        partition = Partition(self.events.files[0], self.start, self.stop)
        columns = self.events.read(partition, dict.fromkeys([*scorer.wanted, *self.branches]))
        return {**{name: columns[name] for name in self.branches}, **scorer.score(columns)}


def _study_tree(source: Path) -> str | None:
    """The tree that a run's study reads; an artefact knows none."""
    if not (source / "study.json").is_file():
        return None
    return next(iter(RunScorer.definition_of(source).samples.values())).tree


def _score_ranges(
    source: Path,
    models: tuple[str, ...],
    there: frozenset[str],
    scorer: Scorer,
    events: Events,
    branches: tuple[str, ...],
) -> Iterator[ScoreRange]:
    number = 0
    for index, file in enumerate(events.files):
        needed = {name: file.branch(name) for name in dict.fromkeys([*scorer.wanted, *branches])}
        alone = replace(events, files=(replace(file, path=absolute(file.path), branches=needed),))
        for part in alone.partitions(STEP):
            yield ScoreRange(number, index, source, models, there, branches, alone, part.start, part.stop)
            number += 1


def _in_order(outcomes: Generator[Outcome[Rows], None, None]) -> Generator[tuple[ScoreRange, Rows], None, None]:
    """Results in the order of the tasks' numbers; those that come early wait."""
    early: dict[int, tuple[ScoreRange, Rows]] = {}
    following = 0
    with closing(outcomes):
        for outcome in outcomes:
            assert isinstance(outcome.task, ScoreRange)
            early[outcome.task.number] = (outcome.task, outcome.result())
            while following in early:
                yield early.pop(following)
                following += 1


def _counted(
    scored: Iterator[tuple[ScoreRange, Rows]], tasks: Sequence[ScoreRange], named: Mapping[str, str], advance: Any
) -> Iterator[tuple[int, Rows]]:
    """The index of the file, and rows of as many entries as were asked for, scores under the names of their branches."""
    done = 0
    for task, rows in scored:
        lengths = {name: len(column) for name, column in rows.items()}
        if set(lengths.values()) != {task.stop - task.start}:
            raise DatasetError(f"{task.place}: expected {task.stop - task.start:,} rows, got {lengths}")
        yield task.file, {named.get(name, name): column for name, column in rows.items()}
        done += 1
        advance(task.stop - task.start)
    if done != len(tasks):
        raise DatasetError(f"expected {len(tasks):,} scored entry ranges, got {done:,}")


def _outputs(events: Events, output: Path | None, folder: Path | None) -> list[Path]:
    """The file that each input's scores go to."""
    if (output is None) == (folder is None):
        raise ConfigError("expected --output, one file for all scores, or --output-folder, one for each input file")
    if folder is None:
        assert output is not None
        return [Path(output)] * len(events.files)
    paths = [Path(folder) / f"{Path(file.path.name).stem}.scores.root" for file in events.files]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            first = events.files[paths.index(path)].path
            raise ConfigError(
                f"the scores of {first} and of {events.files[i].path} would both be {path}; score them apart"
            )
    return paths


def _write(
    events: Events, outputs: Sequence[Path], scored: Iterator[tuple[int, Rows]], scorer: Scorer
) -> tuple[FileScores, ...]:
    """One output after another; the inputs of one output follow each other."""
    names = branch_names(scorer.outputs)
    made: list[FileScores] = []
    first = next(scored)  # there is an entry in some file: `open_events`
    no_rows = {name: column[:0] for name, column in first[1].items()}
    following: tuple[int, Rows] | None = first
    for path in dict.fromkeys(outputs):
        inputs = [i for i, other in enumerate(outputs) if other == path]
        with friend_file(path, _provenance(scorer, [events.files[i] for i in inputs])) as friend:
            friend.extend(no_rows)  # the tree is there even if the input has no entries
            for i in inputs:
                before, bad = friend.entries, dict.fromkeys(scorer.outputs, 0)
                while following is not None and following[0] == i:
                    rows = following[1]
                    friend.extend(rows)
                    for model, branch in names.items():
                        bad[model] += int((~np.isfinite(np.asarray(rows[branch]))).sum())
                    following = next(scored, None)
                made.append(_file_scores(events.files[i], friend.entries - before, path, bad))
    return tuple(made)


def _file_scores(file: InputFile, entries: int, output: Path, bad: Mapping[str, int]) -> FileScores:
    if entries != file.entries:
        raise DatasetError(
            f"{file.path}: expected {file.entries:,} scored entries, got {entries:,}; nothing was written"
        )
    return FileScores(str(file.path), file.tree, entries, str(output), dict(bad))


def _provenance(scorer: Scorer, files: Sequence[InputFile]) -> dict[str, Any]:
    return {
        "scored_by": scorer.describe(),
        "versions": versions(),
        "inputs": [
            {"file": str(file.path), "tree": file.tree, "entries": file.entries, "xxh3": file.xxh3} for file in files
        ],
    }
