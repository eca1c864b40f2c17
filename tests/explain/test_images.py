import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate2d

from fivesigma.core.errors import ConfigError, FeatureError, WeightError
from fivesigma.explain import average_images, convolved_difference, most_activating_images

Images = NDArray[np.float64]


@pytest.fixture(scope="module")
def jets() -> tuple[Images, NDArray[np.int64], NDArray[np.float64]]:
    """Signal has a second spot below the centre; weights of both signs."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    images = rng.exponential(size=(600, 9, 9)) * (rng.random((600, 9, 9)) < 0.2)
    images[:, 4, 4] += 10
    images[y == 1, 7, 4] += 5
    return images, y, np.where(rng.random(600) < 0.1, -1.0, 1.0)


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
    torch = pytest.importorskip("torch")
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


class Pixels:
    """Nodes whose meaning is known: a pixel's intensity; its negative; nothing at all."""

    def layer_output(self, X: Images, layer: str) -> Images:
        assert layer == "nodes"
        return np.stack([X[:, 7, 4], -X[:, 0, 0], np.zeros(len(X))], axis=1)


class Maps:
    """One filter: the image itself; its activation is its brightest pixel."""

    def layer_output(self, X: Images, layer: str) -> Images:
        return X[:, None]


def test_the_most_activating_images_are_averaged(jets: tuple[Images, NDArray[np.int64], NDArray[np.float64]]) -> None:
    images, y, _ = jets
    found = most_activating_images(Pixels(), images, "nodes", 50, y=y)
    assert list(found.node) == [0, 1]  # the node that knows the second spot first
    assert list(found.dead) == [2]
    best = np.argsort(-images[:, 7, 4])[:50]
    assert found.average[0] == pytest.approx(images[best].mean(axis=0))
    assert found.activation[0] == pytest.approx(images[best, 7, 4].mean())
    assert found.signal_fraction[0] == 1.0
    json.dumps(found.to_json(), allow_nan=False)


def test_a_filter_is_a_node_at_its_best_position() -> None:
    images = np.random.default_rng(4).random((2500, 5, 5))  # several blocks of events
    found = most_activating_images(Maps(), images, "conv", 10)
    best = np.argsort(-images.max(axis=(1, 2)))[:10]
    assert found.average[0] == pytest.approx(images[best].mean(axis=0))
    assert np.isnan(found.signal_fraction).all()
    assert most_activating_images(Maps(), images[:5], "conv", 10).n_images == 5
    with pytest.raises(ConfigError, match="n: expected at least one"):
        most_activating_images(Maps(), images, "conv", 0)
    dark = most_activating_images(Maps(), np.zeros((5, 3, 3)), "conv", 2)
    assert dark.average.shape == (0, 3, 3)
