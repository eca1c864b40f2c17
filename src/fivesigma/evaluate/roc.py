"""The ROC curve as physicists draw it: background rejection against signal efficiency, with its uncertainty band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate.bootstrap import (
    N_REPLICAS,
    bootstrap_measurement,
    bootstrap_replicas,
    central_interval,
)
from fivesigma.evaluate.efficiency import (
    Efficiencies,
    RankedEvents,
    background_efficiency_at,
    efficiencies,
    threshold_at,
)
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.metrics import METRICS, area_under_curve, rejection
from fivesigma.evaluate.scored_events import FloatVector, ScoredEvents, scored_events

DEFAULT_GRID = np.round(np.linspace(0.01, 1.0, 100), 2)
"""Signal efficiencies at which a curve is kept."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Background efficiency at a grid of signal efficiencies, with its 68.27 % band, and the area under the curve."""

    signal_efficiency: FloatVector  # (point,) the grid
    background_efficiency: FloatVector  # (point,)
    background_efficiency_low: FloatVector  # (point,) lower edge of the band
    background_efficiency_high: FloatVector  # (point,)
    threshold: FloatVector  # (point,) tightest cut that keeps at least this signal efficiency
    auc: Measurement
    how: str

    @property
    def rejection(self) -> FloatVector:
        """1/ε_B; infinite where no background is left."""
        return _inverse(self.background_efficiency)

    @property
    def rejection_low(self) -> FloatVector:
        """Lower edge of the band of 1/ε_B."""
        return _inverse(self.background_efficiency_high)

    @property
    def rejection_high(self) -> FloatVector:
        """Upper edge of the band of 1/ε_B."""
        return _inverse(self.background_efficiency_low)

    @property
    def significance_improvement(self) -> FloatVector:
        """ε_S/√ε_B, the factor by which a cut multiplies S/√B."""
        improvement: FloatVector = self.signal_efficiency * np.sqrt(self.rejection)
        return improvement

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON; infinite rejections become ``None``."""
        band = ("background_efficiency", "rejection")
        names = [f"{name}{edge}" for name in band for edge in ("", "_low", "_high")]
        names += ["signal_efficiency", "significance_improvement", "threshold"]
        curves = {name: json_list(getattr(self, name)) for name in names}
        return {**curves, "auc": self.auc.to_json(), "how": self.how}


def roc_curve(
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    signal_efficiency: ArrayLike = DEFAULT_GRID,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> RocCurve:
    """Background efficiency and rejection against signal efficiency, with a bootstrap band over events.

    Arguments and errors as in ``scored_events``. Each point is where, coming from the tightest cut, the signal
    efficiency first reaches the grid value, interpolated between cuts (see ``background_efficiency_at``): with signed
    weights the curve may rise and fall.
    """
    events = scored_events(score, y, weight, event)
    grid = np.atleast_1d(np.asarray(signal_efficiency, dtype=np.float64))
    if not ((grid > 0) & (grid <= 1)).all():
        raise ConfigError(f"signal_efficiency: expected values in (0, 1], got {grid.min():g} to {grid.max():g}")
    ranked = RankedEvents.rank(events)

    def point_values(curve: Efficiencies | None) -> FloatVector:
        if curve is None:
            return np.full(len(grid) + 1, np.nan)
        return np.append(background_efficiency_at(curve, grid), area_under_curve(curve))

    nominal = efficiencies(events)
    values = point_values(nominal)
    replicas = bootstrap_replicas(
        lambda counts: point_values(ranked.efficiencies(counts)), events.event, n_replicas=n_replicas, seed=seed
    )
    band = np.array([central_interval(replicas[:, point]) for point in range(len(grid))])
    auc_measured = bootstrap_measurement(float(values[-1]), replicas[:, -1])
    thresholds = threshold_at(nominal, grid)
    return RocCurve(grid, values[:-1], band[:, 0], band[:, 1], thresholds, auc_measured, auc_measured.how)


def measure(
    metric: str,
    score: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> Measurement:
    """One metric of one model with its bootstrap uncertainty; ``metric`` is a name of ``METRICS``.

    >>> print(measure("auc", [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).value)
    0.75
    """
    wanted = METRICS[metric]
    events = scored_events(score, y, weight, event)
    replicas = metric_replicas([events], [wanted.of], n_replicas, seed)[:, 0, 0]
    return bootstrap_measurement(wanted.of(efficiencies(events)), replicas)


def metric_replicas(
    samples: Sequence[ScoredEvents], functions: Sequence[Callable[[Efficiencies], float]], n_replicas: int, seed: int
) -> NDArray[np.float64]:
    """Functions of the efficiencies of several models on the same rows, in every replica: (replica, model, function).

    NaN where a class is empty in a replica.
    """
    ranked = [RankedEvents.rank(sample) for sample in samples]

    def values(counts: NDArray[np.uint8]) -> NDArray[np.float64]:
        curves = [model.efficiencies(counts) for model in ranked]
        return np.array([[np.nan if curve is None else of(curve) for of in functions] for curve in curves])

    return bootstrap_replicas(values, samples[0].event, n_replicas=n_replicas, seed=seed)


def auc(score: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Weighted area under the ROC curve, exact with ties.

    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return area_under_curve(efficiencies(scored_events(score, y, weight)))


def rejection_at(signal_efficiency: float, score: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Background rejection 1/ε_B at one signal efficiency."""
    return rejection(efficiencies(scored_events(score, y, weight)), signal_efficiency)


def _inverse(efficiency: FloatVector) -> FloatVector:
    return np.divide(1.0, efficiency, out=np.full_like(efficiency, np.inf), where=efficiency > 0)
