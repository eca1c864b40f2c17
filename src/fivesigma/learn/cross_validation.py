"""Fit every model on every fold, so that each event gets its score from a model that has never seen it.

In turn, fold ``k`` tests, fold ``k + 1`` validates (early stopping), and the others train. A model that takes the scores
of others (a network combined with the jet mass, say) is fitted on the validation fold, whose events the others were
not trained on, so that no score it learns from is flattered by training.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError
from fivesigma.core.estimator import ESTIMATORS, Estimator, Labelled
from fivesigma.core.integrity import atomic_path, content_hash, write_json
from fivesigma.core.jagged import Column
from fivesigma.core.progress import Advance, progress, say
from fivesigma.core.provenance import versions
from fivesigma.dataset import Dataset, WeightPolicy, apply_weight_policy, train_validation_test
from fivesigma.dataset.stored_column import StoredColumn
from fivesigma.features import FEATURES, Features, features_from_json
from fivesigma.features.contract import flat_column
from fivesigma.learn.conditions import Conditions
from fivesigma.learn.ranks import ALONE, Ranks

LOGIT_CLIP = 1e-6  # scores are clipped to [1e-6, 1 − 1e-6] before the logit that combinations see


EVENTS_AT_ONCE = 5_000  # made into inputs and scored at a time


@dataclass(frozen=True)
class Recipe:
    """One model to fit: what it sees and how it learns."""

    name: str
    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    features: str | None = None
    feature_options: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    weight_policy: WeightPolicy = "keep"
    seed: int = 1
    nuisances: tuple[str, ...] = ()  # columns that the learner is to become independent of
    domain: str | None = None  # column that is 0 for labelled events, 1 for those whose labels are ignored
    train_on: str | None = None  # expression of the events to learn from
    warm_start: str | None = None  # model whose network of the same fold it begins with
    stream: bool = False  # train on batches that are read from the shards

    @property
    def waits_for(self) -> int:
        """Waves of fits that come before: warm starts wait for networks, combinations for all that they combine."""
        return 2 if self.scores else int(self.warm_start is not None)


@dataclass(frozen=True)
class Cost:
    """What a model costs, summed (training) or averaged (the rest) over folds."""

    parameters: int
    training_cpu_seconds: float
    training_spread: float  # standard deviation over folds
    microseconds_per_event: float
    microseconds_spread: float  # standard deviation over folds


@dataclass(frozen=True)
class FoldScores:
    """Scores of all events by the model of each fold, and how these were got."""

    name: str
    by_fold: NDArray[np.float32]  # (fold, event)
    cost: Cost
    histories: tuple[list[dict[str, float]], ...]  # by fold; one entry an epoch or tree, empty for other learners
    trainings: tuple[dict[str, Any], ...]  # by fold; precision, device, best epoch, for networks
    ingredients: tuple[str, ...] = ()  # models whose scores it takes

    def out_of_fold(self, fold: NDArray[np.int8]) -> NDArray[np.float32]:
        """The score of each event by the model whose test fold it is in, shape (event,)."""
        return own_fold(self.by_fold, fold)


def own_fold(by_fold: NDArray[np.float32], fold: NDArray[np.int8]) -> NDArray[np.float32]:
    """Of scores of shape (fold, event), each event's by the model of its own fold, shape (event,)."""
    own: NDArray[np.float32] = by_fold[fold.astype(np.intp), np.arange(len(fold))]
    return own


@dataclass(frozen=True)
class _Task:
    recipe: Recipe
    k: int
    n_folds: int
    dataset: Path
    weight: Path
    models: Path
    key: str

    @property
    def folder(self) -> Path:
        return self.models / self.recipe.name / f"fold-{self.k}"


def cross_validate(
    dataset: Dataset,
    weight: NDArray[np.float64],
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    n_folds: int,
    workers: int = 2,
) -> dict[str, FoldScores]:
    """Fit each recipe on each fold, ``workers`` fits at a time, each in a process of its own.

    What is already fitted under ``folder`` with the same data, weights, recipe, seed and versions is kept; a fit that was
    interrupted goes on from its last checkpoint. In a process group of torch all ranks call this: networks are fitted
    one after another by all of them together, what cannot be shared by the first alone, and only the first writes.

    Raises
    ------
    ModelError
        naming model and fold, from whatever the learner raised.
    """
    ranks = Ranks.current()
    folder.mkdir(parents=True, exist_ok=True)
    weight_file = folder / "weight.npy"
    if ranks.first:
        with atomic_path(weight_file) as temporary, open(temporary, "wb") as file:
            np.save(file, weight)
    keys = _keys(dataset, weight, recipes, n_folds)
    tasks = [
        _Task(recipe, k, n_folds, dataset.path, weight_file, folder, keys[recipe.name])
        for recipe in recipes
        for k in range(n_folds)
    ]
    todo = [task for task in tasks if not _is_done(task)]
    ranks.wait()  # until all have seen what is to be done, and the weights are there
    with progress(len(todo), "fitting", unit="fits") as advance:
        waves = [[task for task in todo if task.recipe.waits_for == n] for n in range(3)]
        if ranks.alone:
            _fit_all(waves, workers, advance)
        else:
            _fit_on_ranks([task for tasks in waves for task in tasks], ranks, advance)
    return {recipe.name: read_scores(folder / recipe.name, n_folds, recipe.scores) for recipe in recipes}


def read_scores(folder: Path, n_folds: int, ingredients: tuple[str, ...] = ()) -> FoldScores:
    """Read what :func:`cross_validate` kept of one model."""
    done = [json.loads((folder / f"fold-{k}" / "done.json").read_text(encoding="utf-8")) for k in range(n_folds)]
    by_fold = np.stack([np.load(folder / f"fold-{k}" / "scores.npy", allow_pickle=False) for k in range(n_folds)])
    training = np.array([d["training_cpu_seconds"] for d in done])
    inference = np.array([d["microseconds_per_event"] for d in done])
    cost = Cost(
        parameters=done[0]["parameters"],
        training_cpu_seconds=float(training.sum()),
        training_spread=float(training.std(ddof=1)),
        microseconds_per_event=float(inference.mean()),
        microseconds_spread=float(inference.std(ddof=1)),
    )
    histories, trainings = (tuple(d[kind] for d in done) for kind in ("history", "training"))
    return FoldScores(folder.name, by_fold, cost, histories, trainings, ingredients)


def load_fold_model(folder: Path, k: int) -> tuple[Recipe, Features | None, Estimator]:
    """The recipe, the fitted features and the fitted estimator of one fold."""
    fold = folder / f"fold-{k}"
    words = json.loads((fold / "recipe.json").read_text(encoding="utf-8"))
    recipe = Recipe(**{**words, **{name: tuple(words.get(name, ())) for name in ("scores", "nuisances")}})
    features = None
    if recipe.features is not None:
        features = features_from_json(json.loads((fold / "features.json").read_text(encoding="utf-8")))
    estimator: Estimator = ESTIMATORS[recipe.estimator].load(fold / "estimator")
    return recipe, features, estimator


def model_inputs(
    columns: Mapping[str, Any], features: Features | None, scores: Sequence[NDArray[Any]]
) -> NDArray[np.float32]:
    """What a model sees: the logits of other models' scores, then the features; shape (event, …)."""
    parts = [
        np.log(s / (1 - s)) for s in (np.clip(np.asarray(x, np.float64), LOGIT_CLIP, 1 - LOGIT_CLIP) for x in scores)
    ]
    transformed = None if features is None else features.transform(columns)
    if not parts and transformed is not None:
        return transformed
    blocks = [p[:, None] for p in parts] + ([] if transformed is None else [transformed])
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _fit_all(waves: Sequence[Sequence[_Task]], workers: int, advance: Advance) -> None:
    if not any(waves):
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        for tasks in waves:
            futures = {pool.submit(_fit_fold, task): task for task in tasks}
            for future in as_completed(futures):
                say(_said(future, futures[future]))
                advance(1)
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()


def _fit_on_ranks(tasks: Sequence[_Task], ranks: Ranks, advance: Advance) -> None:
    """One after another, in the same order on all ranks."""
    from fivesigma.learn.network_training import NetworkTraining

    for task in tasks:
        shared = issubclass(ESTIMATORS[task.recipe.estimator], NetworkTraining)
        if shared or ranks.first:
            with _naming(task):
                say(_fit_fold(task, ranks if shared else Ranks()))
        ranks.wait()
        advance(1)


def _said(future: Future[str], task: _Task) -> str:
    with _naming(task):
        return future.result()


@contextmanager
def _naming(task: _Task) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ModelError(f"model {task.recipe.name!r}, fold {task.k}: {error}") from error


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once: what they had finished is on disk, what they had not will be done again."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides


def _fit_fold(task: _Task, ranks: Ranks = ALONE) -> str:
    recipe = task.recipe
    if ranks.first:
        _clear_if_other(task)
    ranks.wait()
    dataset = Dataset.open(task.dataset, verify=False)
    train, validation, _ = train_validation_test(dataset.fold, task.k, task.n_folds)
    if recipe.scores:
        train, validation = validation, np.zeros_like(validation)
    names = [task.models / name / f"fold-{task.k}" / "scores.npy" for name in recipe.scores]
    scores = [np.load(name, allow_pickle=False) for name in names]
    weight = np.load(task.weight, allow_pickle=False)
    fitted = fit_recipe(recipe, dataset, weight, train, validation, scores, _options(task))
    trained = ranks.total(fitted.cpu_seconds)
    if not ranks.first:
        return ""
    score, spent = fitted.score_all(len(dataset))
    _keep(task, fitted.inputs.features, fitted.estimator, score, trained, 1e6 * spent / len(score))
    return f"{recipe.name} fold {task.k + 1} of {task.n_folds}: {trained:.1f} CPU-seconds"


@dataclass(frozen=True)
class FittedRecipe:
    """What a recipe has become on some events."""

    inputs: ModelInputs
    estimator: Any
    cpu_seconds: float

    def score(self, events: NDArray[np.bool_] | slice) -> NDArray[np.float32]:
        """The scores of some events, shape (event,)."""
        return np.asarray(self.estimator.predict_proba(self.inputs.of(events))[:, 1], np.float32)

    def score_all(self, n: int) -> tuple[NDArray[np.float32], float]:
        """Scores of all ``n`` events, and the CPU-seconds of ``predict_proba``."""
        score, spent = np.empty(n, np.float32), 0.0
        for begin in range(0, n, EVENTS_AT_ONCE):
            events = slice(begin, begin + EVENTS_AT_ONCE)
            X = self.inputs.of(events)
            start = time.process_time()
            score[events] = self.estimator.predict_proba(X)[:, 1]
            spent += time.process_time() - start
        if not np.isfinite(score).all():
            raise ModelError(f"the score of event {int(np.flatnonzero(~np.isfinite(score))[0])} is not finite")
        return score, spent


def fit_recipe(
    recipe: Recipe,
    dataset: Dataset,
    weight: NDArray[np.float64],
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
    scores: Sequence[NDArray[np.float32]] = (),
    more_options: Mapping[str, Any] | None = None,
) -> FittedRecipe:
    """Fit a model on the events of ``train`` (event,), stopping early by those of ``validation``.

    ``scores`` (event,) of other models are those that the recipe names; ``more_options`` go beside the recipe's own.
    """
    if recipe.stream:
        from fivesigma.learn.streaming import fit_streamed

        return fit_streamed(recipe, dataset, weight, train, validation, more_options or {})
    conditions = Conditions.of(dataset, recipe.nuisances, recipe.domain, recipe.train_on)
    y = conditions.labels(dataset.y)
    train, validation = conditions.trained(train), conditions.validated(validation)
    inputs = ModelInputs.fit(recipe, dataset, train, weight, scores)
    X = inputs.of(train)
    policy = apply_weight_policy(recipe.weight_policy, y[train], weight[train], X.reshape(len(X), -1))
    estimator = build_estimator(recipe, inputs.features, more_options or {})
    learnt = _learnt(estimator, y, dataset)
    held_out = None
    if validation.any():
        nuisance = None if conditions.nuisance is None else conditions.nuisance[validation]
        held_out = Labelled(inputs.of(validation), learnt[validation], weight[validation], nuisance)
    kept = policy.keep if not policy.keep.all() else slice(None)  # a slice copies nothing
    start = time.process_time()
    told = {name: values[kept] for name, values in conditions.arguments(train).items()}
    estimator.fit(X[kept], learnt[train][kept], policy.weight[kept], validation=held_out, **told)
    return FittedRecipe(inputs, estimator, time.process_time() - start)


@dataclass(frozen=True)
class ModelInputs:
    """What one fold's model sees, made for some events at a time."""

    features: Features | None
    columns: Mapping[str, Column | StoredColumn]
    scores: Sequence[NDArray[np.float32]]

    @classmethod
    def fit(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        train: NDArray[np.bool_],
        weight: NDArray[np.float64],
        scores: Sequence[NDArray[np.float32]],
    ) -> ModelInputs:
        """Fit the recipe's features on the events of ``train``."""
        if recipe.features is None:
            return cls(None, {}, scores)
        features: Features = FEATURES[recipe.features](**recipe.feature_options)
        columns = {name: dataset.column(name) for name in features.inputs}
        features.fit({name: column[train] for name, column in columns.items()}, weight[train])
        return cls(features, columns, scores)

    def of(self, events: NDArray[np.bool_] | slice) -> NDArray[np.float32]:
        """Shape (event, …)."""
        columns = {name: column[events] for name, column in self.columns.items()}
        return model_inputs(columns, self.features, [score[events] for score in self.scores])


def _options(task: _Task) -> dict[str, Any]:
    """Options of the estimator that only its place among folds and models tells."""
    known = ESTIMATORS[task.recipe.estimator]().get_params()
    options: dict[str, Any] = {}
    if "seed" in known and "seed" not in task.recipe.options:
        options["seed"] = task.recipe.seed * 1000 + task.k
    if "checkpoint" in known:
        options["checkpoint"] = task.folder / "checkpoint"
    if task.recipe.warm_start is not None:
        options["warm_start"] = task.models / task.recipe.warm_start / f"fold-{task.k}" / "estimator"
    return options


def build_estimator(recipe: Recipe, features: Features | None, more_options: Mapping[str, Any]) -> Any:
    """The recipe's estimator, not yet fitted; ``more_options`` go beside the recipe's own."""
    options = {**recipe.options, **more_options}
    shapes = getattr(features, "shapes", None)
    if shapes is not None:
        options["inputs"] = {name: list(shape) for name, shape in shapes.items()}
    return ESTIMATORS[recipe.estimator](**options)


def learnt_columns(estimator: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a model learns beside the labels: the targets of a declared network's heads."""
    if "heads" not in options:
        return ()
    return tuple(ESTIMATORS[estimator](heads=options["heads"]).targets)


def _learnt(estimator: Any, y: NDArray[np.integer[Any]], dataset: Dataset) -> NDArray[Any]:
    """Labels (event,); or (event, 1 + target), where heads of a network have targets."""
    targets: tuple[str, ...] = getattr(estimator, "targets", ())
    if not targets:
        return y
    return np.stack([y, *(flat_column(dataset.columns, name) for name in targets)], axis=1)


def _keep(
    task: _Task,
    features: Features | None,
    estimator: Any,
    score: NDArray[np.float32],
    cpu_seconds: float,
    microseconds: float,
) -> None:
    if features is not None:
        write_json(task.folder / "features.json", features.to_json())
    estimator.save(task.folder / "estimator")
    with atomic_path(task.folder / "scores.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, score)
    write_json(task.folder / "recipe.json", asdict(task.recipe))
    done = {
        "key": task.key,
        "parameters": int(getattr(estimator, "n_parameters", 0)),
        "training_cpu_seconds": cpu_seconds,
        "microseconds_per_event": microseconds,
        "history": list(getattr(estimator, "history_", ())),
        "training": dict(getattr(estimator, "training_", {})),
    }
    write_json(task.folder / "done.json", done)
    shutil.rmtree(task.folder / "checkpoint", ignore_errors=True)


def _is_done(task: _Task) -> bool:
    done = task.folder / "done.json"
    return done.is_file() and json.loads(done.read_text(encoding="utf-8")).get("key") == task.key


def _clear_if_other(task: _Task) -> None:
    """Remove what another recipe, other data or other versions left, so that nothing of it is resumed."""
    started = task.folder / "started.json"
    if not started.is_file() or json.loads(started.read_text(encoding="utf-8")) != {"key": task.key}:
        shutil.rmtree(task.folder, ignore_errors=True)
        write_json(started, {"key": task.key})


def _keys(dataset: Dataset, weight: NDArray[np.float64], recipes: Sequence[Recipe], n_folds: int) -> dict[str, str]:
    made_with = {
        name: v for name, v in versions().items() if name in {"fivesigma", "numba", "torch", "lightgbm", "scikit-learn"}
    }
    common = [dataset.content_digest, weight_digest(weight), n_folds, made_with]
    keys: dict[str, str] = {}
    for recipe in sorted(recipes, key=lambda r: r.waits_for):
        before = [*recipe.scores, *([recipe.warm_start] if recipe.warm_start else [])]
        keys[recipe.name] = content_hash([*common, asdict(recipe), [keys[name] for name in before]])
    return keys


def weight_digest(weight: NDArray[np.float64]) -> str:
    """A digest of the weights, so that a change of reweighting is a change of model."""
    import xxhash

    return xxhash.xxh3_128(np.ascontiguousarray(weight).tobytes()).hexdigest()
