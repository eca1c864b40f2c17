"""Looking inside a classifier: what it uses, what it learned beside mass and τ21."""

from fivesigma.explain.average_image import AverageImages, average_images
from fivesigma.explain.conditional import ConditionalDistribution, conditional_distribution
from fivesigma.explain.convolved_difference import ConvolvedDifference, convolved_difference
from fivesigma.explain.correlation import (
    LinearCorrelations,
    PixelCorrelation,
    linear_correlations,
    pixel_correlation,
)
from fivesigma.explain.insight import Insight, ModelInsight, look_inside
from fivesigma.explain.most_activating import MostActivatingImages, most_activating_images
from fivesigma.explain.permutation_importance import PermutationImportance, permutation_importance

__all__ = [
    "AverageImages",
    "ConditionalDistribution",
    "ConvolvedDifference",
    "Insight",
    "LinearCorrelations",
    "ModelInsight",
    "MostActivatingImages",
    "PermutationImportance",
    "PixelCorrelation",
    "average_images",
    "conditional_distribution",
    "convolved_difference",
    "linear_correlations",
    "look_inside",
    "most_activating_images",
    "permutation_importance",
    "pixel_correlation",
]
