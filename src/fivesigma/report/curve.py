"""The shape of a ROC curve as the report reads it: `fivesigma.evaluate.RocCurve`, or anything with the same arrays."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Curve(Protocol):
    """Background efficiency at rising signal efficiencies, with a band. All arrays are of shape (point,)."""

    @property
    def signal_efficiency(self) -> Array:
        """ε_S, from 0 to 1."""
        ...

    @property
    def background_efficiency(self) -> Array:
        """ε_B at each ε_S."""
        ...

    @property
    def background_efficiency_low(self) -> Array:
        """Lower edge of the band of ε_B."""
        ...

    @property
    def background_efficiency_high(self) -> Array:
        """Upper edge of the band of ε_B."""
        ...

    @property
    def threshold(self) -> Array:
        """The cut on the output; infinite where nothing passes."""
        ...


CURVE_ARRAYS = (
    "signal_efficiency",
    "background_efficiency",
    "background_efficiency_low",
    "background_efficiency_high",
    "threshold",
)


def curve_data(curve: Curve) -> dict[str, Array]:
    """The arrays of a curve by name."""
    return {name: np.asarray(getattr(curve, name), dtype=float) for name in CURVE_ARRAYS}


def thinned(curve: Curve, points: int) -> dict[str, Array]:
    """At most ``points`` points of the curve (never interpolated), evenly spread and rising in signal efficiency."""
    arrays = curve_data(curve)
    order = np.argsort(arrays["signal_efficiency"], kind="stable")
    efficiency = arrays["signal_efficiency"][order]
    wanted = np.linspace(efficiency[0], efficiency[-1], points)
    chosen = np.unique(np.clip(np.searchsorted(efficiency, wanted), 0, len(order) - 1))
    return {name: array[order[chosen]] for name, array in arrays.items()}


def inverse(efficiency: Array) -> Array:
    """1/ε, infinite where ε is not positive."""
    result: Array = np.divide(1.0, efficiency, out=np.full_like(efficiency, np.inf, dtype=float), where=efficiency > 0)
    return result


def significance(signal: Array, background: Array, relative_uncertainty: float) -> Array:
    """S/√(B + σ_B²B²) with σ_B relative to B; NaN where no background is left.

    >>> significance(np.array([10.0]), np.array([100.0]), 0.0)
    array([1.])
    """
    variance = background + (relative_uncertainty * background) ** 2
    root = np.sqrt(np.maximum(variance, 0.0))
    result: Array = np.divide(signal, root, out=np.full_like(root, np.nan), where=root > 0)
    return result
