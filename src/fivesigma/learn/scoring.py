"""Scores of events by fitted fold models: each event by the model of its own fold, which has not seen it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.estimator import Estimator
from fivesigma.core.jagged import Column
from fivesigma.features import Features
from fivesigma.learn.cross_validation import EVENTS_AT_ONCE, Recipe, load_fold_model, model_inputs

FoldModel: TypeAlias = tuple[Recipe, Features | None, Estimator]

TWO_SAMPLE_FOLDS = 5
"""Folds of the classifier that tells two samples apart."""


def load_fold_models(folder: Path, names: Sequence[str], n_folds: int) -> dict[str, list[FoldModel]]:
    """The models of a run by fold, those whose scores others take first."""
    loaded = {name: [load_fold_model(folder / name, k) for k in range(n_folds)] for name in names}
    return dict(sorted(loaded.items(), key=lambda item: bool(item[1][0][0].scores)))


def score_out_of_fold(
    columns: Mapping[str, Column], models: Mapping[str, Sequence[FoldModel]], fold: NDArray[np.integer[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Scores by model, shape (event,), of events with these columns and folds (event,).

    Models that take the scores of others must come after those (`load_fold_models` sees to it).
    """
    scores = {name: np.empty(len(fold), np.float32) for name in models}
    for k in np.unique(fold):
        own = np.flatnonzero(fold == k)
        for begin in range(0, len(own), EVENTS_AT_ONCE):
            rows = own[begin : begin + EVENTS_AT_ONCE]
            for name, folds in models.items():
                recipe, features, estimator = folds[int(k)]
                seen = {} if features is None else {c: columns[c][rows] for c in features.inputs}
                X = model_inputs(seen, features, [scores[other][rows] for other in recipe.scores])
                scores[name][rows] = estimator.predict_proba(X)[:, 1]
    return scores


def two_sample_scores(
    first: Mapping[str, NDArray[Any]],
    second: Mapping[str, NDArray[Any]],
    first_weight: NDArray[Any] | None = None,
    second_weight: NDArray[Any] | None = None,
    *,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Out-of-fold scores of boosted trees trained to tell ``second`` (1) from ``first`` (0), and these labels.

    For `fivesigma.evaluate.classifier_two_sample_test`. Both map the same columns to values (event,). Each sample's
    absolute weights are scaled to the same sum for training; rows are dealt to ``TWO_SAMPLE_FOLDS`` folds at random,
    so rows of one event may be in two folds: thin correlated rows first.
    """
    from fivesigma.trees import BoostedTrees

    X = np.concatenate(
        [np.stack([np.asarray(sample[name], np.float32) for name in first], axis=1) for sample in (first, second)]
    )
    n = len(next(iter(first.values())))
    y = (np.arange(len(X)) >= n).astype(np.int8)
    given = (first_weight, second_weight)
    parts = [
        np.ones(int((y == c).sum())) if w is None else np.abs(np.asarray(w, np.float64)) for c, w in enumerate(given)
    ]
    weight = np.concatenate([part * (len(X) / 2 / part.sum()) for part in parts])
    fold = np.random.default_rng(seed).permutation(len(X)) % TWO_SAMPLE_FOLDS
    score = np.empty(len(X))
    for k in range(TWO_SAMPLE_FOLDS):
        trees = BoostedTrees(trees=60, leaves=8, learning_rate=0.1, seed=seed)
        trees.fit(X[fold != k], y[fold != k], weight[fold != k])
        score[fold == k] = trees.predict_proba(X[fold == k])[:, 1]
    return score, y
