"""How good a score is for a discovery when a nuisance moves the background: what a penalty λ is chosen by."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.learn.nuisances import MOST_CATEGORIES
from fivesigma.physics.significance import approximate_median_significance

CUTS = 100
"""Cuts tried, at quantiles of the background's score."""
FEWEST_BACKGROUND = 20
"""Events of background that must pass, so that no fluctuation wins."""


@dataclass(frozen=True)
class PenaltyScore:
    """AMS at the best cut, and what the background's uncertainty is there, relative to its yield."""

    significance: float
    cut: float
    background_uncertainty: float
    signal_efficiency: float
    background_efficiency: float

    def to_json(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def score_penalty(
    score: NDArray[np.float64],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    nuisance: NDArray[np.float64],
    *,
    signal: float,
    background: float,
    relative_uncertainty: float = 0.0,
) -> PenaltyScore:
    """The largest AMS over cuts (arXiv:1611.01046, section 5.2), with the nuisances' effect as uncertainty.

    ``signal`` and ``background`` are yields before the cut. σ_b² = (relative_uncertainty · b)² + Σ over nuisances
    (spread · b)², the spread being the standard deviation of the background's efficiency between the values of a discrete
    nuisance or the quintiles of a continuous one, relative to its mean; the statistical part of that spread is in it.
    """
    s, b = y == 1, y == 0
    cuts = np.unique(np.quantile(score[b], np.linspace(0, 1, CUTS + 1)[:-1]))
    passed = score[:, None] >= cuts  # (event, cut)
    signal_efficiency = weight[s] @ passed[s] / weight[s].sum()
    background_efficiency = weight[b] @ passed[b] / weight[b].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = [_spread(passed[b], weight[b], z[b]) / background_efficiency for z in nuisance.T]
        uncertainty = np.sqrt(relative_uncertainty**2 + np.sum(np.square(spread), axis=0))
        found = approximate_median_significance(
            signal * signal_efficiency,
            background * background_efficiency,
            uncertainty * background * background_efficiency,
        )
    found = np.where((passed[b].sum(axis=0) >= FEWEST_BACKGROUND) & np.isfinite(found), found, 0.0)
    best = int(np.argmax(found))
    return PenaltyScore(
        float(found[best]),
        float(cuts[best]),
        float(uncertainty[best]),
        float(signal_efficiency[best]),
        float(background_efficiency[best]),
    )


def _spread(passed: NDArray[np.bool_], weight: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the efficiency between groups of z, (cut,)."""
    values = np.unique(z)
    if len(values) > MOST_CATEGORIES:
        group = np.searchsorted(np.quantile(z, [0.2, 0.4, 0.6, 0.8]), z)
    else:
        group = np.searchsorted(values, z)
    groups = [group == g for g in np.unique(group)]
    share = np.array([weight[g].sum() for g in groups]) / weight.sum()
    efficiency = np.array([weight[g] @ passed[g] / weight[g].sum() for g in groups])  # (group, cut)
    mean = share @ efficiency
    spread: NDArray[np.float64] = np.sqrt(share @ np.square(efficiency - mean))
    return spread
