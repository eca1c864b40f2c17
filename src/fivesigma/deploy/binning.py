"""Axes of a table: where each input is cut into bins, never finer than its detector resolves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, ModelError, UnknownNameError
from fivesigma.core.registry import unknown_name
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, ensemble_on_inputs

BinWord = int | str | Sequence[float]
"""A number of equal bins, "quantiles:N", "thresholds", "thresholds:N", or edges."""


@dataclass(frozen=True)
class Axis:
    """Bins of one input: bin i holds the values above ``edges[i − 1]`` and at most ``edges[i]``, as cuts of trees do.

    Everything below the first edge is bin 0, everything above the last the last bin; a NaN is in bin 0, since it is
    above no edge. A table holds the model's answer for ``points``, one in each bin.

    >>> axis = Axis("mass", np.array([70.0, 90.0]), np.array([65.0, 80.0, 95.0]))
    >>> axis.bin(np.array([70.0, 70.1, 1e9, np.nan]))
    array([0, 1, 2, 0])
    """

    name: str
    edges: Float64  # (edge,)
    points: Float64  # (edge + 1,)

    def bin(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The bin of each value, of shape (event,)."""
        return np.where(np.isnan(x), 0, np.searchsorted(self.edges, x, side="left"))

    @property
    def bins(self) -> int:
        """How many."""
        return len(self.edges) + 1

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": self.name, "edges": self.edges.tolist(), "points": self.points.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Axis:
        """The same axis again."""
        return cls(content["name"], np.array(content["edges"], np.float64), np.array(content["points"], np.float64))


def make_axes(
    model: TrainedModel, bins: BinWord | Mapping[str, BinWord], resolution: Mapping[str, float]
) -> tuple[Axis, ...]:
    """One axis an input.

    Parameters
    ----------
    model
        whose recorded events give ranges and quantiles, and whose trees give thresholds.
    bins
        one word for all inputs, or one each.
    resolution
        by input, what the detector resolves: edges closer than this to the one before are left out.

    Raises
    ------
    ConfigError, UnknownNameError
        for a word that cannot be meant, or an input that the model does not have.
    """
    words = dict(bins) if isinstance(bins, Mapping) else dict.fromkeys(model.inputs, bins)
    for name in [*words, *resolution]:
        if name not in model.inputs:
            raise UnknownNameError(unknown_name("input of the model", name, model.inputs))
    if missing := [name for name in model.inputs if name not in words]:
        raise ConfigError(f"bins: expected a word for each input, got none for {', '.join(missing)}")
    axes = []
    for i, name in enumerate(model.inputs):
        edges = _no_finer_than(_edges(model, i, words[name]), resolution.get(name, 0.0))
        axes.append(Axis(name, edges, _points(edges, _column(model, i))))
    return tuple(axes)


def coarser(axis: Axis, recorded: Float64) -> Axis:
    """Every other edge left out; the last one leaves no cut at all."""
    edges = axis.edges[1::2]
    return Axis(axis.name, edges, _points(edges, recorded))


def _edges(model: TrainedModel, column: int, word: BinWord) -> Float64:
    name, recorded = model.inputs[column], _column(model, column)
    if isinstance(word, Sequence) and not isinstance(word, str):
        edges = np.asarray(word, dtype=np.float64)
        if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ConfigError(f"bins of {name!r}: expected finite edges in increasing order, got {list(word)}")
        return edges
    kind, _, count = str(word).partition(":")
    if kind == "thresholds":
        return _thresholds(model, column, int(count) if count else None)
    if (kind == "quantiles" and count.isdigit()) or kind.isdigit():
        n = int(count or kind)
        if n < 1 or len(recorded) == 0:
            raise ConfigError(
                f"bins of {name!r}: {word!r} needs at least one bin and recorded events; give edges instead"
            )
        between = np.arange(1, n) / n
        low, high = (recorded.min(), recorded.max())
        return np.unique(np.quantile(recorded, between) if kind == "quantiles" else low + (high - low) * between)
    raise ConfigError(
        f"bins of {name!r}: expected a number, quantiles:N, thresholds, thresholds:N or edges, got {word!r}"
    )


def _thresholds(model: TrainedModel, column: int, most: int | None) -> Float64:
    """Where the model's trees cut this input; at most ``most``, those at quantiles of all cuts."""
    if getattr(model.estimator, "estimator_name", "") not in TREE_LEARNERS:
        raise ModelError(
            f"bins 'thresholds' need a learner of trees ({', '.join(TREE_LEARNERS)}); give a number or edges"
        )
    trees = ensemble_on_inputs(model).trees
    cuts = np.sort(np.concatenate([tree.threshold[tree.feature == column] for tree in trees]))
    cuts = cuts[np.isfinite(cuts)]
    if most is None or len(np.unique(cuts)) <= most:
        return np.unique(cuts)
    chosen: Float64 = np.unique(cuts[((np.arange(most) + 0.5) / most * len(cuts)).astype(np.int64)])
    return chosen


def _no_finer_than(edges: Float64, resolution: float) -> Float64:
    """Edges at least ``resolution`` apart, from the left."""
    kept: list[float] = []
    for edge in edges.tolist():
        if not kept or edge - kept[-1] >= resolution:
            kept.append(edge)
    return np.array(kept)


def _column(model: TrainedModel, column: int) -> Float64:
    return model.recorded[:, column] if len(model.recorded) else np.empty(0)


def _points(edges: Float64, recorded: Float64) -> Float64:
    """In each bin the median of the recorded values there, or the middle of the bin; its upper edge if that is too narrow."""
    if len(edges) == 0:
        return np.array([np.median(recorded) if len(recorded) else 0.0])
    width = float(np.diff(edges).mean()) if len(edges) > 1 else max(1.0, abs(float(edges[0])))
    low = np.concatenate([[edges[0] - width], edges])
    high = np.concatenate([edges, [edges[-1] + width]])
    points = 0.5 * (low + high)
    place = np.searchsorted(edges, recorded, side="left")
    for i in np.unique(place):
        points[i] = np.median(recorded[place == i])
    inside = np.searchsorted(edges, points, side="left") == np.arange(len(points))
    return np.where(inside, points, high)
