"""Samples from event generators: ``fivesigma simulate``."""

from fivesigma.simulate.simulation import SIMULATIONS, SimulatedClass, SimulationResult
from fivesigma.simulate.w_tagging import simulate_w_tagging

__all__ = ["SIMULATIONS", "SimulatedClass", "SimulationResult", "simulate_w_tagging"]
