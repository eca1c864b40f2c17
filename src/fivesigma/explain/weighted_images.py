"""Checks and sums that all pictures of a network share: images, labels and weights of the same events."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import FeatureError, WeightError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def image_array(images: ArrayLike) -> NDArray[np.floating[Any]]:
    """Images of shape (event, row, column), finite, in the precision they came in."""
    array = np.asarray(images)
    if array.ndim != 3 or len(array) == 0:
        raise FeatureError(f"images: expected shape (event, row, column) with at least one event, got {array.shape}")
    if not np.isfinite(array.sum(axis=(1, 2))).all():
        raise FeatureError("images: some pixels are NaN or infinite")
    return array


def aligned(name: str, values: ArrayLike, events: int) -> Floats:
    """A finite float64 vector with a value for each event."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (events,):
        raise FeatureError(f"{name}: expected shape ({events},), got {vector.shape}")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise FeatureError(f"{name}: {len(bad)} of {events} values are NaN or infinite, the first at event {bad[0]}")
    return vector


def weights_of(weight: ArrayLike | None, events: int) -> Floats:
    """The weights, 1 if there are none."""
    return np.ones(events) if weight is None else aligned("weight", weight, events)


def mask_of(mask: ArrayLike | None, events: int) -> Mask:
    """The mask, all events if there is none."""
    if mask is None:
        return np.ones(events, dtype=np.bool_)
    chosen = np.asarray(mask)
    if chosen.shape != (events,) or chosen.dtype != np.bool_:
        raise FeatureError(f"mask: expected bool of shape ({events},), got {chosen.dtype} of {chosen.shape}")
    return chosen


def mean_image(images: NDArray[Any], weight: Floats) -> tuple[Floats, Floats]:
    """The weighted mean of images, Σwx/Σw, and its uncertainty √(Σw²(x−mean)²)/Σw, both of one image's shape.

    NaN for no events; signed weights are taken, if their sum is positive.
    """
    if len(images) == 0:
        return np.full(images.shape[1:], np.nan), np.full(images.shape[1:], np.nan)
    total = float(weight.sum())
    if not total > 0:
        raise WeightError(f"the weights of {len(images)} images sum to {total:.6g}; an average needs a positive sum")
    # A block at a time: all images in float64 need not fit in memory.
    blocks = [slice(start, start + 4096) for start in range(0, len(images), 4096)]
    mean = np.sum([np.tensordot(weight[block], images[block], axes=1) for block in blocks], axis=0) / total
    squares = np.zeros_like(mean)
    for block in blocks:
        squares += np.tensordot(weight[block] ** 2, (images[block] - mean) ** 2, axes=1)
    return mean, np.sqrt(squares) / total


def json_array(array: ArrayLike, digits: int = 5) -> Any:
    """Nested lists with a few significant digits; ``None`` for what is not finite."""
    values = np.asarray(array, dtype=np.float64)
    if values.ndim == 0:
        number = float(values)
        return float(f"{number:.{digits}g}") if math.isfinite(number) else None
    return [json_array(part, digits) for part in values]
