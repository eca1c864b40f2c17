"""Samples from event generators: ``fivesigma simulate``."""

from fivesigma.simulate.heavy_flavour import simulate_heavy_flavour
from fivesigma.simulate.higgs import simulate_higgs
from fivesigma.simulate.other_shower import simulate_other_shower
from fivesigma.simulate.pivot_toy import simulate_pivot_toy
from fivesigma.simulate.simulation import SIMULATIONS, SimulatedClass, SimulationResult
from fivesigma.simulate.w_tagging import simulate_w_tagging
from fivesigma.simulate.w_tagging_pile_up import simulate_w_tagging_pile_up

__all__ = [
    "SIMULATIONS",
    "SimulatedClass",
    "SimulationResult",
    "simulate_heavy_flavour",
    "simulate_higgs",
    "simulate_other_shower",
    "simulate_pivot_toy",
    "simulate_w_tagging",
    "simulate_w_tagging_pile_up",
]
