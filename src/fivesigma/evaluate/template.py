"""Histograms of signed weights with their squares: what templates, ratios and χ² are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate.scored_events import FloatVector, finite_vector, weight_vector


@dataclass(frozen=True, eq=False)
class Template:
    """Sums of weights and of squared weights in bins [low, high), the last closed; what lies outside is counted.

    >>> Template.of([0.1, 0.9, 1.0, 7.0], [0.0, 0.5, 1.0], [1.0, 2.0, -0.5, 1.0]).content
    array([1. , 1.5])
    """

    edges: FloatVector  # (bin + 1,)
    content: FloatVector  # (bin,) Σw
    squares: FloatVector  # (bin,) Σw²
    outside: float  # Σw of what lies in no bin

    @classmethod
    def of(cls, values: ArrayLike, edges: ArrayLike, weight: ArrayLike | None = None, name: str = "values") -> Self:
        """Fill ``values`` (row,) with signed ``weight`` (row,), 1 by default."""
        limits = rising_edges(edges, name)
        x = finite_vector(name, values)
        w = np.ones(len(x)) if weight is None else weight_vector(weight, len(x))
        content, _ = np.histogram(x, limits, weights=w)
        squares, _ = np.histogram(x, limits, weights=w**2)
        return cls(limits, content, squares, float(w.sum() - content.sum()))

    @property
    def error(self) -> FloatVector:
        """√Σw²."""
        return np.asarray(np.sqrt(self.squares))

    def scaled(self, factor: float) -> Self:
        """All weights multiplied by a positive factor."""
        return type(self)(self.edges, factor * self.content, factor**2 * self.squares, factor * self.outside)

    def check_bins_of(self, other: Template, name: str) -> None:
        """The same edges, or a ``FeatureError``."""
        if not np.array_equal(self.edges, other.edges):
            raise FeatureError(f"{name}: expected the edges {self.edges.tolist()}, got {other.edges.tolist()}")


def rising_edges(edges: ArrayLike, name: str) -> FloatVector:
    """At least two finite rising bin edges, or a ``ConfigError`` that names what they are of."""
    limits = np.asarray(edges, dtype=np.float64)
    if limits.ndim != 1 or len(limits) < 2 or not (np.diff(limits) > 0).all() or not np.isfinite(limits).all():
        raise ConfigError(f"edges: expected at least two rising bin edges of {name}, got {limits.tolist()}")
    return limits
