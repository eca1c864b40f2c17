"""Trees as one C99 header: bitvectors (QuickScorer), nested comparisons, or arrays of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.deploy.c_source import array, comment, identifiers, number, quoted, render, smallest_unsigned
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.deploy.tree_ensemble import Tree, TreeEnsemble

Layout = Literal["auto", "bitvectors", "nested", "nodes"]
BLOCK = 64
"""Events that the batch function takes together: one cut is compared with all of them by a few vector instructions."""
CACHE = 32 * 1024
"""Bytes of leaf bits that a block may fill: trees are worked through in groups that stay in the first cache."""
MOST_LEAVES = 64  # bits of a mask


def header(model: TrainedModel, ensemble: TreeEnsemble, name: str, layout: Layout) -> str:
    """The header's text.

    Raises
    ------
    ConfigError
        if bitvectors are asked for and the trees do not fit.
    """
    members = identifiers(model.inputs)
    described = model.described()
    features = [
        {
            "member": member,
            "quoted": quoted(feature["name"]),
            "comment": comment(feature["unit"] and f"[{feature['unit']}]"),
        }
        for member, feature in zip(members, described, strict=True)
    ]
    chosen = layout if layout != "auto" else ("bitvectors" if ensemble.leaves <= MOST_LEAVES else "nodes")
    body = {"bitvectors": _bitvectors, "nested": _nested, "nodes": _nodes}[chosen](ensemble, name, members)
    return render(
        "header.h.jinja",
        title=comment(f"{model.name}: {len(ensemble.trees)} trees of up to {ensemble.leaves} leaves ({chosen})."),
        version=metadata.version("fivesigma"),
        source=comment(model.source),
        digest=model.digest,
        guard=name.upper(),
        name=name,
        features=features,
        body=body,
        output="signal's probability"
        if ensemble.link == "logistic" or hasattr(model.estimator, "predict_proba")
        else "value",
        link=ensemble.link,
        slope=number(ensemble.slope),
    )


# --- nested comparisons


def _nested(ensemble: TreeEnsemble, name: str, members: list[str]) -> str:
    return render(
        "nested.jinja",
        name=name,
        trees=["\n".join(_statements(tree, members)) for tree in ensemble.trees],
        divisor=number(ensemble.divisor),
    )


def _statements(tree: Tree, members: list[str]) -> Iterator[str]:
    """A tree as if … else …; which comparison is written decides where a NaN goes, as all of its comparisons fail."""
    todo: list[tuple[int | str, int]] = [(0 if len(tree.feature) else ~0, 1)]
    while todo:
        what, depth = todo.pop()
        indent = "    " * depth
        if isinstance(what, str):
            yield indent + what
        elif what < 0:
            yield f"{indent}return {number(tree.value[~what])};"
        else:
            x, cut = f"x->{members[tree.feature[what]]}", number(tree.threshold[what])
            yield f"{indent}if (!({x} > {cut})) {{" if tree.nan_left[what] else f"{indent}if ({x} <= {cut}) {{"
            left, right = int(tree.left[what]), int(tree.right[what])
            todo += [("}", depth), (right, depth + 1), ("} else {", depth), (left, depth + 1)]


# --- arrays of nodes


def _nodes(ensemble: TreeEnsemble, name: str, members: list[str]) -> str:
    """Children are relative to their tree: a node, or ``~leaf``."""
    trees = ensemble.trees
    widest = max(max(len(tree.feature), len(tree.value)) for tree in trees)
    together = {
        part: np.concatenate([getattr(tree, part) for tree in trees])
        for part in ("feature", "threshold", "nan_left", "left", "right", "value")
    }
    flagged = 2 * together["feature"] + together["nan_left"]
    child = "int16_t" if widest < 2**15 else "int32_t"
    starts = np.cumsum([[0, 0], *([len(tree.feature), len(tree.value)] for tree in trees)], axis=0)
    return render(
        "nodes.jinja",
        name=name,
        members=members,
        n_features=len(members),
        n_trees=len(trees),
        child=child,
        divisor=number(ensemble.divisor),
        feature=array(smallest_unsigned(2 * len(members)), f"{name}_feature", flagged),
        cut=array("double", f"{name}_cut", together["threshold"], number),
        left=array(child, f"{name}_left", together["left"]),
        right=array(child, f"{name}_right", together["right"]),
        value=array("double", f"{name}_value", together["value"], number),
        first_node=array("uint32_t", f"{name}_first_node", starts[:, 0]),
        first_value=array("uint32_t", f"{name}_first_value", starts[:, 1]),
    )


# --- bitvectors


@dataclass(frozen=True)
class _Cuts:
    """Cuts of a group of trees, by feature and threshold: which leaves of which tree an event loses by passing them."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    tree: NDArray[np.int64]  # within the group
    mask: NDArray[np.uint64]
    nan_left: NDArray[np.bool_]


def _bitvectors(ensemble: TreeEnsemble, name: str, members: list[str]) -> str:
    if ensemble.leaves > MOST_LEAVES:
        raise ConfigError(
            f"bitvectors take trees of at most {MOST_LEAVES} leaves, got {ensemble.leaves}; use the layout 'nodes' or 'nested'"
        )
    bits, ctz = (32, "__builtin_ctz") if ensemble.leaves <= 32 else (64, "__builtin_ctzll")
    size = min(len(ensemble.trees), CACHE * 8 // (bits * BLOCK))
    groups = [ensemble.trees[i : i + size] for i in range(0, len(ensemble.trees), size)]
    positions = [[_positions(tree) for tree in trees] for trees in groups]
    cuts = [_sorted_cuts(trees, where, bits) for trees, where in zip(groups, positions, strict=True)]
    width = ensemble.leaves
    leaf = np.zeros((len(ensemble.trees), width))
    for row, tree, where in zip(leaf, ensemble.trees, (w for group in positions for w in group), strict=True):
        row[where] = tree.value
    counts = [np.bincount(group.feature, minlength=len(members)) for group in cuts]
    first = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return render(
        "bitvectors.jinja",
        name=name,
        members=members,
        n_features=len(members),
        block=BLOCK,
        groups=len(groups),
        group_size=size,
        last_group=len(groups[-1]),
        leaves=width,
        mask_type=f"uint{bits}_t",
        ctz=ctz,
        divisor=number(ensemble.divisor),
        threshold=array("double", f"{name}_threshold", np.concatenate([g.threshold for g in cuts]), number),
        tree=array(smallest_unsigned(size), f"{name}_tree", np.concatenate([g.tree for g in cuts])),
        mask=array(
            f"uint{bits}_t",
            f"{name}_mask",
            np.concatenate([g.mask for g in cuts]),
            lambda m: f"0x{int(m):0{bits // 4}x}u",
        ),
        first=array("uint32_t", f"{name}_first", first),
        nan_right=array("uint8_t", f"{name}_nan_right", np.concatenate([~g.nan_left for g in cuts]).astype(int)),
        leaf=array("double", f"{name}_leaf", leaf.ravel(), number),
    )


def _positions(tree: Tree) -> NDArray[np.int64]:
    """The place of each leaf from left to right."""
    order, todo = [], [0 if len(tree.feature) else ~0]
    while todo:
        at = todo.pop()
        if at < 0:
            order.append(~at)
        else:
            todo += [int(tree.right[at]), int(tree.left[at])]
    return np.argsort(order)


def _sorted_cuts(trees: tuple[Tree, ...], positions: list[NDArray[np.int64]], bits: int) -> _Cuts:
    masks = [_masks(tree, where, bits) for tree, where in zip(trees, positions, strict=True)]
    feature, threshold, nan_left = (
        np.concatenate([getattr(tree, part) for tree in trees]) for part in ("feature", "threshold", "nan_left")
    )
    number_of = np.repeat(np.arange(len(trees)), [len(tree.feature) for tree in trees])
    order = np.lexsort((threshold, feature))
    return _Cuts(feature[order], threshold[order], number_of[order], np.concatenate(masks)[order], nan_left[order])


def _masks(tree: Tree, position: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """For each cut, all bits but those of the leaves on its left."""
    below: dict[int, int] = {~leaf: 1 << int(where) for leaf, where in enumerate(position)}
    todo = [0] if len(tree.feature) else []
    while todo:
        at = todo[-1]
        children = [int(tree.left[at]), int(tree.right[at])]
        if missing := [child for child in children if child not in below]:
            todo += missing
        else:
            below[at] = below[children[0]] | below[children[1]]
            todo.pop()
    everything = (1 << bits) - 1
    return np.array([everything & ~below[int(left)] for left in tree.left], dtype=np.uint64)
