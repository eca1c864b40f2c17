"""Models of the flow ``topological-trigger``: cuts, trees, bonsai trees and uniform ones, and what they are exported as.

A bonsai tree (arXiv:1210.6861) is trained on inputs that are cut into bins: each value is replaced by one point of its bin.
All it can ever answer is then a table with one cell for each combination of bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.core.integrity import content_hash
from fivesigma.deploy.binning import Axis, make_axes
from fivesigma.deploy.table_loss import table_score
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.physics.n_body import CANDIDATE_COLUMNS

Floats = NDArray[np.float64]

UNITS = {"sum_pt": "GeV", "min_pt": "GeV", "mass": "GeV", "corrected_mass": "GeV", "doca": "mm"}


class TriggerModelWords(BaseModel):
    """One model of the study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimator: str = Field(description="a name that `fivesigma studies estimators` lists")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the estimator")
    bonsai: bool = Field(default=False, description="train on binned inputs")
    uniform: tuple[str, ...] = Field(
        default=(), description="decay_time, corrected_mass: in which its efficiency shall be uniform"
    )


@dataclass(frozen=True)
class TrainingCandidates:
    """Rows to learn from: inputs ``X`` (row, input), ``y`` (row,), ``weight`` (row,), ``nuisance`` by name (row,)."""

    X: Floats
    y: NDArray[np.int8]
    weight: Floats
    nuisance: Mapping[str, Floats]


@dataclass(frozen=True)
class TriggerModel:
    """A fitted model; of a bonsai tree with the axes that it sees its inputs through."""

    words: TriggerModelWords
    trained: TrainedModel
    axes: tuple[Axis, ...] | None

    def score(self, X: Floats) -> Floats:
        """Of candidates (row, input), shape (row,)."""
        if not len(X):
            return np.empty(0)
        return self.trained.probability(X) if self.axes is None else table_score(self.trained, self.axes, X)


def fit_trigger_model(
    name: str, words: TriggerModelWords, rows: TrainingCandidates, bins: Mapping[str, tuple[float, ...]], seed: int
) -> TriggerModel:
    """Fit one model; ``bins`` are the edges by input for bonsai trees."""
    unfitted = TrainedModel(
        name,
        None,
        CANDIDATE_COLUMNS,
        units=UNITS,
        source=f"{words.estimator} of the study topological-trigger",
        recorded=rows.X,
        labels=rows.y,
        weight=rows.weight,
    )
    axes = make_axes(unfitted, {name: list(edges) for name, edges in bins.items()}, {}) if words.bonsai else None
    options = dict(words.options)
    if "seed" in ESTIMATORS[words.estimator].__init__.__code__.co_varnames:
        options.setdefault("seed", seed)
    estimator = ESTIMATORS[words.estimator](**options)
    X = rows.X if axes is None else on_points(axes, rows.X)
    if words.uniform:
        estimator.fit(X, rows.y, rows.weight, nuisance=np.stack([rows.nuisance[n] for n in words.uniform], axis=1))
    else:
        estimator.fit(X, rows.y, rows.weight)
    digest = content_hash({"model": name, **words.model_dump(mode="json"), "answers": _answers(estimator, X)})
    return TriggerModel(words, replace(unfitted, estimator=estimator, digest=digest), axes)


def on_points(axes: tuple[Axis, ...], X: Floats) -> Floats:
    """Each value replaced by its bin's point, (row, input)."""
    return np.stack([axis.points[axis.bin(x)] for axis, x in zip(axes, X.T, strict=True)], axis=1)


def _answers(estimator: Any, X: Floats) -> list[float]:
    return [float(p) for p in estimator.predict_proba(X[:100])[:, 1]]
