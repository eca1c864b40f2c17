"""Numbers with uncertainties from (score, y, weight) of any tool; signed weights allowed; never imports torch."""

from fivesigma.evaluate.assessment import Assessment, ModelAssessment, Questions, ScoredModel, assess
from fivesigma.evaluate.binned import (
    W_WINDOW,
    BinnedRejection,
    BinRejection,
    PhaseSpace,
    phase_space,
    rejection_in_bins,
)
from fivesigma.evaluate.binomial import clopper_pearson, weighted_efficiency
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_replicas, poisson_counts
from fivesigma.evaluate.calibration import Calibration, calibration
from fivesigma.evaluate.comparison import Comparison, Difference, compare
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.metrics import DEFAULT_METRICS, METRICS, Metric
from fivesigma.evaluate.overtraining import (
    ClassOvertraining,
    Overtraining,
    overtraining_check,
    weighted_chi2,
    weighted_ks,
)
from fivesigma.evaluate.results import COSTS, Reference, ResultRow, results_rows, write_results
from fivesigma.evaluate.roc import RocCurve, auc, measure, rejection_at, roc_curve
from fivesigma.evaluate.scored_events import ScoredEvents, effective_size, scored_events
from fivesigma.evaluate.single_variable import VariablePower, single_variable_power
from fivesigma.evaluate.working_points import Expectation, OptimalCut, WorkingPoint, optimal_cut, working_points

__all__ = [
    "COSTS",
    "DEFAULT_METRICS",
    "METRICS",
    "N_REPLICAS",
    "W_WINDOW",
    "Assessment",
    "BinRejection",
    "BinnedRejection",
    "Calibration",
    "ClassOvertraining",
    "Comparison",
    "Difference",
    "Expectation",
    "Measurement",
    "Metric",
    "ModelAssessment",
    "OptimalCut",
    "Overtraining",
    "PhaseSpace",
    "Questions",
    "Reference",
    "ResultRow",
    "RocCurve",
    "ScoredEvents",
    "ScoredModel",
    "VariablePower",
    "WorkingPoint",
    "assess",
    "auc",
    "bootstrap_replicas",
    "calibration",
    "clopper_pearson",
    "compare",
    "effective_size",
    "measure",
    "optimal_cut",
    "overtraining_check",
    "phase_space",
    "poisson_counts",
    "rejection_at",
    "rejection_in_bins",
    "results_rows",
    "roc_curve",
    "scored_events",
    "single_variable_power",
    "weighted_chi2",
    "weighted_efficiency",
    "weighted_ks",
    "working_points",
    "write_results",
]
