"""Fitting: the training loop of networks, and every estimator by name."""

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.cross_validation import (
    Cost,
    FoldScores,
    Recipe,
    cross_validate,
    load_fold_model,
    model_inputs,
    own_fold,
)
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.network_classifier import (
    ConvolutionalClassifier,
    DenseClassifier,
    LocallyConnectedClassifier,
    MaxoutClassifier,
    NetworkClassifier,
)
from fivesigma.models import Cuts, Fisher, LikelihoodRatio, SingleVariable
from fivesigma.trees import BoostedTrees, RandomForest

__all__ = [
    "ESTIMATORS",
    "BoostedTrees",
    "ConvolutionalClassifier",
    "Cost",
    "Cuts",
    "DenseClassifier",
    "Fisher",
    "FoldScores",
    "LikelihoodRatio",
    "LocallyConnectedClassifier",
    "MaxoutClassifier",
    "NetworkClassifier",
    "RandomForest",
    "Ranks",
    "Recipe",
    "SingleVariable",
    "cross_validate",
    "load_fold_model",
    "model_inputs",
    "own_fold",
]
