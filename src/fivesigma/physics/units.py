"""The units of the whole package, stated once: energies, momenta and masses in GeV, angles in radians (c = 1)."""

from __future__ import annotations

import math

GEV = 1.0
MEV = 1e-3 * GEV
TEV = 1e3 * GEV

RADIAN = 1.0
DEGREE = math.pi / 180 * RADIAN

W_MASS = 80.3692 * GEV
"""Mass of the W boson, ± 0.0133 GeV: world average without CDF II (PDG, Phys. Rev. D 110 (2024) 030001)."""
