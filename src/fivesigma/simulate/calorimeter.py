"""The calorimeter: transverse energy summed in towers of pseudorapidity and azimuth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.physics.kinematics import FourMomentum, azimuth, pseudorapidity

ETA_MAX = 5.0
"""Towers reach to |eta| < 5."""
N_ETA = 100
"""Towers along eta, each 0.1 wide."""
N_PHI = 63
"""Towers around the beam, each 2 pi / 63 = 0.0997 wide, so that the grid closes on itself."""
MANTISSA_BITS = 12
"""Bits kept of a tower's mantissa: a relative rounding of at most 1.2e-4, far below any calorimeter's resolution."""

_ETA_WIDTH = 2 * ETA_MAX / N_ETA
_PHI_WIDTH = 2 * math.pi / N_PHI
_FLOAT32_MANTISSA = 23


@dataclass(frozen=True)
class Towers:
    """Massless towers of several events, at the centres of their cells, in order of event and cell.

    ``pt`` (GeV), ``eta``, ``phi`` (radians, in [-pi, pi)) are float32 of shape (towers,);
    ``offsets`` int64 of shape (events + 1,): event ``i`` owns the towers ``offsets[i]:offsets[i + 1]``.
    """

    pt: NDArray[np.float32]
    eta: NDArray[np.float32]
    phi: NDArray[np.float32]
    offsets: NDArray[np.int64]


def sum_towers(event: NDArray[np.int64], momenta: FourMomentum, n_events: int) -> Towers:
    """Sum particles into a grid of 100 x 63 towers over |eta| < 5 and the whole azimuth.

    A particle adds its transverse energy E pt/|p| to one tower; particles at or beyond |eta| = 5 are lost. There is no
    smearing and no threshold, as in arXiv:1511.05190; the sums are rounded to 12 bits (``MANTISSA_BITS``) so that a
    file of them is small and everything computed later agrees with what is stored.

    Parameters
    ----------
    event
        row of the event each particle belongs to, shape (particles,), from 0 to ``n_events`` - 1
    momenta
        E, px, py, pz in GeV, shape (particles, 4)
    n_events
        number of events, those without particles included
    """
    eta = pseudorapidity(momenta)
    inside = np.abs(eta) < ETA_MAX  # also drops infinity and NaN: particles along the beam
    event, eta, phi, energy = event[inside], eta[inside], azimuth(momenta[inside]), momenta[inside, 0]
    eta_cell = np.minimum(((eta + ETA_MAX) / _ETA_WIDTH).astype(np.int64), N_ETA - 1)
    phi_cell = ((phi + math.pi) / _PHI_WIDTH).astype(np.int64) % N_PHI
    cell, which = np.unique((event * N_ETA + eta_cell) * N_PHI + phi_cell, return_inverse=True)
    sums = np.bincount(which, energy / np.cosh(eta), minlength=len(cell)).astype(np.float64)
    pt = round_mantissa(sums, MANTISSA_BITS)
    counts = np.bincount(cell // (N_ETA * N_PHI), minlength=n_events)
    return Towers(
        pt=pt,
        eta=(((cell // N_PHI) % N_ETA + 0.5) * _ETA_WIDTH - ETA_MAX).astype(np.float32),
        phi=((cell % N_PHI + 0.5) * _PHI_WIDTH - math.pi).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def round_mantissa(values: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Round positive numbers to float32 with ``bits`` stored bits of mantissa: relative error at most 2^-(bits + 1).

    >>> round_mantissa(np.array([1.0, 3.14159265]), 3).tolist()
    [1.0, 3.25]
    """
    drop = _FLOAT32_MANTISSA - bits
    pattern = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (pattern + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return rounded.view(np.float32)
