"""Fitting: the training loop of networks, and every estimator by name."""

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.learn.cross_validation import (
    Cost,
    FoldScores,
    Recipe,
    cross_validate,
    learnt_columns,
    load_fold_model,
    model_inputs,
    own_fold,
)
from fivesigma.learn.declared_network import DeclaredClassifier, DeclaredRegressor
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.error_bars import (
    DeepEnsembleClassifier,
    DeepEnsembleRegressor,
    LaplaceClassifier,
    LaplaceRegressor,
    McDropoutClassifier,
    McDropoutRegressor,
    VariationalClassifier,
    VariationalRegressor,
)
from fivesigma.learn.gradient_reversal import GradientReversalClassifier
from fivesigma.learn.network_classifier import (
    ConvolutionalClassifier,
    DenseClassifier,
    LocallyConnectedClassifier,
    MaxoutClassifier,
    NetworkClassifier,
)
from fivesigma.learn.pivot import PivotClassifier
from fivesigma.learn.scoring import load_fold_models, score_out_of_fold, two_sample_scores
from fivesigma.models import Cuts, Fisher, LikelihoodRatio, SingleVariable
from fivesigma.trees import BoostedTrees, RandomForest

__all__ = [
    "ESTIMATORS",
    "BoostedTrees",
    "ConvolutionalClassifier",
    "Cost",
    "Cuts",
    "DeclaredClassifier",
    "DeclaredRegressor",
    "DeepEnsembleClassifier",
    "DeepEnsembleRegressor",
    "DenseClassifier",
    "Fisher",
    "FoldScores",
    "GradientReversalClassifier",
    "LaplaceClassifier",
    "LaplaceRegressor",
    "LikelihoodRatio",
    "LocallyConnectedClassifier",
    "MaxoutClassifier",
    "McDropoutClassifier",
    "McDropoutRegressor",
    "NetworkClassifier",
    "PivotClassifier",
    "RandomForest",
    "Ranks",
    "Recipe",
    "SingleVariable",
    "VariationalClassifier",
    "VariationalRegressor",
    "cross_validate",
    "learnt_columns",
    "load_fold_model",
    "load_fold_models",
    "model_inputs",
    "own_fold",
    "score_out_of_fold",
    "two_sample_scores",
]
