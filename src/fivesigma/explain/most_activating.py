"""What makes a node fire: the average of the images that activate it most (arXiv:1511.05190)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.explain.weighted_images import Floats, aligned, image_array, json_array

EVENTS_AT_A_TIME = 1024
"""Events sent through the network at a time: a convolutional layer's output is many times its input."""


class LayeredEstimator(Protocol):
    """What is asked of a network."""

    def layer_output(self, X: Any, layer: str) -> NDArray[Any]:
        """(event, node) or (event, filter, row, column)."""


@dataclass(frozen=True, eq=False)
class MostActivatingImages:
    """For each node of one layer, the average of the images that activate it most; the most discriminating first."""

    layer: str
    n_images: int  # averaged for each node
    node: NDArray[np.int64]  # (node,) its number in the layer
    average: Floats  # (node, row, column)
    activation: Floats  # (node,) mean activation of the chosen images
    signal_fraction: Floats  # (node,) of the chosen images; NaN without labels
    dead: NDArray[np.int64]  # nodes that put out the same for every event: nothing can be chosen, they are left out

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        arrays = {name: json_array(getattr(self, name)) for name in ("average", "activation", "signal_fraction")}
        counts = {
            "layer": self.layer,
            "n_images": self.n_images,
            "node": self.node.tolist(),
            "dead": self.dead.tolist(),
        }
        return counts | arrays


def most_activating_images(
    estimator: LayeredEstimator, images: ArrayLike, layer: str, n: int = 500, *, y: ArrayLike | None = None
) -> MostActivatingImages:
    """Average the ``n`` images that activate each node most.

    Parameters
    ----------
    estimator : with ``layer_output(X, layer)``.
    images : (event, row, column), as the network takes them.
    layer : its name; the last hidden layer says most about the decision. Of a convolutional layer a filter is a node,
        and its activation the largest over all positions.
    n : how many images; at most as many as there are.
    y : (event,) labels; with them, the nodes are sorted by how far the signal fraction is from that of all images.
    """
    array = image_array(images)
    if n < 1:
        raise ConfigError(f"n: expected at least one image to average, got {n}")
    count = min(n, len(array))
    activation = np.concatenate(
        [_activation(estimator, array[i : i + EVENTS_AT_A_TIME], layer) for i in range(0, len(array), EVENTS_AT_A_TIME)]
    )  # (event, node)
    alive = np.ptp(activation, axis=0) > 0
    nodes = np.flatnonzero(alive)
    chosen = np.argsort(-activation[:, nodes], axis=0, kind="stable")[:count]  # (image, node)
    fraction = np.full(len(nodes), np.nan)
    order = np.arange(len(nodes))
    if y is not None:
        signal = aligned("y", y, len(array)) == 1
        fraction = signal[chosen].mean(axis=0)
        order = np.argsort(-np.abs(fraction - signal.mean()), kind="stable")
    average = np.stack([array[chosen[:, i]].mean(axis=0, dtype=np.float64) for i in order]) if len(order) else array[:0]
    strength = np.take_along_axis(activation[:, nodes], chosen, axis=0).mean(axis=0, dtype=np.float64)
    return MostActivatingImages(
        layer,
        count,
        nodes[order],
        np.asarray(average, dtype=np.float64),
        strength[order],
        fraction[order],
        np.flatnonzero(~alive),
    )


def _activation(estimator: LayeredEstimator, images: NDArray[Any], layer: str) -> NDArray[Any]:
    """(event, node); a filter's is its largest over all positions."""
    output = np.asarray(estimator.layer_output(images, layer))
    activation: NDArray[Any] = output.reshape(*output.shape[:2], -1).max(axis=2)
    return activation
