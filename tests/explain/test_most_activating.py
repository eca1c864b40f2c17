import json

import numpy as np
import pytest
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.explain import most_activating_images

Images = NDArray[np.float64]


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
