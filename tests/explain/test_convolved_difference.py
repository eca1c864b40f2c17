import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate2d

from fivesigma.core.errors import FeatureError
from fivesigma.explain import average_images, convolved_difference

Images = NDArray[np.float64]


def test_the_average_of_convolutions_is_the_convolution_of_averages(
    jets: tuple[Images, NDArray[np.int64], NDArray[np.float64]],
) -> None:
    images, y, weight = jets
    filters = np.random.default_rng(2).normal(size=(3, 5, 5))
    found = convolved_difference(filters, images, y, weight)
    for kernel, difference in zip(filters, found.difference, strict=True):
        convolved = np.stack([correlate2d(image, kernel, mode="same") for image in images])
        assert difference == pytest.approx(average_images(convolved, y, weight)[0].difference, abs=1e-9)
    json.dumps(found.to_json(), allow_nan=False)


def test_the_filter_is_applied_as_torch_does() -> None:
    import torch

    rng = np.random.default_rng(3)
    images, filters = rng.normal(size=(2, 8, 8)), rng.normal(size=(4, 3, 3))
    found = convolved_difference(filters, images, [0, 1])
    convolved = torch.nn.functional.conv2d(torch.tensor(images[:, None]), torch.tensor(filters[:, None]), padding=1)
    assert found.difference == pytest.approx((convolved[1] - convolved[0]).numpy())


def test_a_difference_needs_both_classes_and_filters_are_images() -> None:
    with pytest.raises(FeatureError, match="needs events of both classes"):
        convolved_difference(np.ones((1, 3, 3)), np.ones((2, 4, 4)), [1, 1])
    with pytest.raises(FeatureError, match="filters: expected shape"):
        convolved_difference(np.ones((3, 3)), np.ones((2, 4, 4)), [0, 1])
