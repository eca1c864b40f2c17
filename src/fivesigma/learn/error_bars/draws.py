"""What draws of a learner say of each event: a mean, its uncertainty, intervals; numbers only, no learner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm, t

from fivesigma.core.errors import ConfigError

FloatArray = NDArray[np.float64]
LEVEL = 0.6826894921370859
"""Content of the default interval: one Gaussian standard deviation each side."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviations of the target of each event, in its units: the law of total variance.

    ``epistemic`` is the spread of the mean between draws: more training events make it smaller. ``aleatoric`` is what
    is left if the mean is known: the noise of the target, or for a class √E[p(1 − p)].
    """

    epistemic: FloatArray  # (event,)
    aleatoric: FloatArray  # (event,)

    @property
    def total(self) -> FloatArray:
        """Both in quadrature."""
        return np.hypot(self.epistemic, self.aleatoric)


@dataclass(frozen=True)
class ProbabilityDraws:
    """The logit of signal of each event in each draw."""

    logit: FloatArray  # (draw, event)

    def samples(self) -> FloatArray:
        """Probabilities of background and signal, shape (draw, event, class)."""
        signal = expit(self.logit)
        return np.stack([1.0 - signal, signal], axis=-1)

    def mean(self) -> FloatArray:
        """The mean probability of signal, shape (event,)."""
        return np.asarray(expit(self.logit).mean(axis=0))

    def uncertainty(self) -> Uncertainty:
        """Of the label as 0 or 1."""
        signal = expit(self.logit)
        return Uncertainty(signal.std(axis=0), np.sqrt((signal * (1.0 - signal)).mean(axis=0)))

    def interval(self, level: float = LEVEL) -> FloatArray:
        """The central interval of the probability of signal, shape (event, 2): Gaussian in the logit."""
        centre, half = self.logit.mean(axis=0), half_width(self.logit, level)
        return np.asarray(expit(np.stack([centre - half, centre + half], axis=-1)))


@dataclass(frozen=True)
class TargetDraws:
    """Mean and variance of the target of each event in each draw."""

    means: FloatArray  # (draw, event)
    variances: FloatArray  # (draw, event)

    def samples(self) -> FloatArray:
        """The means, shape (draw, event)."""
        return self.means

    def mean(self) -> FloatArray:
        """The mean of the means, shape (event,)."""
        return np.asarray(self.means.mean(axis=0))

    def uncertainty(self) -> Uncertainty:
        """Of the target, in its units."""
        return Uncertainty(self.means.std(axis=0), np.sqrt(self.variances.mean(axis=0)))

    def interval(self, level: float = LEVEL, of: Literal["target", "mean"] = "target") -> FloatArray:
        """The central interval, shape (event, 2), of the target of one event, or of the mean of such events.

        For the target, the half-widths of the mean and of the noise (Gaussian) are added in quadrature.
        """
        if of not in {"target", "mean"}:
            raise ConfigError(f"of: expected 'target' or 'mean', got {of!r}")
        half = half_width(self.means, level)
        if of == "target":
            half = np.hypot(half, norm.ppf((1 + level) / 2) * self.uncertainty().aleatoric)
        centre = self.mean()
        return np.stack([centre - half, centre + half], axis=-1)


def half_width(draws: FloatArray, level: float) -> FloatArray:
    """Half of the central interval in which the truth lies if it is one more draw: t_{n−1} s √(1 + 1/n).

    The prediction interval of a Gaussian from n draws, so that few members of an ensemble do not promise too much; one
    draw has no spread, and its interval has no width. Shape (draw, event) → (event,).

    >>> half_width(np.array([[0.0], [2.0]]), 0.5).round(4).tolist()  # t_1 at 75 % is 1
    [1.7321]
    """
    if not 0 < level < 1:
        raise ConfigError(f"level: expected between 0 and 1, got {level:g}")
    n = len(draws)
    if n == 1:
        return np.zeros(draws.shape[1])
    return np.asarray(t.ppf((1 + level) / 2, n - 1) * math.sqrt(1 + 1 / n) * draws.std(axis=0, ddof=1))
