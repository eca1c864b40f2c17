from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images() -> Images:
    """Small images: signal has its second spot straight below the first, background anywhere below; like jets."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 1200)
    X = rng.exponential(0.3, (len(y), 13, 13)) * (rng.random((len(y), 13, 13)) < 0.1)
    X[:, 4, 6] += 8.0
    column = np.where(y == 1, 6, rng.integers(2, 11, len(y)))
    X[np.arange(len(y)), rng.integers(7, 11, len(y)), column] += 5.0
    return (30.0 * X).astype(np.float32), y
