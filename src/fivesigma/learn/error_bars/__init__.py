"""Learners with error bars: last-layer Laplace, Monte Carlo dropout, deep ensembles, mean-field variational inference."""

from fivesigma.learn.error_bars.deep_ensemble import DeepEnsembleClassifier, DeepEnsembleRegressor
from fivesigma.learn.error_bars.draws import ProbabilityDraws, TargetDraws, Uncertainty
from fivesigma.learn.error_bars.estimator import ErrorBarClassifier, ErrorBarRegressor, WithErrorBars
from fivesigma.learn.error_bars.laplace import LaplaceClassifier, LaplaceRegressor
from fivesigma.learn.error_bars.mc_dropout import McDropoutClassifier, McDropoutRegressor
from fivesigma.learn.error_bars.variational import VariationalClassifier, VariationalRegressor

__all__ = [
    "DeepEnsembleClassifier",
    "DeepEnsembleRegressor",
    "ErrorBarClassifier",
    "ErrorBarRegressor",
    "LaplaceClassifier",
    "LaplaceRegressor",
    "McDropoutClassifier",
    "McDropoutRegressor",
    "ProbabilityDraws",
    "TargetDraws",
    "Uncertainty",
    "VariationalClassifier",
    "VariationalRegressor",
    "WithErrorBars",
]
