"""A detector by formulas: efficiencies and resolutions of leptons, jets and soft energy, after CMS at 7 and 8 TeV.

Sources: Delphes 3 (arXiv:1307.6346), ``cards/delphes_card_CMS.tcl``, for leptons (the electron's resolution is that of
the electromagnetic calorimeter there, of arXiv:1306.2016 and arXiv:1502.02701); CMSSW,
``CondFormats/JetMETObjects/data/Spring10_PtResolution_AK5PF.txt``, for anti-kt particle-flow jets of R = 0.5, the core
of the response without its tails. Directions are not smeared: the angular resolution of jets and leptons is below the
width of what they are made of. GeV.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fivesigma.physics.kinematics import FourMomentum, pseudorapidity, transverse_momentum

ELECTRON_ETA_MAX = 2.5
MUON_ETA_MAX = 2.4
BARREL_ETA = 1.5
ELECTRON_EFFICIENCY = (0.95 * 0.95, 0.83 * 0.85)
"""Of track times identification, |eta| below and above ``BARREL_ETA``."""
MUON_EFFICIENCY = (0.99 * 0.95, 0.98 * 0.95)
ECAL_TERMS = (0.008, 0.11, 0.40)
"""Constant, stochastic (GeV^½) and noise (GeV) terms of an electron's energy at eta = 0."""
MUON_TERMS = ((0.5, 0.010, 1.0e-4), (1.5, 0.015, 1.5e-4), (2.5, 0.025, 3.5e-4))
"""Upper |eta|, constant term, and term that grows with pt (1/GeV)."""
JET_TERMS = (
    (0.5, -0.349206, 0.297831, 0.471121),
    (1.0, -0.499735, 0.336391, 0.430689),
    (1.5, -0.561649, 0.420293, 0.392398),
    (2.0, -1.12329, 0.657891, 0.139595),
    (2.5, 1.04792, 0.466763, 0.193137),
    (3.0, 2.56933, 0.305802, 0.398929),
    (3.5, 2.81978, 0.272373, 0.579396),
    (4.0, 1.65966, 0.223683, 0.608730),
    (np.inf, 1.41584, 0.209477, 0.588872),
)
"""Upper |eta|, N (GeV), S, m of (sigma/pt)² = sign(N) (N/pt)² + S² pt^(m-1)."""
SOFT_TERM = 0.5
"""GeV^½: sigma of px and of py of what is in no jet, per root of its summed transverse momentum (as CMS, particle
flow, arXiv:1106.5048)."""
PT_FLOOR = 0.05
"""A smeared pt is at least this fraction of the true one."""

Floats = NDArray[np.float64]


def electron_resolution(energy: Floats, eta: Floats) -> Floats:
    """Relative resolution of an electron's energy, shape (electrons,)."""
    constant, stochastic, noise = ECAL_TERMS
    barrel = np.sqrt(constant**2 + stochastic**2 / energy + (noise / energy) ** 2)
    slope = np.where(np.abs(eta) < BARREL_ETA, 1 + 0.64 * eta**2, 2.16 + 5.6 * (np.abs(eta) - 2) ** 2)
    return np.asarray(slope * barrel)


def muon_resolution(pt: Floats, eta: Floats) -> Floats:
    """Relative resolution of a muon's pt, shape (muons,)."""
    _, constant, growing = _terms(MUON_TERMS, eta)
    return np.asarray(np.hypot(constant, growing * pt))


def jet_resolution(pt: Floats, eta: Floats) -> Floats:
    """Relative resolution of a jet's pt, shape (jets,).

    >>> jet_resolution(np.array([50.0]), np.array([0.0])).round(3).tolist()
    [0.106]
    """
    _, noise, stochastic, power = _terms(JET_TERMS, eta)
    squared = np.sign(noise) * (noise / pt) ** 2 + stochastic**2 * pt ** (power - 1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def lepton_efficiency(is_muon: NDArray[np.bool_], eta: Floats) -> Floats:
    """Probability that an electron or muon is found, zero outside the tracker, shape (leptons,)."""
    barrel = np.abs(eta) < BARREL_ETA
    electron = np.where(barrel, *ELECTRON_EFFICIENCY) * (np.abs(eta) < ELECTRON_ETA_MAX)
    muon = np.where(barrel, *MUON_EFFICIENCY) * (np.abs(eta) < MUON_ETA_MAX)
    return np.where(is_muon, muon, electron)


def smear_leptons(momenta: FourMomentum, is_muon: NDArray[np.bool_], rng: np.random.Generator) -> FourMomentum:
    """Leptons as measured, shape (leptons, 4)."""
    eta = pseudorapidity(momenta)
    muon = muon_resolution(transverse_momentum(momenta), eta)
    return _scaled(momenta, np.where(is_muon, muon, electron_resolution(momenta[:, 0], eta)), rng)


def smear_jets(momenta: FourMomentum, rng: np.random.Generator) -> FourMomentum:
    """Jets as measured, shape (jets, 4)."""
    return _scaled(momenta, jet_resolution(transverse_momentum(momenta), pseudorapidity(momenta)), rng)


def smear_soft(momentum: Floats, sum_pt: Floats, rng: np.random.Generator) -> Floats:
    """px, py of what is in no jet as measured, shape (events, 2), from the true ones and their summed pt (events,)."""
    return momentum + SOFT_TERM * np.sqrt(sum_pt)[:, None] * rng.normal(size=momentum.shape)


def _terms(table: tuple[tuple[float, ...], ...], eta: Floats) -> Floats:
    rows = np.array(table)
    return rows[np.minimum(np.searchsorted(rows[:, 0], np.abs(eta), side="right"), len(rows) - 1)].T


def _scaled(momenta: FourMomentum, resolution: Floats, rng: np.random.Generator) -> FourMomentum:
    scale = 1 + resolution * rng.normal(size=len(momenta))
    return momenta * np.maximum(scale, PT_FLOOR)[:, None]
