"""What each first-layer filter sees of the difference between the classes (arXiv:1511.05190)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fivesigma.core.errors import FeatureError
from fivesigma.explain.average_image import average_images
from fivesigma.explain.weighted_images import Floats, json_array


@dataclass(frozen=True, eq=False)
class ConvolvedDifference:
    """First-layer filters, and each applied to the average signal minus the average background image."""

    filters: Floats  # (filter, row, column)
    difference: Floats  # (filter, row, column) of the images' shape

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {"filters": json_array(self.filters), "difference": json_array(self.difference)}


def convolved_difference(
    filters: ArrayLike, images: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None
) -> ConvolvedDifference:
    """The difference (signal − background) of the average convolved images, for each filter.

    A convolution is linear: the average of convolved images is the convolved average, which is what is computed. The
    filter is applied as networks do (cross-correlation, without flipping it), before any bias, at every pixel, with
    zeros outside the image.

    Parameters
    ----------
    filters : (filter, row, column), such as ``estimator.first_layer_filters()``.
    images, y, weight : as in ``average_images``.
    """
    from scipy.signal import correlate2d

    kernels = np.asarray(filters, dtype=np.float64)
    if kernels.ndim != 3:
        raise FeatureError(f"filters: expected shape (filter, row, column), got {kernels.shape}")
    difference = average_images(images, y, weight)[0].difference
    if np.isnan(difference).any():
        raise FeatureError("images: a difference of averages needs events of both classes")
    return ConvolvedDifference(kernels, np.stack([correlate2d(difference, kernel, mode="same") for kernel in kernels]))
