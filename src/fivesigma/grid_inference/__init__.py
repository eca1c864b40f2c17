"""The flow ``grid-inference``: what a grid node pays for scores, from ROOT to ROOT, on one core."""

from fivesigma.grid_inference.flow import GridInferenceFlow

__all__ = ["GridInferenceFlow"]
