"""Average jet images per class, inclusive and in narrow windows of mass and τ21 (arXiv:1511.05190)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fivesigma.explain.weighted_images import Floats, aligned, image_array, json_array, mask_of, mean_image, weights_of


@dataclass(frozen=True, eq=False)
class AverageImages:
    """The weighted mean images of both classes in one region; NaN for a class without events there."""

    description: str
    n_signal: int
    n_background: int
    signal: Floats  # (row, column)
    background: Floats  # (row, column)
    difference: Floats  # (row, column) signal − background
    difference_uncertainty: Floats  # (row, column)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        images = ("signal", "background", "difference", "difference_uncertainty")
        counts = {"description": self.description, "n_signal": self.n_signal, "n_background": self.n_background}
        return counts | {name: json_array(getattr(self, name)) for name in images}


def average_images(
    images: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    windows: Mapping[str, ArrayLike] | None = None,
) -> tuple[AverageImages, ...]:
    """Average images of all events, then in every window.

    Parameters
    ----------
    images : (event, row, column).
    y : (event,) 0 background, 1 signal.
    weight : (event,) signed.
    windows : description → mask (event,) bool.
    """
    array = image_array(images)
    events = len(array)
    signal, weights = aligned("y", y, events) == 1, weights_of(weight, events)
    regions = {"all events": np.ones(events, dtype=np.bool_)}
    regions |= {name: mask_of(mask, events) for name, mask in (windows or {}).items()}
    averages = []
    for description, mask in regions.items():
        in_signal, in_background = mask & signal, mask & ~signal
        s, s_uncertainty = mean_image(array[in_signal], weights[in_signal])
        b, b_uncertainty = mean_image(array[in_background], weights[in_background])
        counts = int(in_signal.sum()), int(in_background.sum())
        uncertainty = np.hypot(s_uncertainty, b_uncertainty)
        averages.append(AverageImages(description, *counts, s, b, s - b, uncertainty))
    return tuple(averages)
