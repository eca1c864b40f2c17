"""Linear correlation: of every pixel with the output, and of variables with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import NoEventsError
from fivesigma.explain.weighted_images import Floats, aligned, image_array, json_array, mask_of, weights_of

MINIMAL_EVENTS = 4
"""Fewer points do not measure a correlation."""


@dataclass(frozen=True, eq=False)
class PixelCorrelation:
    """Pearson correlation of every pixel with the output of a model, in one region."""

    description: str
    n_events: int
    correlation: Floats  # (row, column) −1…1; 0 where a pixel is the same in all events (always empty)
    uncertainty: Floats  # (row, column)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        images = {name: json_array(getattr(self, name)) for name in ("correlation", "uncertainty")}
        return {"description": self.description, "n_events": self.n_events, **images}


@dataclass(frozen=True, eq=False)
class LinearCorrelations:
    """Pearson correlation coefficients of all pairs of variables."""

    description: str
    names: tuple[str, ...]
    coefficient: Floats  # (variable, variable)
    uncertainty: Floats  # (variable, variable)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        matrices = {name: json_array(getattr(self, name)) for name in ("coefficient", "uncertainty")}
        return {"description": self.description, "names": list(self.names), **matrices}


def pearson(values: NDArray[Any], target: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted Pearson correlation of each column of ``values`` (event, column) with ``target`` (event,).

    The uncertainty is the distribution-free one from the influence function, z_x z_y − r (z_x² + z_y²)/2 (Devlin,
    Gnanadesikan and Kettenring, Biometrika 62 (1975) 531): pixels are empty in most jets, and Fisher's z, made for
    Gaussians, would be wrong. It is 10–20 % too small where only some tens of events fill the pixel. A column or
    target without positive variance gets 0 ± 0.
    """
    total = weight.sum()
    share = weight / total
    x = values - share @ values
    y = target - share @ target
    variance_x, variance_y = share @ x**2, float(share @ y**2)
    # A constant column has variance of rounding only; compare with its own scale.
    scale = (share @ values) ** 2 + variance_x
    defined = (variance_x > 1e-12 * np.abs(scale)) & (variance_y > 0)
    z_x = x / np.sqrt(np.where(defined, variance_x, 1.0))
    z_y = y / np.sqrt(variance_y if variance_y > 0 else 1.0)
    coefficient = np.where(defined, share * z_y @ z_x, 0.0)
    influence = z_x * z_y[:, None] - coefficient / 2 * (z_x**2 + z_y[:, None] ** 2)
    return coefficient, np.where(defined, np.sqrt(share**2 @ influence**2), 0.0)


def pixel_correlation(
    images: ArrayLike,
    score: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    description: str = "all events",
) -> PixelCorrelation:
    """Pearson correlation of every pixel with the output (arXiv:1511.05190).

    Parameters
    ----------
    images : (event, row, column).
    score : (event,) output of the model.
    weight : (event,) signed, with a positive sum.
    mask : (event,) bool, a restricted phase space, said in words in ``description``.

    Raises
    ------
    NoEventsError
        fewer than four events in the mask, or weights that do not sum to a positive number there.
    """
    array = image_array(images)
    events = len(array)
    chosen = np.flatnonzero(mask_of(mask, events))
    scores, weights = aligned("score", score, events)[chosen], weights_of(weight, events)[chosen]
    _check_enough(weights, description)
    rows = [pearson(array[chosen, row].astype(np.float64), scores, weights) for row in range(array.shape[1])]
    correlation, uncertainty = (np.stack(part) for part in zip(*rows, strict=True))
    return PixelCorrelation(description, len(chosen), correlation, uncertainty)


def linear_correlations(
    columns: Mapping[str, ArrayLike],
    weight: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    description: str = "all events",
) -> LinearCorrelations:
    """Matrix of linear correlation coefficients with uncertainties; ``mask`` usually chooses a class."""
    names = tuple(columns)
    if not names:
        raise NoEventsError("no variables to correlate", remedy="name at least one")
    events = len(np.asarray(columns[names[0]]))
    chosen = mask_of(mask, events)
    values = np.stack([aligned(name, columns[name], events) for name in names], axis=1)[chosen]  # (event, variable)
    weights = weights_of(weight, events)[chosen]
    _check_enough(weights, description)
    rows = [pearson(values, values[:, i], weights) for i in range(len(names))]
    coefficient, uncertainty = (np.stack(part) for part in zip(*rows, strict=True))
    return LinearCorrelations(description, names, coefficient, uncertainty)


def _check_enough(weight: Floats, description: str) -> None:
    if len(weight) < MINIMAL_EVENTS or not weight.sum() > 0:
        raise NoEventsError(
            f"{description}: {len(weight)} events with weights summing to {weight.sum():.6g} give no correlation",
            remedy="widen the window",
        )
