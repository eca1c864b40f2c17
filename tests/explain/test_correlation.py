import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr

from fivesigma.core.errors import FeatureError, NoEventsError
from fivesigma.explain import linear_correlations, pixel_correlation


def sparse_images(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mostly empty pixels, and a score that uses some of them."""
    images = rng.exponential(size=(n, 4, 5)) * (rng.random((n, 4, 5)) < 0.15)
    images[:, 3, 3] = 0
    return images, np.tanh(images[:, 1, 2] - images[:, 2, 2]) + 0.3 * rng.normal(size=n)


def test_every_pixel_has_scipys_coefficient() -> None:
    images, score = sparse_images(np.random.default_rng(0), 800)
    found = pixel_correlation(images, score)
    for row in range(4):
        for column in range(5):
            if (row, column) != (3, 3):
                expected = pearsonr(images[:, row, column], score).statistic
                assert found.correlation[row, column] == pytest.approx(expected)
    assert found.correlation[1, 2] > 0 > found.correlation[2, 2]
    assert (found.correlation[3, 3], found.uncertainty[3, 3]) == (0.0, 0.0)  # always empty
    json.dumps(found.to_json(), allow_nan=False)


def test_weights_stand_for_repeated_events_and_a_mask_for_a_selection() -> None:
    rng = np.random.default_rng(1)
    images, score = sparse_images(rng, 500)
    times = rng.integers(0, 3, 500)
    weighted = pixel_correlation(images, score, times)
    repeated = pixel_correlation(np.repeat(images, times, axis=0), np.repeat(score, times))
    assert weighted.correlation == pytest.approx(repeated.correlation)
    mask = rng.random(500) < 0.3
    masked = pixel_correlation(images, score, mask=mask, description="a window")
    selected = pixel_correlation(images[mask], score[mask])
    assert masked.correlation == pytest.approx(selected.correlation)
    assert masked.uncertainty == pytest.approx(selected.uncertainty)
    assert (masked.n_events, masked.description) == (mask.sum(), "a window")


@pytest.mark.parametrize("weighted", [False, True])
def test_the_uncertainty_is_that_of_toys_for_empty_pixels_too(weighted: bool) -> None:
    rng = np.random.default_rng(2)
    toys = []
    for _ in range(200):
        images, score = sparse_images(rng, 1200)
        weight = rng.exponential(size=1200) if weighted else None
        toys.append(pixel_correlation(images, score, weight))
    spread = np.std([toy.correlation for toy in toys], axis=0)
    stated = np.mean([toy.uncertainty for toy in toys], axis=0)
    assert stated == pytest.approx(spread, rel=0.25)  # 20 pixels, each spread known to 5 %
    filled = spread > 0
    assert np.mean(stated[filled] / spread[filled]) == pytest.approx(1, abs=0.07)


def test_gaussians_have_fishers_uncertainty() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=20_000)
    y = 0.6 * x + 0.8 * rng.normal(size=20_000)
    found = linear_correlations({"x": x, "y": y})
    assert found.coefficient[0, 1] == pytest.approx(0.6, abs=4 * found.uncertainty[0, 1])
    assert found.uncertainty[0, 1] == pytest.approx((1 - 0.6**2) / np.sqrt(20_000), rel=0.05)
    assert np.diag(found.coefficient) == pytest.approx([1, 1])
    assert np.diag(found.uncertainty) == pytest.approx([0, 0], abs=1e-9)
    assert found.to_json()["names"] == ["x", "y"]


def test_too_few_events_and_bad_arrays_are_named() -> None:
    images, score = sparse_images(np.random.default_rng(4), 20)
    with pytest.raises(NoEventsError, match="a window: 0 events"):
        pixel_correlation(images, score, mask=np.zeros(20, dtype=bool), description="a window")
    with pytest.raises(NoEventsError, match="weights summing to 0"):
        pixel_correlation(images, score, np.zeros(20))
    with pytest.raises(FeatureError, match=r"score: expected shape \(20,\), got \(19,\)"):
        pixel_correlation(images, score[1:])
    with pytest.raises(FeatureError, match="score: 1 of 20 values are NaN"):
        pixel_correlation(images, np.append(score[1:], np.nan))
    with pytest.raises(FeatureError, match="mask: expected bool"):
        pixel_correlation(images, score, mask=np.arange(20))
    with pytest.raises(NoEventsError, match="no variables"):
        linear_correlations({})
