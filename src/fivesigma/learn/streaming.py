"""Fit a recipe on batches that are read from a dataset's shards: what a model's word ``stream`` does.

In memory are the loader's buffers, a sample to fit features on, and for each event its label, weight and fold.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset import BatchLoader, Dataset, apply_weight_policy
from fivesigma.features import FEATURES, Features
from fivesigma.learn.conditions import Conditions
from fivesigma.learn.cross_validation import FittedRecipe, ModelInputs, Recipe, build_estimator
from fivesigma.learn.ranks import Ranks

FEATURE_EVENTS = 100_000
"""Training events, chosen by the loader's shuffling, on which features are fitted; all of them if they are fewer."""


def fit_streamed(
    recipe: Recipe,
    dataset: Dataset,
    weight: NDArray[np.float64],
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
    more_options: Mapping[str, Any],
) -> FittedRecipe:
    """As `fivesigma.learn.cross_validation.fit_recipe`, of a recipe that says ``stream``.

    Raises
    ------
    ConfigError
        if the recipe asks for what needs all events at once.
    """
    refuse_unstreamable(recipe.name, recipe)
    assert recipe.features is not None
    conditions = Conditions.of(dataset, (), None, recipe.train_on)
    train, validation = conditions.trained(train), conditions.validated(validation)
    features = _fitted_features(
        FEATURES[recipe.features](**recipe.feature_options), dataset, weight, train, recipe.seed
    )
    estimator = build_estimator(recipe, features, more_options)
    policy = apply_weight_policy(recipe.weight_policy, dataset.y[train], weight[train])
    learnt_from, told = train.copy(), weight.copy()
    learnt_from[train], told[train] = policy.keep, policy.weight
    ranks = Ranks.current()
    loader_words: dict[str, Any] = {
        "columns": tuple(dict.fromkeys((*features.inputs, *getattr(estimator, "targets", ())))),
        "batch_size": estimator._options(bfloat16=False).batch_size,
        "seed": estimator.seed,
        "rank": ranks.rank,
        "world_size": ranks.world_size,
    }
    loader = BatchLoader(dataset, mask=learnt_from, weight=told, **loader_words)
    held_out = None
    if validation.any():
        held_out = BatchLoader(dataset, mask=validation, weight=weight, shuffle=False, **loader_words)
    start = time.process_time()
    estimator.fit_stream(loader, validation=held_out, features=features)
    spent = time.process_time() - start
    return FittedRecipe(ModelInputs(features, {n: dataset.stored(n) for n in features.inputs}, ()), estimator, spent)


def refuse_unstreamable(name: str, model: Any) -> None:
    """Refuse a model (`Recipe`, or a study's words) that says ``stream`` and needs all events at once.

    Raises
    ------
    ConfigError
        naming the model, and what to do.
    """
    for word in ("scores", "nuisances", "domain"):
        if getattr(model, word):
            raise ConfigError(f"models.{name}: `stream` does not go with `{word}`: leave one of them out")
    if model.weight_policy == "pair-cancel":
        raise ConfigError(
            f"models.{name}: `weight_policy: pair-cancel` compares all events with one another, which `stream` does not "
            "have in memory: choose another policy, or leave `stream` out"
        )
    if not hasattr(ESTIMATORS[model.estimator], "fit_stream"):
        known = [other for other in ESTIMATORS if hasattr(ESTIMATORS[other], "fit_stream")]
        raise ConfigError(
            f"models.{name}.stream: the estimator {model.estimator!r} needs all events in memory: leave `stream` out, or "
            f"choose one that does not: {', '.join(known)}"
        )


def _fitted_features(
    features: Features, dataset: Dataset, weight: NDArray[np.float64], train: NDArray[np.bool_], seed: int
) -> Features:
    """Fitted on the first batches of the training events, in the order of a shuffle."""
    loader = BatchLoader(dataset, columns=features.inputs, mask=train, weight=weight, seed=seed, batch_size=10_000)
    parts: list[Mapping[str, Column]] = []
    weights: list[NDArray[np.float64]] = []
    for batch in loader.batches(0):
        parts.append(batch.columns)
        weights.append(batch.weight)
        if sum(map(len, weights)) >= FEATURE_EVENTS:
            break
    return features.fit(
        {name: _together([p[name] for p in parts]) for name in features.inputs}, np.concatenate(weights)
    )


def _together(parts: list[Column]) -> Column:
    jagged = [part for part in parts if isinstance(part, Jagged)]
    return Jagged.concatenate(jagged) if jagged else np.concatenate([p for p in parts if not isinstance(p, Jagged)])
