"""Fitting: the training loop of networks, and every estimator by name."""

from typing import TYPE_CHECKING

from fivesigma.core.estimator import ESTIMATORS
from fivesigma.core.lazy_names import lazy_names
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
from fivesigma.learn.ranks import Ranks

if TYPE_CHECKING:
    from fivesigma.learn.declared_network import DeclaredClassifier, DeclaredRegressor
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
else:  # each process loads the learners that it fits or applies
    _HOMES = {
        "BoostedTrees": "fivesigma.trees",
        "ConvolutionalClassifier": "fivesigma.learn.network_classifier",
        "Cuts": "fivesigma.models",
        "DeclaredClassifier": "fivesigma.learn.declared_network",
        "DeclaredRegressor": "fivesigma.learn.declared_network",
        "DeepEnsembleClassifier": "fivesigma.learn.error_bars",
        "DeepEnsembleRegressor": "fivesigma.learn.error_bars",
        "DenseClassifier": "fivesigma.learn.network_classifier",
        "Fisher": "fivesigma.models",
        "GradientReversalClassifier": "fivesigma.learn.gradient_reversal",
        "LaplaceClassifier": "fivesigma.learn.error_bars",
        "LaplaceRegressor": "fivesigma.learn.error_bars",
        "LikelihoodRatio": "fivesigma.models",
        "LocallyConnectedClassifier": "fivesigma.learn.network_classifier",
        "MaxoutClassifier": "fivesigma.learn.network_classifier",
        "McDropoutClassifier": "fivesigma.learn.error_bars",
        "McDropoutRegressor": "fivesigma.learn.error_bars",
        "NetworkClassifier": "fivesigma.learn.network_classifier",
        "PivotClassifier": "fivesigma.learn.pivot",
        "RandomForest": "fivesigma.trees",
        "SingleVariable": "fivesigma.models",
        "VariationalClassifier": "fivesigma.learn.error_bars",
        "VariationalRegressor": "fivesigma.learn.error_bars",
        "load_fold_models": "fivesigma.learn.scoring",
        "score_out_of_fold": "fivesigma.learn.scoring",
        "two_sample_scores": "fivesigma.learn.scoring",
    }
    __getattr__ = lazy_names(__name__, _HOMES)

ESTIMATORS.live_in(
    {
        "adaboost": "fivesigma.trees.adaboost",
        "boosted-trees": "fivesigma.trees.boosted_trees",
        "boosted-trees-regressor": "fivesigma.trees.boosted_trees_regressor",
        "cnn": "fivesigma.learn.network_classifier",
        "cuts": "fivesigma.models.cuts",
        "decision-tree": "fivesigma.trees.decision_tree",
        "deep-ensemble": "fivesigma.learn.error_bars.deep_ensemble",
        "deep-ensemble-regressor": "fivesigma.learn.error_bars.deep_ensemble",
        "dense": "fivesigma.learn.network_classifier",
        "fisher": "fivesigma.models.fisher",
        "flatness-boosting": "fivesigma.trees.flatness_boosting",
        "gradient-reversal": "fivesigma.learn.gradient_reversal",
        "laplace": "fivesigma.learn.error_bars.laplace",
        "laplace-regressor": "fivesigma.learn.error_bars.laplace",
        "likelihood-ratio": "fivesigma.models.likelihood_ratio",
        "locally-connected": "fivesigma.learn.network_classifier",
        "maxout": "fivesigma.learn.network_classifier",
        "mc-dropout": "fivesigma.learn.error_bars.mc_dropout",
        "mc-dropout-regressor": "fivesigma.learn.error_bars.mc_dropout",
        "network": "fivesigma.learn.declared_network",
        "network-regressor": "fivesigma.learn.declared_network",
        "pivot": "fivesigma.learn.pivot",
        "random-forest": "fivesigma.trees.random_forest",
        "random-forest-regressor": "fivesigma.trees.random_forest_regressor",
        "single-variable": "fivesigma.models.single_variable",
        "uboost": "fivesigma.trees.uboost",
        "variational": "fivesigma.learn.error_bars.variational",
        "variational-regressor": "fivesigma.learn.error_bars.variational",
    }
)

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
