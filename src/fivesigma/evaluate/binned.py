"""Metrics in bins of a variable, and in a restricted phase space where only new information can discriminate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, NoEventsError, UnknownNameError, WeightError
from fivesigma.core.registry import unknown_name
from fivesigma.evaluate.binomial import inverse, weighted_efficiency
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement
from fivesigma.evaluate.efficiency import efficiencies, threshold_at
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.metrics import rejection
from fivesigma.evaluate.roc import metric_replicas
from fivesigma.evaluate.scored_events import BoolVector, ScoredEvents, finite_vector, scored_events


@dataclass(frozen=True)
class BinRejection:
    """Background rejection in one bin, twice: with a cut chosen in the bin, and with the inclusive cut."""

    low: float
    high: float
    n_signal: int
    n_background: int
    own_cut: Measurement | None  # 1/ε_B where ε_S in this bin is the target; None if a class is empty here
    inclusive_cut: Measurement | None  # 1/ε_B in this bin of the cut that has the target ε_S over all bins
    inclusive_signal_efficiency: Measurement | None  # ε_S in this bin of that cut

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        measured = ("own_cut", "inclusive_cut", "inclusive_signal_efficiency")
        return {
            "low": self.low,
            "high": self.high,
            "n_signal": self.n_signal,
            "n_background": self.n_background,
        } | {name: None if (m := getattr(self, name)) is None else m.to_json() for name in measured}


@dataclass(frozen=True)
class BinnedRejection:
    """Rejection at one signal efficiency in bins of a variable."""

    variable: str
    signal_efficiency: float
    inclusive_threshold: float
    bins: tuple[BinRejection, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "variable": self.variable,
            "signal_efficiency": self.signal_efficiency,
            "inclusive_threshold": self.inclusive_threshold,
            "bins": [b.to_json() for b in self.bins],
        }


def rejection_in_bins(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    values: ArrayLike,
    edges: Sequence[float],
    variable: str,
    signal_efficiency: float = 0.5,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> BinnedRejection:
    """Background rejection at a signal efficiency in bins of ``values`` (row,), bins [low, high), the last closed.

    ``own_cut`` chooses the cut in each bin (bootstrap uncertainty, the cut chosen anew in each replica).
    ``inclusive_cut`` holds fixed the tightest cut with the target efficiency over all rows (binomial uncertainty): what
    an analysis with a single cut sees in each bin; its signal efficiency there stands beside it.
    """
    events = scored_events(score, y, weight, event)
    position = finite_vector(variable, values, len(events))
    limits = np.asarray(edges, dtype=np.float64)
    if limits.ndim != 1 or len(limits) < 2 or not (np.diff(limits) > 0).all():
        raise ConfigError(f"edges: expected at least two rising bin edges of {variable}, got {list(edges)}")
    threshold = float(threshold_at(efficiencies(events), signal_efficiency)[0])
    bins = []
    for i, (low, high) in enumerate(itertools.pairwise(limits)):
        inside = (position >= low) & ((position < high) | ((i == len(limits) - 2) & (position == high)))
        bins.append(_bin(events, inside, float(low), float(high), threshold, signal_efficiency, n_replicas, seed))
    return BinnedRejection(variable, signal_efficiency, threshold, tuple(bins))


def _bin(
    events: ScoredEvents,
    inside: BoolVector,
    low: float,
    high: float,
    threshold: float,
    target: float,
    n_replicas: int,
    seed: int,
) -> BinRejection:
    n_signal, n_background = int((inside & events.signal).sum()), int((inside & ~events.signal).sum())
    try:
        chosen = events.select(inside, f"{low:g}…{high:g}")
    except (NoEventsError, WeightError):  # an empty bin is a result, not a failure: it stays in the table, empty
        return BinRejection(low, high, n_signal, n_background, None, None, None)
    value = rejection(efficiencies(chosen), target)
    replicas = metric_replicas([chosen], [lambda curve: rejection(curve, target)], n_replicas, seed)[:, 0, 0]
    passed: BoolVector = chosen.score >= threshold
    signal = weighted_efficiency(passed[chosen.signal], chosen.weight[chosen.signal])
    background = weighted_efficiency(passed[~chosen.signal], chosen.weight[~chosen.signal])
    own = bootstrap_measurement(value, replicas)
    return BinRejection(low, high, n_signal, n_background, own, inverse(background), signal)


@dataclass(frozen=True, eq=False)
class PhaseSpace:
    """A region in words and as a mask over rows."""

    description: str
    mask: NDArray[np.bool_]


def phase_space(columns: Mapping[str, ArrayLike], windows: Mapping[str, tuple[float, float]]) -> PhaseSpace:
    """Rows inside open windows of variables, for ``compare(…, mask=region.mask, description=region.description)``.

    >>> jets = {"jet_mass": [78.0, 80.0], "tau21": [0.2, 0.2]}
    >>> region = phase_space(jets, {"jet_mass": (79, 81), "tau21": (0.19, 0.21)})
    >>> region.description, region.mask
    ('79 < jet_mass < 81, 0.19 < tau21 < 0.21', array([False,  True]))
    """
    masks = []
    for name, (low, high) in windows.items():
        if name not in columns:
            raise UnknownNameError(unknown_name("column", name, columns))
        values = np.asarray(columns[name], dtype=np.float64)
        masks.append((values > low) & (values < high))
    if not masks:
        raise ConfigError("windows: expected at least one variable with its limits, got none")
    words = ", ".join(f"{low:g} < {name} < {high:g}" for name, (low, high) in windows.items())
    return PhaseSpace(words, np.logical_and.reduce(masks))


W_WINDOW = {"jet_mass": (79.0, 81.0), "tau21": (0.19, 0.21)}
"""The restricted phase space of arXiv:1511.05190: jet mass in GeV and τ21 are all but fixed."""
