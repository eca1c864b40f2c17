"""The report's figures: each function takes results or arrays and gives a `Plot`, which holds what it draws as data."""

from fivesigma.report.figures.calibration import reliability
from fivesigma.report.figures.coverage import coverage_curves, gain_against_training, width_against_distance
from fivesigma.report.figures.images import (
    average_images,
    convolved_differences,
    first_layer_filters,
    image_difference,
    most_activating_images,
    pixel_correlations,
)
from fivesigma.report.figures.inputs import input_variable, linear_correlations, reweighting_closure
from fivesigma.report.figures.learned import conditional_distribution, permutation_importance
from fivesigma.report.figures.roc import (
    CostPoint,
    background_rejection,
    gain_against_cost,
    rejection_in_bins,
    rejection_summary,
    significance_improvement,
)
from fivesigma.report.figures.scores import cut_efficiencies, overtraining_check
from fivesigma.report.figures.systematics import (
    data_simulation,
    flatness_summary,
    mass_sculpting,
    nuisance_profile,
    shifted_roc,
    significance_scan,
)
from fivesigma.report.figures.training import convergence

__all__ = [
    "CostPoint",
    "average_images",
    "background_rejection",
    "conditional_distribution",
    "convergence",
    "convolved_differences",
    "coverage_curves",
    "cut_efficiencies",
    "data_simulation",
    "first_layer_filters",
    "flatness_summary",
    "gain_against_cost",
    "gain_against_training",
    "image_difference",
    "input_variable",
    "linear_correlations",
    "mass_sculpting",
    "most_activating_images",
    "nuisance_profile",
    "overtraining_check",
    "permutation_importance",
    "pixel_correlations",
    "rejection_in_bins",
    "rejection_summary",
    "reliability",
    "reweighting_closure",
    "shifted_roc",
    "significance_improvement",
    "significance_scan",
    "width_against_distance",
]
