"""Trees as ONNX's ``TreeEnsemble``: cuts and leaves in float64, NaN by the trees' own direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.deploy.onnx_graph import TREES, Graph, Value
from fivesigma.deploy.trained_model import Float64
from fivesigma.deploy.tree_ensemble import Tree, TreeEnsemble

SUM = 1


def tree_scores(graph: Graph, ensemble: TreeEnsemble, x: Value) -> Value:
    """Score of float64 inputs (event, input), shape (event,)."""
    total = leaf_values(graph, ensemble.trees, x)
    return total / ensemble.divisor if ensemble.divisor != 1.0 else total


def rounding_of(ensemble: TreeEnsemble) -> float:
    """By how much two sums of one leaf a tree, in any orders, can differ: 2 (n − 1) ε Σ |leaf| of the largest leaves.

    onnxruntime's order depends on the size of the batch and the number of threads.
    """
    largest = float(sum(np.abs(tree.value).max() for tree in ensemble.trees)) / ensemble.divisor
    return len(ensemble.trees) * float(np.finfo(np.float64).eps) * largest


def leaf_values(graph: Graph, trees: Sequence[Tree], x: Value) -> Value:
    """Sum of one leaf a tree, of float64 inputs (event, input), shape (event,)."""
    trees = [tree if len(tree.feature) else _stump(tree) for tree in trees]
    nodes = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    leaves = np.cumsum([0, *(len(tree.value) for tree in trees)])

    def children(side: Literal["left", "right"]) -> tuple[list[int], list[int]]:
        inner = [getattr(tree, side) for tree in trees]
        is_leaf = np.concatenate(inner) < 0
        number = [
            np.where(child < 0, ~child + leaf, child + node)
            for child, node, leaf in zip(inner, nodes[:-1], leaves[:-1], strict=True)
        ]
        return np.concatenate(number).tolist(), is_leaf.astype(int).tolist()

    def joined(part: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(tree, part) for tree in trees])

    left, left_is_leaf = children("left")
    right, right_is_leaf = children("right")
    found = graph.op(
        "TreeEnsemble",
        x,
        domain=TREES,
        tree_roots=nodes[:-1].tolist(),
        nodes_featureids=joined("feature").tolist(),
        nodes_splits=joined("threshold"),
        nodes_modes=np.zeros(nodes[-1], np.uint8),  # left where the input is at most the cut
        nodes_missing_value_tracks_true=joined("nan_left").astype(int).tolist(),
        nodes_truenodeids=left,
        nodes_trueleafs=left_is_leaf,
        nodes_falsenodeids=right,
        nodes_falseleafs=right_is_leaf,
        leaf_targetids=[0] * int(leaves[-1]),
        leaf_weights=joined("value"),
        n_targets=1,
        aggregate_function=SUM,
    )  # (event, 1)
    return found.reshape(-1)


def search_tree(cuts: Float64) -> Tree:
    """A balanced tree whose leaf is the number of (ascending) cuts that are below the input; of NaN, none."""
    n = len(cuts)
    left, right, threshold = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n)
    nodes = 0

    def grow(first: int, last: int) -> int:
        """Between cuts first … last; gives a node or ~leaf."""
        nonlocal nodes
        if first == last:
            return ~first
        node, middle = nodes, (first + last) // 2
        nodes += 1
        threshold[node] = cuts[middle]
        left[node], right[node] = grow(first, middle), grow(middle + 1, last)
        return node

    grow(0, n)
    number = np.arange(n + 1, dtype=np.float64)
    return Tree(np.zeros(n, np.int64), threshold, np.ones(n, np.bool_), left, right, number)


def _stump(tree: Tree) -> Tree:
    """A tree of one leaf with a cut that changes nothing, since ONNX's trees have one."""
    return Tree(
        np.zeros(1, np.int64),
        np.zeros(1),
        np.ones(1, np.bool_),
        np.array([~0]),
        np.array([~0]),
        np.asarray(tree.value, np.float64),
    )
