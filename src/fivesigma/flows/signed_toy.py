"""Two classes in the plane whose true densities are known although a share of their events has negative weight.

A class has the density t. A share f of its events, drawn from another density n, has weight −1; the others have weight +1
and are drawn from p = ((1 − 2 f) t + f n) / (1 − f). The weighted sum is (1 − f) p − f n = (1 − 2 f) t: negative weights
cancel what is too much of the positive ones, as counter-events of a next-to-leading-order generator do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """A round normal density in the plane."""

    mean: tuple[float, float]
    width: float

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Points, shape (n, 2)."""
        return rng.normal(self.mean, self.width, (n, 2))

    def density(self, X: FloatArray) -> FloatArray:
        """At points of shape (point, 2)."""
        distance = np.square(X - np.array(self.mean)).sum(axis=1) / self.width**2
        value: FloatArray = np.exp(-distance / 2.0) / (2.0 * np.pi * self.width**2)
        return value


TRUTH = (Normal((0.0, 0.0), 1.0), Normal((1.0, 1.0), 0.8))
"""The densities of background and signal."""

NEGATIVE = (Normal((-0.5, 1.5), 0.7), Normal((1.8, -0.2), 0.7))
"""Where events of negative weight lie: off the maxima, so that taking |w| or leaving them out bends the densities."""

LOW, HIGH, POINTS = -3.0, 4.0, 40
"""The square in which densities are compared, and points of its grid along each side."""


@dataclass(frozen=True)
class SignedEvents:
    """``X`` (event, 2), ``y`` 0 and 1, ``weight`` ±1."""

    X: FloatArray
    y: NDArray[np.int8]
    weight: FloatArray


def draw_signed(events: int, negative_fraction: float, rng: np.random.Generator) -> SignedEvents:
    """``events`` of each class, of which a share drawn from a binomial has negative weight."""
    parts: list[SignedEvents] = []
    for label in (0, 1):
        negative = rng.random(events) < negative_fraction
        of_truth = rng.random(events) < (1.0 - 2.0 * negative_fraction) / (1.0 - negative_fraction)
        X = np.where((~negative & of_truth)[:, None], TRUTH[label].draw(events, rng), NEGATIVE[label].draw(events, rng))
        parts.append(SignedEvents(X, np.full(events, label, np.int8), np.where(negative, -1.0, 1.0)))
    return SignedEvents(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def signal_probability(X: FloatArray) -> FloatArray:
    """The truth that a learner should find, for classes of equal weight; shape (point,)."""
    background, signal = (normal.density(X) for normal in TRUTH)
    p: FloatArray = signal / (signal + background)
    return p


def grid() -> tuple[FloatArray, FloatArray]:
    """Points of shape (point, 2), first variable fastest, and their share of the mean of both true densities."""
    axis = LOW + (np.arange(POINTS) + 0.5) * (HIGH - LOW) / POINTS
    second, first = np.meshgrid(axis, axis, indexing="ij")
    X = np.stack([first.ravel(), second.ravel()], axis=1)
    density = TRUTH[0].density(X) + TRUTH[1].density(X)
    share: FloatArray = density / density.sum()
    return X, share
