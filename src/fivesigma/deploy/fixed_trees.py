"""``FixedTrees``: trees in integers, their inputs, cuts and leaves of so many bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.deploy.fixed_point import FEWEST_BITS, MOST_BITS, Int64
from fivesigma.deploy.trained_model import Float64
from fivesigma.deploy.tree_ensemble import Tree, TreeEnsemble

_MOST_FRACTION = 60


@dataclass(frozen=True)
class FixedTrees:
    """Integers of ``bits`` bits, sign included: an input x is the code ⌊x 2^fraction⌋, saturated; a NaN the smallest code.

    ``trees`` compares codes with codes and sums integers, each of which stands for itself × 2^−``leaf_fraction``.
    """

    exact: TreeEnsemble
    bits: int
    fractions: tuple[int, ...]  # of each input
    leaf_fraction: int
    trees: TreeEnsemble

    @property
    def low(self) -> int:
        """The smallest code."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest code."""
        return (1 << (self.bits - 1)) - 1

    @property
    def score_bits(self) -> int:
        """Of the sum, which never overflows, and of the number 1."""
        largest = sum(int(np.abs(tree.value).max()) for tree in self.trees.trees)
        return max(largest.bit_length() + 1, self.leaf_fraction + 2)

    @property
    def words(self) -> str:
        """The number format in words."""
        return f"fixed point: inputs, cuts and leaves of {self.bits} bits, the sum of {self.score_bits}"

    def codes(self, X: NDArray[np.floating]) -> Int64:
        """Integers of inputs (event, input)."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.floor(np.ldexp(np.asarray(X, dtype=np.float64), np.array(self.fractions)))
        return np.clip(np.where(np.isnan(scaled), self.low, scaled), self.low, self.high).astype(np.int64)

    def score(self, X: NDArray[np.floating]) -> Float64:
        """The sum as a number, (event,)."""
        return np.asarray(self.trees.score(self.codes(X)) * 2.0**-self.leaf_fraction)


def quantised_trees(ensemble: TreeEnsemble, inputs: int, bits: int) -> FixedTrees:
    """Trees in integers: each input has as many fraction bits as leave room for its cuts, and all leaves the same.

    Raises
    ------
    ConfigError
        if the bits cannot be.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ConfigError(f"fixed point: expected {FEWEST_BITS} to {MOST_BITS} bits, got {bits}")
    feature = np.concatenate([tree.feature for tree in ensemble.trees])
    cut = np.concatenate([tree.threshold for tree in ensemble.trees])
    high = 2 ** (bits - 1) - 1
    fractions = []
    for i in range(inputs):
        cuts = np.abs(cut[(feature == i) & np.isfinite(cut)])
        fractions.append(_fraction(float(cuts.max()) if cuts.size else 0.0, high - 1))
    leaf_fraction = _fraction(max(float(np.abs(tree.value).max()) for tree in ensemble.trees) / ensemble.divisor, high)

    def in_integers(tree: Tree) -> Tree:
        scaled = np.floor(np.ldexp(tree.threshold, np.array(fractions, dtype=np.int64)[tree.feature]))
        leaves = np.floor(np.ldexp(tree.value / ensemble.divisor, leaf_fraction) + 0.5)
        return replace(tree, threshold=np.minimum(scaled, high), value=leaves)

    trees = TreeEnsemble(tuple(map(in_integers, ensemble.trees)), 1.0, ensemble.link, ensemble.slope)
    return FixedTrees(ensemble, bits, tuple(fractions), leaf_fraction, trees)


def _fraction(largest: float, room: int) -> int:
    """The most fraction bits with which ``largest`` still fits into ``room``."""
    found = _MOST_FRACTION if largest == 0 else math.floor(math.log2(room / largest))
    return max(-_MOST_FRACTION, min(found, _MOST_FRACTION))
