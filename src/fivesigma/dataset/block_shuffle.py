"""The order of events in an epoch: blocks in random order, and the events of a few blocks mixed at a time.

Blocks are permuted and taken ``blocks_in_buffer`` at a time; the events of these are permuted together (a *window*).
Two events of one batch come from the same block with probability (b − 1) / (m·b − 1), about 1/m, for m blocks of b events
in a window; after a full shuffle of n events it is (b − 1) / (n − 1). If all blocks fit into one window, the order is
a full shuffle. Everything follows from seed, epoch and number of the window, so that any batch can be made on its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EpochOrder:
    """Which blocks make which window of an epoch, and which batch which events.

    ``blocks`` in the order in which they are read; window ``k`` has the blocks ``blocks[k·m:(k + 1)·m]`` and the events
    ``window_edges[k]`` to ``window_edges[k + 1]`` of the epoch; batch ``i`` the events ``batch_edges[i]`` to
    ``batch_edges[i + 1]``.
    """

    seed: int
    epoch: int
    shuffle: bool
    blocks_in_buffer: int
    blocks: NDArray[np.int64]
    window_edges: NDArray[np.int64]
    batch_edges: NDArray[np.int64]

    @classmethod
    def of(
        cls, counts: NDArray[np.int64], blocks_in_buffer: int, batch_size: int, seed: int, epoch: int, shuffle: bool
    ) -> EpochOrder:
        """For blocks of ``counts`` chosen events; those without are never read.

        Batches are ⌈n / batch_size⌉, and their sizes differ by one at most: none is larger, none tiny, none left out.
        """
        blocks = np.flatnonzero(counts)
        if shuffle:
            blocks = np.random.default_rng([seed, epoch, 0]).permutation(blocks)
        read = np.concatenate([[0], np.cumsum(counts[blocks])])
        n, windows = int(read[-1]), math.ceil(len(blocks) / blocks_in_buffer)
        n_batches = math.ceil(n / batch_size)
        window_edges = read[np.minimum(np.arange(windows + 1) * blocks_in_buffer, len(blocks))]
        batch_edges = np.arange(n_batches + 1) * n // max(n_batches, 1)
        return cls(seed, epoch, shuffle, blocks_in_buffer, blocks, window_edges, batch_edges)

    @property
    def n_batches(self) -> int:
        """Batches in the epoch."""
        return len(self.batch_edges) - 1

    def blocks_of(self, window: int) -> NDArray[np.int64]:
        """The blocks of a window, in the order in which they are read."""
        return self.blocks[window * self.blocks_in_buffer : (window + 1) * self.blocks_in_buffer]

    def permutation(self, window: int) -> NDArray[np.int64]:
        """In which order the events of a window come, shape (events of the window,)."""
        n = int(self.window_edges[window + 1] - self.window_edges[window])
        if not self.shuffle:
            return np.arange(n)
        return np.random.default_rng([self.seed, self.epoch, window + 1]).permutation(n)

    def pieces(self, batch: int) -> list[tuple[int, int, int]]:
        """The windows that a batch takes events from, and from which place to which in their permutations."""
        start, stop = self.batch_edges[batch : batch + 2].tolist()
        found = []
        window = int(self.window_edges.searchsorted(start, side="right")) - 1
        while start < stop:
            begin, end = self.window_edges[window : window + 2].tolist()
            found.append((window, start - begin, min(stop, end) - begin))
            start, window = end, window + 1
        return found
