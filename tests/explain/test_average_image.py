import json

import numpy as np
import pytest
from numpy.typing import NDArray

from fivesigma.core.errors import FeatureError, WeightError
from fivesigma.explain import average_images

Images = NDArray[np.float64]


def test_averages_are_ratios_of_signed_sums(jets: tuple[Images, NDArray[np.int64], NDArray[np.float64]]) -> None:
    images, y, weight = jets
    window = np.arange(600) % 2 == 0
    everything, narrow = average_images(images, y, weight, windows={"even events": window})
    s = y == 1
    expected = (weight[s, None, None] * images[s]).sum(axis=0) / weight[s].sum()
    assert everything.signal == pytest.approx(expected)
    assert everything.difference == pytest.approx(everything.signal - everything.background)
    assert narrow.description == "even events"
    assert (narrow.n_signal, narrow.n_background) == ((s & window).sum(), (~s & window).sum())
    assert everything.difference[7, 4] > 10 * everything.difference_uncertainty[7, 4]
    content = json.loads(json.dumps([everything.to_json(), narrow.to_json()], allow_nan=False))
    assert len(content[0]["signal"]) == 9


def test_the_uncertainty_of_an_average_is_that_of_toys() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], 200)
    toys = [average_images(rng.exponential(size=(400, 2, 2)), y)[0] for _ in range(200)]
    spread = np.std([toy.difference for toy in toys], axis=0)
    assert np.mean([toy.difference_uncertainty for toy in toys], axis=0) == pytest.approx(spread, rel=0.2)


def test_a_window_without_a_class_shows_nothing_there() -> None:
    images, y = np.ones((4, 3, 3)), np.array([0, 0, 1, 1])
    (_, empty) = average_images(images, y, windows={"signal only": y == 1})
    assert empty.n_background == 0
    assert np.isnan(empty.background).all()
    assert empty.to_json()["background"][0][0] is None
    with pytest.raises(WeightError, match="2 images sum to 0"):
        average_images(images, y, [1, -1, 1, 1])
    with pytest.raises(FeatureError, match="expected shape \\(event, row, column\\)"):
        average_images(np.ones((4, 9)), y)
    with pytest.raises(FeatureError, match="some pixels are NaN"):
        average_images(np.full((4, 3, 3), np.nan), y)
