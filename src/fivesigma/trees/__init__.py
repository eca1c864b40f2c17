"""Decision trees: one, forests of them, boosted, and boosted to be uniform; for classification and regression."""

from fivesigma.trees.adaboost import AdaBoost
from fivesigma.trees.boosted_trees import BoostedTrees
from fivesigma.trees.boosted_trees_regressor import BoostedTreesRegressor
from fivesigma.trees.decision_tree import DecisionTree
from fivesigma.trees.flatness_boosting import FlatnessBoosting
from fivesigma.trees.random_forest import RandomForest
from fivesigma.trees.random_forest_regressor import RandomForestRegressor
from fivesigma.trees.uboost import UBoost

__all__ = [
    "AdaBoost",
    "BoostedTrees",
    "BoostedTreesRegressor",
    "DecisionTree",
    "FlatnessBoosting",
    "RandomForest",
    "RandomForestRegressor",
    "UBoost",
]
