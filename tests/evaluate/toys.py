"""Samples whose true metrics are known in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm


class Toy(NamedTuple):
    score: NDArray[np.float64]
    y: NDArray[np.int8]


SHIFT = 1.5


def gaussians(rng: np.random.Generator, n: int, shift: float = SHIFT) -> Toy:
    """n background events of N(0, 1) and n signal events of N(shift, 1)."""
    y = np.repeat(np.array([0, 1], dtype=np.int8), n)
    return Toy(rng.normal(size=2 * n) + shift * y, y)


def true_auc(shift: float = SHIFT) -> float:
    return float(norm.cdf(shift / np.sqrt(2)))


def true_rejection(signal_efficiency: float, shift: float = SHIFT) -> float:
    return float(1 / norm.sf(norm.isf(signal_efficiency) + shift))
