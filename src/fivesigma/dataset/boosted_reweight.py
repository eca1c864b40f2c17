"""Reweighting in many variables by boosted trees: the ratio of densities that a classifier has learned.

A classifier with log loss that tells the target from the class to be changed estimates p = t / (t + s); p / (1 − p) is
the ratio of densities by which s becomes t (the likelihood-ratio trick, arXiv:1506.02169). Bins of many variables would
be empty; trees put bins where events are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.dataset.reweight import (
    CLOSURE_BINS,
    Closure,
    FloatArray,
    Reweighting,
    ToClass,
    Variables,
    check_reweighting,
    class_of,
    class_sizes,
    table_of,
    variable_closure,
    variable_names,
)
from fivesigma.dataset.weight_policy import require_non_negative

_LARGEST_RATIO = 100.0
"""Of densities, before weights are normalised: beyond it a single event would count for all."""


@dataclass(frozen=True)
class BoostedReweighting(Reweighting):
    """Weights and closure as of `reweight`; the factors come from ``models``, one for each fold that it has not seen.

    ``edges`` are those of the closure's spectra; ``factors`` holds what normalises each class.
    """

    models: tuple[Any, ...]
    changed: int

    def factor_of(self, variables: Variables, y: NDArray[Any]) -> FloatArray:
        """The factors for other events: the mean over the models."""
        table, label = table_of(variables, len(y)), np.asarray(y).astype(np.intp)
        ratio = np.mean([_ratio(model, table) for model in self.models], axis=0)
        factors: FloatArray = np.where(label == self.changed, ratio * self.factors[self.changed, 0], 1.0)
        return factors


def reweight_boosted(
    variables: Variables,
    y: NDArray[Any],
    weight: NDArray[Any],
    fold: NDArray[Any],
    *,
    to_class: ToClass = "signal",
    options: Mapping[str, Any] | None = None,
) -> BoostedReweighting:
    """Weights with which the densities of both classes agree in all the variables together.

    Parameters
    ----------
    variables, y, weight, to_class
        as in `reweight`, but weights may not be negative.
    fold
        (event,): an event's factor comes from the model that was fitted on all other folds. Give the dataset's own.
    options
        ``trees`` (100), ``learning_rate`` (0.1), ``leaves`` (4), ``min_events_in_leaf`` (400: each density ratio is
        one of so many events). Trees that follow fluctuations of the other folds show as an AUC below ½ in the closure.

    Raises
    ------
    WeightError
        for negative weights, or a class without a positive sum.
    ConfigError
        for fewer than two folds, or options that are not known.
    """
    table, w, label = table_of(variables, len(y)), np.asarray(weight, np.float64), np.asarray(y).astype(np.intp)
    check_reweighting(table, label, w, "match")
    require_non_negative(w, "boosted reweighting")
    chosen = _options(options or {})
    folds = np.unique(fold)
    if len(folds) < 2 or len(fold) != len(w):
        raise ConfigError(f"expected a fold for each of {len(w)} events, two different ones at least, got {len(folds)}")
    target = class_of(to_class)
    changed = 1 - target
    ratio, models = np.ones(len(w)), []
    for k in folds:
        models.append(_fit(table[fold != k], label[fold != k] == target, w[fold != k], chosen))
        ratio[fold == k] = _ratio(models[-1], table[fold == k])
    own = label == changed
    after = w.copy()
    after[own] *= ratio[own]
    normalise = np.ones((2, 1))
    normalise[changed] = w[own].sum() / after[own].sum()
    after[own] *= normalise[changed, 0]
    edges = tuple(np.linspace(x.min(), x.max(), CLOSURE_BINS + 1) for x in table.T)
    names = variable_names(variables, table.shape[1])
    spectra = tuple(
        variable_closure(name, x, label, w, after, e) for name, x, e in zip(names, table.T, edges, strict=True)
    )
    closure = Closure(spectra, class_sizes(label, w), class_sizes(label, after), (0.0, 0.0), (0.0, 0.0))
    return BoostedReweighting(after, edges, normalise, closure, tuple(models), changed)


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    known = {"trees": 100, "learning_rate": 0.1, "leaves": 4, "min_events_in_leaf": 400}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"boosted reweighting has no option {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return known | dict(options)


def _fit(table: FloatArray, in_target: NDArray[np.bool_], weight: FloatArray, options: Mapping[str, Any]) -> Any:
    import lightgbm  # here, so that reading and converting do not wait for it

    balance = np.where(in_target, weight[~in_target].sum() / weight[in_target].sum(), 1.0)
    w = weight * balance
    data = lightgbm.Dataset(table, in_target.astype(np.int8), weight=w / w.mean(), params={"verbosity": -1})
    parameters = {
        "objective": "binary",
        "learning_rate": options["learning_rate"],
        "num_leaves": options["leaves"],
        "min_data_in_leaf": options["min_events_in_leaf"],
        "num_threads": 1,
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return lightgbm.train(parameters, data, options["trees"])


def _ratio(model: Any, table: FloatArray) -> FloatArray:
    """Target's density over the other's."""
    odds = np.exp(np.asarray(model.predict(table, raw_score=True, num_threads=1)))
    ratio: FloatArray = np.clip(odds, 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)
    return ratio
