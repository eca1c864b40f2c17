"""How every learner of trees gives them, and its own score; beside LightGBM and forests, AdaBoost and likelihood ratios."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.deploy.trained_model import Float64
from fivesigma.deploy.tree_ensemble import (
    TREE_LEARNERS,
    Tree,
    TreeEnsemble,
    TreeLearner,
    forest_tree,
    lightgbm_ensemble,
    lightgbm_score,
)

__all__ = ["TREE_LEARNERS"]

UBOOST_SLOPE = 2.0
"""The probability of ``uboost`` is σ(2 (F − cut))."""


def _uboost_ensemble(estimator: Any) -> TreeEnsemble:
    return replace(lightgbm_ensemble(estimator), slope=UBOOST_SLOPE)


def _single(X: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)


def _decision_tree_ensemble(estimator: Any) -> TreeEnsemble:
    return TreeEnsemble((forest_tree(estimator.forest_.tree_),))


def _decision_tree_score(estimator: Any, X: NDArray[Any]) -> Float64:
    return np.asarray(estimator.forest_.tree_.predict(_single(X))[:, 1], np.float64)


def _regression_forest_ensemble(estimator: Any) -> TreeEnsemble:
    trees = estimator.forest_.estimators_
    return TreeEnsemble(tuple(forest_tree(tree.tree_) for tree in trees), divisor=float(len(trees)))


def _regression_forest_score(estimator: Any, X: NDArray[Any]) -> Float64:
    trees, total = estimator.forest_.estimators_, np.zeros(len(X))
    for tree in trees:
        total += tree.tree_.predict(_single(X))[:, 0]
    return total / len(trees)


def _adaboost_ensemble(estimator: Any) -> TreeEnsemble:
    """A leaf holds the vote ±α of its tree; the probability is σ(Σαh)."""
    boosted = estimator.forest_
    trees = [
        replace(tree, value=np.where(tree.value > 0.5, weight, -weight))
        for tree, weight in zip(
            map(forest_tree, (t.tree_ for t in boosted.estimators_)), _weights(boosted), strict=True
        )
    ]
    total = float(boosted.estimator_weights_.sum())
    return TreeEnsemble(tuple(trees), divisor=total, link="logistic", slope=total)


def _adaboost_score(estimator: Any, X: NDArray[Any]) -> Float64:
    boosted, total = estimator.forest_, np.zeros(len(X))
    for tree, weight in zip(boosted.estimators_, _weights(boosted), strict=True):
        total += np.where(tree.tree_.predict(_single(X)).argmax(axis=1) == 1, weight, -weight)
    return total / float(boosted.estimator_weights_.sum())


def _weights(boosted: Any) -> Float64:
    """α of each tree that was grown."""
    return np.asarray(boosted.estimator_weights_[: len(boosted.estimators_)], np.float64)


def _likelihood_ratio_ensemble(estimator: Any) -> TreeEnsemble:
    """One tree: the bins of the first variable, in each those of the second, …."""
    edges, probability = estimator.edges_, estimator.probability_
    bins, variables = edges.shape[1] + 1, int(estimator.n_features_in_)
    first = np.cumsum([0, *(bins**v for v in range(variables))])
    nodes: list[tuple[int, float, int, int]] = []

    def grow(variable: int, node: int, low: int, high: int) -> int:
        """Decides between bins low … high of a variable; gives a node or ~leaf."""
        if low == high:
            inside = node * bins + low
            return ~inside if variable == variables - 1 else grow(variable + 1, inside, 0, bins - 1)
        at, middle = len(nodes), (low + high) // 2
        nodes.append((variable, np.nextafter(edges[first[variable] + node, middle], -np.inf), 0, 0))  # right: x ≥ edge
        nodes[at] = (*nodes[at][:2], grow(variable, node, low, middle), grow(variable, node, middle + 1, high))
        return at

    grow(0, 0, 0, bins - 1)
    feature, threshold, left, right = (np.array(part) for part in zip(*nodes, strict=True))
    tree = Tree(feature, threshold, np.ones(len(nodes), np.bool_), left, right, probability)
    return TreeEnsemble((tree,))


def _likelihood_ratio_score(estimator: Any, X: NDArray[Any]) -> Float64:
    return np.asarray(estimator.probability_[estimator._bin(np.asarray(X, np.float64))])  # NaN and infinity, too


for _name in ("flatness-boosting", "boosted-trees-regressor"):
    TREE_LEARNERS.register(_name)(TreeLearner(lightgbm_ensemble, lightgbm_score))
TREE_LEARNERS.register("uboost")(TreeLearner(_uboost_ensemble, lightgbm_score))
TREE_LEARNERS.register("decision-tree")(
    TreeLearner(_decision_tree_ensemble, _decision_tree_score, single_precision=True)
)
TREE_LEARNERS.register("random-forest-regressor")(
    TreeLearner(_regression_forest_ensemble, _regression_forest_score, single_precision=True)
)
TREE_LEARNERS.register("adaboost")(TreeLearner(_adaboost_ensemble, _adaboost_score, single_precision=True))
TREE_LEARNERS.register("likelihood-ratio")(TreeLearner(_likelihood_ratio_ensemble, _likelihood_ratio_score))
