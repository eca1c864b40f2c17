"""Jets with a known difference between the classes."""

import numpy as np
import pytest
from numpy.typing import NDArray

Images = NDArray[np.float64]


@pytest.fixture(scope="session")
def jets() -> tuple[Images, NDArray[np.int64], NDArray[np.float64]]:
    """Signal has a second spot below the centre; weights of both signs."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    images = rng.exponential(size=(600, 9, 9)) * (rng.random((600, 9, 9)) < 0.2)
    images[:, 4, 4] += 10
    images[y == 1, 7, 4] += 5
    return images, y, np.where(rng.random(600) < 0.1, -1.0, 1.0)
