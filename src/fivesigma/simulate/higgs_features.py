"""The 21 low-level and 7 high-level features of the HIGGS benchmark (arXiv:1402.4735), from selected events.

Where the paper leaves a choice, this one was made. The masses are functions of the 21 low-level features and nothing
else: jets, lepton and neutrino are massless. The two b jets are the two tagged ones of highest pt, the jets of the
hadronic W the other two of the four. The neutrino's pz solves m(lν) = m(W): of two real solutions the smaller |pz|, and
the real part where they are complex, so that m_lv = m(W) for real ones and above otherwise. The b jets go to the two
tops so that (m_jjj - m_t)² + (m_jlv - m_t)² is smallest. m_wbb takes the W, hadronic or leptonic, that brings it
nearer to m(H±) = 325 GeV.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fivesigma.physics.kinematics import (
    FourMomentum,
    azimuth,
    four_momentum,
    mass_of,
    pseudorapidity,
    transverse_momentum,
)
from fivesigma.physics.units import W_MASS
from fivesigma.simulate.calorimeter import MANTISSA_BITS, round_mantissa
from fivesigma.simulate.lepton_jets import N_JETS, TAGS_MIN, LeptonJetsEvents

TOP_MASS = 172.5
"""GeV, generated, and used to assign the b jets."""
CHARGED_HIGGS_MASS = 325.0
"""GeV, generated, and used to choose the W of m_wbb."""

LEPTON = ("lepton_pt", "lepton_eta", "lepton_phi")
MISSING = ("missing_energy_magnitude", "missing_energy_phi")
JETS = tuple(tuple(f"jet{i}_{x}" for x in ("pt", "eta", "phi", "b_tag")) for i in range(1, N_JETS + 1))
LOW_LEVEL = (*LEPTON, *MISSING, *(name for jet in JETS for name in jet))
"""Names of the low-level features, in the order of the UCI data set; GeV and radians, b-tags 0 or 1."""
HIGH_LEVEL = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
"""Names of the high-level features, in the order of the UCI data set; GeV."""

Features = dict[str, NDArray[np.float32]]


def features_of(events: LeptonJetsEvents) -> Features:
    """All 28 features, each float32 (events,), the numbers rounded to 12 bits of mantissa (1.2e-4)."""
    low = low_level_features(events)
    high = {name: round_mantissa(mass, MANTISSA_BITS) for name, mass in high_level_features(low).items()}
    return low | high


def low_level_features(events: LeptonJetsEvents) -> Features:
    """The 21 measured numbers of each event, each float32 (events,)."""
    values: dict[str, NDArray[np.float64]] = dict(zip(LEPTON, _kinematics(events.lepton), strict=True))
    magnitude, phi = np.hypot(*events.missing.T), np.arctan2(events.missing[:, 1], events.missing[:, 0])
    values |= dict(zip(MISSING, (magnitude, phi), strict=True))
    for i, names in enumerate(JETS):
        values |= dict(
            zip(names, (*_kinematics(events.jets[:, i]), events.tagged[:, i].astype(np.float64)), strict=True)
        )
    return {name: round_mantissa(value, MANTISSA_BITS) for name, value in values.items()}


def high_level_features(low: Features) -> dict[str, NDArray[np.float64]]:
    """The 7 masses from the 21 low-level features, each float64 (events,)."""
    lepton = four_momentum(*(low[name] for name in LEPTON))
    jets = np.stack([four_momentum(*(low[name] for name in names[:3])) for names in JETS], axis=1)
    tags = np.stack([low[names[3]] > 0.5 for names in JETS], axis=1)
    first_b, second_b, first_q, second_q = np.moveaxis(_tagged_first(jets, tags), 1, 0)
    hadronic = first_q + second_q
    leptonic = lepton + neutrino(lepton, *(low[name].astype(np.float64) for name in MISSING))
    both_b = first_b + second_b
    m_jjj, m_jlv = _tops(hadronic, leptonic, first_b, second_b)
    return {
        "m_jj": mass_of(hadronic),
        "m_jjj": m_jjj,
        "m_lv": mass_of(leptonic),
        "m_jlv": m_jlv,
        "m_bb": mass_of(both_b),
        "m_wbb": _nearer(mass_of(hadronic + both_b), mass_of(leptonic + both_b), CHARGED_HIGGS_MASS),
        "m_wwbb": mass_of(hadronic + leptonic + both_b),
    }


def neutrino(lepton: FourMomentum, missing: NDArray[np.float64], phi: NDArray[np.float64]) -> FourMomentum:
    """The massless neutrino of missing transverse momentum (GeV) and azimuth, pz from m(lν) = m(W), shape (events, 4)."""
    pt = transverse_momentum(lepton)
    x, y = missing * np.cos(phi), missing * np.sin(phi)
    product = W_MASS**2 / 2 + lepton[:, 1] * x + lepton[:, 2] * y
    middle = product * lepton[:, 3] / pt**2
    root = np.sqrt(np.maximum(product**2 - (pt * missing) ** 2, 0.0)) * lepton[:, 0] / pt**2
    pz = np.where(middle > 0, middle - root, middle + root)
    return np.stack([np.hypot(missing, pz), x, y, pz], axis=-1)


def _tagged_first(jets: FourMomentum, tags: NDArray[np.bool_]) -> FourMomentum:
    """The jets of each event (falling pt), the first two that are tagged before all others."""
    first_two = tags & (np.cumsum(tags, axis=1) <= TAGS_MIN)
    return np.take_along_axis(jets, np.argsort(~first_two, axis=1, kind="stable")[..., None], axis=1)


def _tops(
    hadronic: FourMomentum, leptonic: FourMomentum, first_b: FourMomentum, second_b: FourMomentum
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """m_jjj and m_jlv with the assignment of the b jets nearer to two tops."""
    hadronic_top = np.stack([mass_of(hadronic + b) for b in (first_b, second_b)])
    leptonic_top = np.stack([mass_of(leptonic + b) for b in (second_b, first_b)])
    distance = (hadronic_top - TOP_MASS) ** 2 + (leptonic_top - TOP_MASS) ** 2
    choice = np.argmin(distance, axis=0)[None]
    return np.take_along_axis(hadronic_top, choice, 0)[0], np.take_along_axis(leptonic_top, choice, 0)[0]


def _nearer(first: NDArray[np.float64], second: NDArray[np.float64], to: float) -> NDArray[np.float64]:
    return np.where(np.abs(first - to) <= np.abs(second - to), first, second)


def _kinematics(momenta: FourMomentum) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return transverse_momentum(momenta), pseudorapidity(momenta), azimuth(momenta)
