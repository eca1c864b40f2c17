"""Units and kinematics: pure functions."""

from fivesigma.physics.kinematics import boost_z, delta_phi, delta_r, four_momentum, invariant_mass, mass_of
from fivesigma.physics.units import GEV, MEV, RADIAN, TEV, W_MASS

__all__ = [
    "GEV",
    "MEV",
    "RADIAN",
    "TEV",
    "W_MASS",
    "boost_z",
    "delta_phi",
    "delta_r",
    "four_momentum",
    "invariant_mass",
    "mass_of",
]
