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
from fivesigma.evaluate.calibrator import Calibrator, calibrate_out_of_fold
from fivesigma.evaluate.comparison import Comparison, Difference, compare
from fivesigma.evaluate.coverage import (
    Coverage,
    Pulls,
    coverage,
    coverage_curve,
    gaussian_crps,
    gaussian_nll,
    log_loss,
    mean_score,
    pulls,
    sample_crps,
)
from fivesigma.evaluate.data_simulation import (
    DataComparison,
    DataSimulation,
    TwoSampleTest,
    classifier_two_sample_test,
    compare_data,
)
from fivesigma.evaluate.dependence import DEPENDENCES, Dependence, Dependent, Profile, dependence, distance_correlation
from fivesigma.evaluate.drift import Drift, DriftAlarm, Exposure, Slice, watch
from fivesigma.evaluate.flatness import FLATNESS, Flatness, flatness
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
from fivesigma.evaluate.robustness import EfficiencyChange, Robustness, Shift, Variation, robustness
from fivesigma.evaluate.roc import RocCurve, auc, measure, rejection_at, roc_curve
from fivesigma.evaluate.scored_events import ScoredEvents, effective_size, scored_events
from fivesigma.evaluate.sculpting import SculptedPoint, Sculpting, jensen_shannon, sculpting
from fivesigma.evaluate.significance import SignificanceScan, significance_differences, significance_scan
from fivesigma.evaluate.single_variable import VariablePower, single_variable_power
from fivesigma.evaluate.systematics import SystematicAnswers, SystematicQuestions
from fivesigma.evaluate.template import Template
from fivesigma.evaluate.trigger_rate import (
    EfficiencyAtRate,
    RateComparison,
    TriggerInput,
    TriggerScores,
    compare_at_rates,
    threshold_at_rate,
)
from fivesigma.evaluate.working_points import Expectation, OptimalCut, WorkingPoint, optimal_cut, working_points
from fivesigma.evaluate.workspace import WorkspaceSample, pyhf_workspace, signal_and_background

__all__ = [
    "COSTS",
    "DEFAULT_METRICS",
    "DEPENDENCES",
    "FLATNESS",
    "METRICS",
    "N_REPLICAS",
    "W_WINDOW",
    "Assessment",
    "BinRejection",
    "BinnedRejection",
    "Calibration",
    "Calibrator",
    "ClassOvertraining",
    "Comparison",
    "Coverage",
    "DataComparison",
    "DataSimulation",
    "Dependence",
    "Dependent",
    "Difference",
    "Drift",
    "DriftAlarm",
    "EfficiencyAtRate",
    "EfficiencyChange",
    "Expectation",
    "Exposure",
    "Flatness",
    "Measurement",
    "Metric",
    "ModelAssessment",
    "OptimalCut",
    "Overtraining",
    "PhaseSpace",
    "Profile",
    "Pulls",
    "Questions",
    "RateComparison",
    "Reference",
    "ResultRow",
    "Robustness",
    "RocCurve",
    "ScoredEvents",
    "ScoredModel",
    "SculptedPoint",
    "Sculpting",
    "Shift",
    "SignificanceScan",
    "Slice",
    "SystematicAnswers",
    "SystematicQuestions",
    "Template",
    "TriggerInput",
    "TriggerScores",
    "TwoSampleTest",
    "VariablePower",
    "Variation",
    "WorkingPoint",
    "WorkspaceSample",
    "assess",
    "auc",
    "bootstrap_replicas",
    "calibrate_out_of_fold",
    "calibration",
    "classifier_two_sample_test",
    "clopper_pearson",
    "compare",
    "compare_at_rates",
    "compare_data",
    "coverage",
    "coverage_curve",
    "dependence",
    "distance_correlation",
    "effective_size",
    "flatness",
    "gaussian_crps",
    "gaussian_nll",
    "jensen_shannon",
    "log_loss",
    "mean_score",
    "measure",
    "optimal_cut",
    "overtraining_check",
    "phase_space",
    "poisson_counts",
    "pulls",
    "pyhf_workspace",
    "rejection_at",
    "rejection_in_bins",
    "results_rows",
    "robustness",
    "roc_curve",
    "sample_crps",
    "scored_events",
    "sculpting",
    "signal_and_background",
    "significance_differences",
    "significance_scan",
    "single_variable_power",
    "threshold_at_rate",
    "watch",
    "weighted_chi2",
    "weighted_efficiency",
    "weighted_ks",
    "working_points",
    "write_results",
]
