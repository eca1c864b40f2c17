"""The report's figures: each function takes results or arrays and gives a `Plot`, which holds what it draws as data."""

from fivesigma.report.figures.calibration import reliability
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
from fivesigma.report.figures.training import convergence

__all__ = [
    "CostPoint",
    "average_images",
    "background_rejection",
    "conditional_distribution",
    "convergence",
    "convolved_differences",
    "cut_efficiencies",
    "first_layer_filters",
    "gain_against_cost",
    "image_difference",
    "input_variable",
    "linear_correlations",
    "most_activating_images",
    "overtraining_check",
    "permutation_importance",
    "pixel_correlations",
    "rejection_in_bins",
    "rejection_summary",
    "reliability",
    "reweighting_closure",
    "significance_improvement",
]
