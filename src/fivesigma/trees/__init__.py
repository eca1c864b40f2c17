"""Decision trees: boosted (LightGBM) and as a random forest (scikit-learn)."""

from fivesigma.trees.boosted_trees import BoostedTrees
from fivesigma.trees.random_forest import RandomForest

__all__ = ["BoostedTrees", "RandomForest"]
