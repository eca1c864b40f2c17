"""What share of signal unlabelled events have, from the scores of a classifier: do two domains differ in their mixture?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

BINS = 10
"""Of equal population in the source."""
DIFFERENT = 3.0
"""Standard deviations from which on the mixtures are said to differ."""

UNTRUSTED = 1e-3
"""Probability of the fit below which the statement says that more than the mixture differs."""


@dataclass(frozen=True)
class ClassMixture:
    """Shares of signal in source and target, the latter estimated with its statistical uncertainty; χ² of the fit."""

    source: float
    target: float
    uncertainty: float
    chi2: float
    degrees_of_freedom: int

    @property
    def p_value(self) -> float:
        """Of the fit: small where the target's scores are no mixture of the source's two classes at all."""
        return float(chi2.sf(self.chi2, self.degrees_of_freedom))

    @property
    def differs(self) -> bool:
        """Whether the mixtures are further apart than ``DIFFERENT`` standard deviations."""
        return abs(self.target - self.source) > DIFFERENT * self.uncertainty

    def statement(self) -> str:
        """One sentence for a report."""
        found = (
            f"signal is {self.source:.1%} of the source and, by its scores, {self.target:.1%} ± {self.uncertainty:.1%} of "
            f"the target (fit p = {self.p_value:.2g})"
        )
        if self.p_value < UNTRUSTED:
            found += "; the classes themselves differ between the domains, so that the share may be off by more"
        if self.differs:
            found += "; domains of different mixture should not look alike: reversal may harm, see match_mixture"
        return found

    def to_json(self) -> dict[str, Any]:
        """By name, with the p-value."""
        return {**asdict(self), "p_value": self.p_value, "differs": self.differs}


def estimate_mixture(
    score: NDArray[np.float64],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    target_score: NDArray[np.float64],
    target_weight: NDArray[np.float64] | None = None,
) -> ClassMixture:
    """Fit the target's distribution of the score with the source's templates of signal and background.

    Least squares in bins, with the statistical variances of target and templates; assumes that only the mixture differs
    (p(x | y) is the same, "label shift", arXiv:1802.03916): where the classes themselves have moved, the estimate is
    biased by that, and the p-value of the fit may tell. The score should not have been trained on these events: a
    classifier that has learnt its source by heart makes templates too far apart.

    >>> rng = np.random.default_rng(1)
    >>> y = rng.integers(0, 2, 20_000)
    >>> data = rng.normal(rng.random(20_000) < 0.2)
    >>> found = estimate_mixture(rng.normal(y), y, np.ones(20_000), data)
    >>> bool(abs(found.target - 0.2) < 3 * found.uncertainty), bool(found.uncertainty < 0.02), bool(found.differs)
    (True, True, True)
    """
    target_weight = np.ones(len(target_score)) if target_weight is None else target_weight
    edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)[1:-1]))
    signal, signal_variance = _template(score[y == 1], weight[y == 1], edges)
    background, background_variance = _template(score[y == 0], weight[y == 0], edges)
    target, target_variance = _template(target_score, target_weight, edges)

    def misfit(share: float) -> float:
        expected = share * signal + (1 - share) * background
        variance = target_variance + share**2 * signal_variance + (1 - share) ** 2 * background_variance
        used = variance > 0
        return float(np.sum((target - expected)[used] ** 2 / variance[used]))

    best = minimize_scalar(misfit, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-6})
    share = float(best.x)
    variance = target_variance + share**2 * signal_variance + (1 - share) ** 2 * background_variance
    used = variance > 0
    information = float(np.sum((signal - background)[used] ** 2 / variance[used]))
    return ClassMixture(
        source=float(weight[y == 1].sum() / weight.sum()),
        target=share,
        uncertainty=information**-0.5 if information > 0 else 1.0,
        chi2=float(best.fun),
        degrees_of_freedom=max(1, int(used.sum()) - 2),  # shares add up to one, and the mixture is fitted
    )


def _template(
    score: NDArray[np.float64], weight: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the sum of weights in bins, and their variances, both (bin,)."""
    number = np.searchsorted(edges, score, side="right")
    total = weight.sum()
    share = np.bincount(number, weight, len(edges) + 1) / total
    return share, np.bincount(number, weight**2, len(edges) + 1) / total**2
