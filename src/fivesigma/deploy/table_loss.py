"""What a table loses of its model, and how to lose least: a scan over sizes, and pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.progress import say
from fivesigma.deploy.binning import Axis, BinWord, coarser, make_axes
from fivesigma.deploy.lookup_table import Code, n_cells
from fivesigma.deploy.trained_model import Float64, TrainedModel

REPLICAS = 200
"""Of the bootstrap over events that gives a loss its uncertainty."""
PRUNED_ON = 4_000
"""Recorded events on which pruning compares what to leave out."""


@dataclass(frozen=True)
class TableSize:
    """One line of a scan: AUC of model and table on the same recorded events, the loss with its paired uncertainty."""

    bins: BinWord
    cells: int
    auc_model: float
    auc_table: float
    loss: float
    uncertainty: float


def scan_tables(
    model: TrainedModel,
    words: Sequence[BinWord],
    *,
    resolution: dict[str, float] | None = None,
    seed: int = 1,
) -> list[TableSize]:
    """Size against loss of performance for several ways of binning all inputs; no table is built for it.

    Raises
    ------
    ConfigError
        if the model has no labelled recorded events of both classes.
    """
    rows = []
    for word in words:
        axes = make_axes(model, word, resolution or {})
        loss = loss_of(model, axes, None, seed=seed)
        if loss["auc_model"] is None:
            raise ConfigError(f"model {model.name!r} has no labelled recorded events; load it from its run directory")
        rows.append(
            TableSize(
                word,
                n_cells(axes),
                loss["auc_model"],
                loss["auc_table"],
                loss["auc_loss"],
                loss["auc_loss_uncertainty"],
            )
        )
    return rows


def prune(model: TrainedModel, axes: Sequence[Axis], most_cells: int) -> tuple[Axis, ...]:
    """Leave out every other edge of the axis where that changes scores least, until the table is small enough.

    An axis that has lost its last edge is an input that the table does not look at any more. What changes least is judged
    by the mean square difference from the model's score on recorded events.

    Raises
    ------
    ConfigError
        if the table is too large and there are no recorded events to judge by.
    """
    axes = tuple(axes)
    if n_cells(axes) <= most_cells:
        return axes
    if len(model.recorded) == 0:
        raise ConfigError(
            f"the table has {n_cells(axes):,} cells, more than {most_cells:,}, and pruning needs recorded events; load the "
            "model from its run directory, or take fewer bins"
        )
    events = model.recorded[:: max(1, len(model.recorded) // PRUNED_ON)]
    exact = model.probability(events)
    before = {axis.name: axis.bins for axis in axes}
    while n_cells(axes) > most_cells:
        candidates = [
            (*axes[:i], coarser(axis, events[:, i]), *axes[i + 1 :]) for i, axis in enumerate(axes) if len(axis.edges)
        ]
        costs = [float(np.mean((table_score(model, c, events) - exact) ** 2)) for c in candidates]
        axes = candidates[int(np.argmin(costs))]
    pruned = ", ".join(
        f"{axis.name} {before[axis.name]} → {axis.bins}" for axis in axes if axis.bins < before[axis.name]
    )
    say(f"pruned to {n_cells(axes):,} cells; bins: {pruned}")
    return axes


def table_score(model: TrainedModel, axes: Sequence[Axis], events: Float64) -> Float64:
    """What a table with these axes would say, without building it."""
    points = np.stack([axis.points[axis.bin(x)] for axis, x in zip(axes, events.T, strict=True)], axis=1)
    return model.probability(points)


def loss_of(model: TrainedModel, axes: Sequence[Axis], code: Code | None, *, seed: int = 1) -> dict[str, Any]:
    """Differences of the scores on recorded events, and of the AUC if these are labelled; None where there is nothing."""
    empty = dict.fromkeys(
        ("mean_difference", "largest_difference", "auc_model", "auc_table", "auc_loss", "auc_loss_uncertainty")
    )
    if len(model.recorded) == 0:
        return {**empty, "events": 0, "words": "no recorded events to measure its loss on"}
    exact = model.probability(model.recorded)
    table = table_score(model, axes, model.recorded)
    if code is not None:
        table = code.decode(code.encode(table))
    difference = np.abs(table - exact)
    found: dict[str, Any] = {
        **empty,
        "events": len(exact),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
    }
    words = f"scores of {len(exact):,} recorded events differ by {found['mean_difference']:.2g} on average"
    if len(np.unique(model.labels)) == 2:
        first, second, spread = auc_of_both(model, exact, table, seed=seed)
        found |= {"auc_model": first, "auc_table": second, "auc_loss": first - second, "auc_loss_uncertainty": spread}
        words += f", AUC {first:.4f} → {second:.4f} (loss {first - second:.5f} ± {spread:.5f})"
    return {**found, "words": words}


def auc_of_both(model: TrainedModel, exact: Float64, other: Float64, *, seed: int = 1) -> tuple[float, float, float]:
    """AUC of the model's and of other scores of its labelled recorded events, and the uncertainty of their difference."""
    areas = [_Auc(score, model.labels) for score in (exact, other)]
    first, second = (area(model.weight) for area in areas)
    return first, second, _paired_spread(areas[0], areas[1], model.weight, seed)


class _Auc:
    """Area under the ROC curve of one score, ties counted half, for any weights (signed too)."""

    def __init__(self, score: Float64, labels: NDArray[Any]) -> None:
        _, self._place = np.unique(score, return_inverse=True)
        self._labels = labels

    def __call__(self, weight: Float64) -> float:
        signal = np.bincount(self._place, weight * (self._labels == 1))
        background = np.bincount(self._place, weight * (self._labels == 0))
        below = np.cumsum(background) - background
        return float(signal @ (below + 0.5 * background) / (signal.sum() * background.sum()))


def _paired_spread(exact: _Auc, table: _Auc, weight: Float64, seed: int) -> float:
    """Standard deviation of the loss over replicas of the same events (Poisson bootstrap)."""
    rng = np.random.default_rng(seed)
    replicas = (weight * rng.poisson(1.0, len(weight)) for _ in range(REPLICAS))
    return float(np.std([exact(drawn) - table(drawn) for drawn in replicas], ddof=1))
