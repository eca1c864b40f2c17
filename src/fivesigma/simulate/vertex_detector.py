"""The forward tracker: a vertex detector of two halves and a spectrometer, as formulas of LHCb's published performance.

A charged particle is a straight line, ``states`` of shape (track, 5): x, y in millimetres at z = 0, slopes tx, ty, momentum p
in GeV. The true primary vertex is the origin. A measurement shifts the line sideways and scales the momentum; directions are
exact. Everything random is unit normal numbers that are given, so that a worse or shifted detector sees the same events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ETA_RANGE = (2.0, 5.0)
"""LHCb's acceptance (JINST 3 (2008) S08005)."""
P_MIN = 3.0
"""GeV: softer particles do not reach the stations behind the magnet (our choice, near LHCb's long tracks)."""
EFFICIENCY = 0.96
"""Tracks found, of those in acceptance (arXiv:1408.1251, above 95 % for 5 < p < 200 GeV)."""
IP_CONSTANT_UM, IP_SLOPE_UM = 11.6, 23.4
"""Impact parameter, each of x and y: 11.6 + 23.4/pT µm, pT in GeV, data of 2012 (arXiv:1405.7808).

√(π/2) times this is 14.5 + 29.3/pT µm, the 15 + 29/pT µm of arXiv:1412.6352 for the distance in space. The vertex's own
uncertainty is in the published numbers and is added here once more."""
VERTEX_UM = (13.0, 13.0, 71.0)
"""Primary vertex of 25 tracks, x, y, z (arXiv:1405.7808)."""
MOMENTUM_POINTS = ((0.0, 0.005), (20.0, 0.005), (100.0, 0.008), (200.0, 0.010))
"""σ(p)/p, linear in between: 0.5 % below 20 GeV, 0.8 % around 100 GeV (arXiv:1412.6352), 1 % at 200 GeV."""
DECAY_RADIUS, DECAY_Z = 5.0, 300.0
"""mm: what decays within has hits enough in the vertex detector (its foil is at 5 mm; our choice in z)."""

_MM_PER_UM = 1e-3


@dataclass(frozen=True)
class Response:
    """How the detector differs from its best knowledge of itself.

    ``resolution`` multiplies all sideways errors, of tracks and of the vertex, while the trigger goes on to believe in the
    nominal ones; ``half_shift_um`` moves the half at x > 0 along x: its tracks by all of it, the primary vertex, which
    tracks of both halves make, by half of it.
    """

    resolution: float = 1.0
    half_shift_um: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Tracks as reconstructed: ``states`` (track, 5), ``sigma`` (track,) mm of x and of y, ``vertex`` (event, 3) mm."""

    states: Floats
    sigma: Floats
    vertex: Floats


def ip_resolution(pt: Floats) -> Floats:
    """σ of x and of y, in mm, of tracks with pt in GeV.

    >>> round(float(ip_resolution(np.array(1.0))), 4)
    0.035
    """
    return np.asarray((IP_CONSTANT_UM + IP_SLOPE_UM / pt) * _MM_PER_UM)


def momentum_resolution(p: Floats) -> Floats:
    """σ(p)/p at p in GeV."""
    points = np.array(MOMENTUM_POINTS)
    return np.asarray(np.interp(p, points[:, 0], points[:, 1]))


def transverse_momentum(states: Floats) -> Floats:
    """Transverse momentum in GeV of states (track, 5)."""
    slope = np.hypot(states[:, 2], states[:, 3])
    return np.asarray(states[:, 4] * slope / np.sqrt(1.0 + slope**2))


def measure(states: Floats, normals: Floats, vertex_normals: Floats, response: Response | None = None) -> Measured:
    """What the detector reports.

    Parameters
    ----------
    states
        of the particles, (track, 5).
    normals
        unit normal numbers for x, y and p, (track, 3).
    vertex_normals
        the same for the primary vertex, (event, 3).
    response
        of the detector; the nominal one if left out.
    """
    response = response or Response()
    sigma = ip_resolution(transverse_momentum(states))
    found = states.copy()
    found[:, :2] += response.resolution * sigma[:, None] * normals[:, :2]
    found[:, 4] *= 1.0 + momentum_resolution(states[:, 4]) * normals[:, 2]
    shift = response.half_shift_um * _MM_PER_UM
    found[states[:, 2] > 0, 0] += shift
    vertex = response.resolution * np.array(VERTEX_UM) * _MM_PER_UM * vertex_normals
    vertex[:, 0] += shift / 2
    return Measured(found, ip_resolution(transverse_momentum(found)), vertex)


def ip_chi2(states: Floats, sigma: Floats, vertex: Floats) -> Floats:
    """Impact parameter of tracks (track, 5) to vertices (track, 3), in standard deviations squared: χ² of two degrees.

    At the vertex's z; the uncertainty is that of the track and of the vertex, which along z counts with the slope.
    """
    distance = states[:, :2] + states[:, 2:4] * vertex[:, 2:] - vertex[:, :2]  # (track, 2)
    x, y, z = (np.array(VERTEX_UM) * _MM_PER_UM) ** 2
    variance = sigma[:, None] ** 2 + np.array([x, y]) + states[:, 2:4] ** 2 * z
    return np.asarray((distance**2 / variance).sum(axis=1))
