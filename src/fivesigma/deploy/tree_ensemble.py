"""``TreeEnsemble``: boosted trees and forests as plain arrays, with cuts on the inputs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError
from fivesigma.core.registry import Registry, unknown_name
from fivesigma.deploy.trained_model import LARGEST, Float64, TrainedModel

MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2  # LightGBM's decision_type, bits 2 and 3


@dataclass(frozen=True)
class Tree:
    """A binary tree: left if the feature is at most the threshold; a child is a node, or ``~leaf``."""

    feature: NDArray[np.int64]  # (node,)
    threshold: Float64  # (node,)
    nan_left: NDArray[np.bool_]  # (node,)
    left: NDArray[np.int64]  # (node,)
    right: NDArray[np.int64]  # (node,)
    value: Float64  # (leaf,)


@dataclass(frozen=True)
class TreeEnsemble:
    """The score is the sum of one leaf a tree, in order, over ``divisor``; ``link`` makes a probability of it."""

    trees: tuple[Tree, ...]
    divisor: float = 1.0
    link: Literal["logistic", "identity"] = "identity"
    slope: float = 1.0  # of the logistic function

    @property
    def leaves(self) -> int:
        """The most leaves of a tree."""
        return max(len(tree.value) for tree in self.trees)

    def score(self, values: NDArray[Any]) -> Float64:
        """Node by node, of shape (event,): slow and obvious, the reference of what is generated."""
        total = np.zeros(len(values))
        for tree in self.trees:
            at = np.full(len(values), 0 if len(tree.feature) else ~0)
            while (inside := at >= 0).any():
                node = at[inside]
                x = np.asarray(values)[inside, tree.feature[node]]
                left = np.where(np.isnan(x), tree.nan_left[node], x <= tree.threshold[node])
                at[inside] = np.where(left, tree.left[node], tree.right[node])
            total += tree.value[~at]
        return total / self.divisor if self.divisor != 1.0 else total

    def probability(self, score: Float64) -> Float64:
        """Of scores, shape (event,)."""
        if self.link == "identity":
            return score
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-self.slope * score)))


@dataclass(frozen=True)
class TreeLearner:
    """How a registered learner gives its trees, and the raw score by its own library (NaN and infinity included)."""

    ensemble: Callable[[Any], TreeEnsemble]
    score: Callable[[Any, NDArray[Any]], Float64]
    single_precision: bool = False
    """Whether it rounds its inputs to float32 before it compares."""


TREE_LEARNERS: Registry[TreeLearner] = Registry("learner of trees")
"""Every estimator whose trees can be written out, by its registered name."""


def tree_learner(model: TrainedModel) -> TreeLearner:
    """How this model's trees are had, or an error that lists the learners of trees."""
    name = model.kind
    if name not in TREE_LEARNERS:
        raise ModelError(f"model {model.name!r}: {unknown_name('learner of trees', name, TREE_LEARNERS)}")
    return TREE_LEARNERS[name]


def ensemble_on_inputs(model: TrainedModel) -> TreeEnsemble:
    """The model's trees with cuts on the untransformed inputs: features need no arithmetic at all any more.

    Scaling is monotone, so each cut on a scaled variable, t, is a cut on the input at the largest number that is scaled
    to at most t, found by bisection over all floating-point numbers with the features' own transform.
    """
    learner = tree_learner(model)
    ensemble = learner.ensemble(model.estimator)
    if model.features is None and not learner.single_precision:
        return ensemble
    feature, threshold = (
        np.concatenate([getattr(tree, part) for tree in ensemble.trees]) for part in ("feature", "threshold")
    )
    ends = np.cumsum([len(tree.feature) for tree in ensemble.trees])[:-1]
    cuts = np.split(_pulled_back(model, feature, threshold, learner.single_precision), ends)
    trees = [replace(tree, threshold=on_inputs) for tree, on_inputs in zip(ensemble.trees, cuts, strict=True)]
    return replace(ensemble, trees=tuple(trees))


def cuts_on_inputs(model: TrainedModel, cuts: Sequence[Float64]) -> list[Float64]:
    """Cuts on each feature as cuts on the untransformed input, see ``ensemble_on_inputs``."""
    if model.features is None:
        return list(cuts)
    feature = np.repeat(np.arange(len(cuts)), [len(found) for found in cuts])
    moved = _pulled_back(model, feature, np.concatenate(cuts), single_precision=False)
    return [moved[feature == i] for i in range(len(cuts))]


def events_at_cuts(ensemble: TreeEnsemble, low: Float64, high: Float64, *, seed: int, most: int) -> Float64:
    """Three events for each cut that reach its node, one at the cut and two at the neighbouring numbers; (event, input).

    An event at a cut that does not reach its node would not see that the cut was changed. ``low`` and ``high`` are the
    ranges (input,) within which the other inputs are drawn, as far as the way to the node allows; ``most`` limits the
    cuts, evenly spread.
    """
    rng = np.random.default_rng(seed)
    nodes = [(tree, node) for tree in ensemble.trees for node in range(len(tree.feature))]
    boxes = [box for tree in ensemble.trees for box in _boxes(tree, len(low))]
    if not nodes:
        return np.empty((0, len(low)))
    events = []
    for i in np.unique(np.linspace(0, len(nodes) - 1, min(most, len(nodes))).astype(np.int64)):
        (tree, node), (above, upto) = nodes[i], boxes[i]
        begin, end = np.maximum(low, above), np.minimum(high, upto)
        edge = np.where(np.isfinite(above), np.nextafter(above, np.inf), upto)
        inside = np.where(
            begin < end, np.maximum(rng.uniform(begin, np.maximum(begin, end)), np.nextafter(above, np.inf)), edge
        )
        event = np.tile(inside, (3, 1))
        cut = tree.threshold[node]
        event[:, tree.feature[node]] = [np.nextafter(cut, -np.inf), cut, np.nextafter(cut, np.inf)]
        events.append(event)
    return np.concatenate(events)


def _boxes(tree: Tree, inputs: int) -> list[tuple[Float64, Float64]]:
    """Of each node, what its events are above, and what they are at most, in each input."""
    boxes = [(np.full(inputs, -np.inf), np.full(inputs, np.inf)) for _ in tree.feature]
    todo = [0] if len(tree.feature) else []
    while todo:
        node = todo.pop()
        (above, upto), feature, cut = boxes[node], tree.feature[node], tree.threshold[node]
        for child, side in ((int(tree.left[node]), 1), (int(tree.right[node]), 0)):
            if child >= 0:
                boxes[child] = (above.copy(), upto.copy())
                limit, nearer = boxes[child][side], np.minimum if side else np.maximum
                limit[feature] = nearer(limit[feature], cut)
                todo.append(child)
    return boxes


def _pulled_back(
    model: TrainedModel, feature: NDArray[np.int64], threshold: Float64, single_precision: bool
) -> Float64:
    """For each cut the largest input that is scaled to at most ``threshold``; infinity if all inputs are."""

    def passes(x: Float64) -> NDArray[np.bool_]:
        values = np.zeros((len(x), len(model.inputs)))
        values[np.arange(len(x)), feature] = x
        scaled = model.scaled(values)
        with np.errstate(over="ignore"):
            seen = scaled.astype(np.float32) if single_precision else scaled
        return np.asarray(seen[np.arange(len(x)), feature].astype(np.float64) <= threshold)

    if len(feature) == 0:
        return threshold
    low, high = (np.full(len(feature), _order(np.array([x]))[0]) for x in (-LARGEST, LARGEST))
    always, never = passes(np.full(len(feature), LARGEST)), ~passes(np.full(len(feature), -LARGEST))
    if never.any():
        raise ModelError(f"model {model.name!r} has a cut below all numbers, on {model.inputs[feature[never][0]]!r}")
    while (low + 1 < high).any():
        middle = (low & high) + ((low ^ high) >> 1)
        below = passes(_number(middle))
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(always, np.inf, _number(low))


def _order(x: Float64) -> NDArray[np.int64]:
    """Integers in the order of the floating-point numbers, neighbours next to each other."""
    bits = x.view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _number(order: NDArray[np.int64]) -> Float64:
    """The inverse of ``_order``."""
    return np.where(order < 0, np.int64(-(2**63)) - order, order).view(np.float64)


def lightgbm_ensemble(estimator: Any) -> TreeEnsemble:
    """From LightGBM's text; a cut at NaN goes the way that LightGBM's own decision does."""
    header, *blocks = estimator.booster_.model_to_string().split("\nTree=")
    words = dict(line.split("=", 1) for line in header.splitlines() if "=" in line)
    if words["num_tree_per_iteration"] != "1" or "average_output" in header.splitlines():
        raise ModelError("expected LightGBM's trees of one output, summed; got several outputs or an average")
    objective = words.get("objective", "").split()
    slope = next((float(word[8:]) for word in objective if word.startswith("sigmoid:")), 1.0)
    link: Literal["logistic", "identity"] = "logistic" if hasattr(estimator, "predict_proba") else "identity"
    return TreeEnsemble(tuple(_lightgbm_tree(block) for block in blocks), link=link, slope=slope)


def _lightgbm_tree(block: str) -> Tree:
    words = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

    def numbers(name: str, kind: Any) -> NDArray[Any]:
        return np.array(words.get(name, "").split(), dtype=kind)

    if words["num_cat"] != "0" or words.get("is_linear", "0") != "0":
        raise ModelError("LightGBM's categorical splits and linear leaves have no form in C here")
    threshold, decision = numbers("threshold", np.float64), numbers("decision_type", np.int64)
    missing, default_left = (decision >> 2) & 3, (decision & 2) > 0
    if (missing == MISSING_ZERO).any():
        raise ModelError("LightGBM's zero_as_missing has no form in C here; train without it")
    # Trained without NaN, LightGBM takes a NaN for 0.0; trained with, it goes the default way.
    nan_left = np.where(missing == MISSING_NAN, default_left, threshold >= 0.0)
    left, right = numbers("left_child", np.int64), numbers("right_child", np.int64)
    return Tree(numbers("split_feature", np.int64), threshold, nan_left, left, right, numbers("leaf_value", np.float64))


def _forest_ensemble(estimator: Any) -> TreeEnsemble:
    """From scikit-learn's arrays; a leaf holds the share of signal."""
    return TreeEnsemble(
        tuple(forest_tree(tree.tree_) for tree in estimator.forest_.estimators_),
        divisor=float(len(estimator.forest_.estimators_)),
    )


def forest_tree(tree: Any) -> Tree:
    """From scikit-learn's arrays; a leaf holds the share of signal, or the number of a regression."""
    is_leaf = tree.children_left < 0
    number = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    inner = ~is_leaf
    return Tree(
        tree.feature[inner].astype(np.int64),
        tree.threshold[inner].astype(np.float64),
        tree.missing_go_to_left[inner].astype(bool),
        number[tree.children_left[inner]],
        number[tree.children_right[inner]],
        tree.value[is_leaf, 0, -1].astype(np.float64),
    )


def lightgbm_score(estimator: Any, X: NDArray[Any]) -> Float64:
    """The sum of all trees by LightGBM, of shape (event,)."""
    return np.asarray(estimator.booster_.predict(X, raw_score=True, num_threads=1), dtype=np.float64)


def _forest_score(estimator: Any, X: NDArray[Any]) -> Float64:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(X, dtype=np.float32)
    total = np.zeros(len(X))
    for tree in estimator.forest_.estimators_:
        total += tree.tree_.predict(single)[:, 1]
    return total / len(estimator.forest_.estimators_)


TREE_LEARNERS.register("boosted-trees")(TreeLearner(lightgbm_ensemble, lightgbm_score))
TREE_LEARNERS.register("random-forest")(TreeLearner(_forest_ensemble, _forest_score, single_precision=True))
