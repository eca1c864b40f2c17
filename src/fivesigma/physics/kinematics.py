"""Relativistic kinematics in collider coordinates: pure functions on arrays, GeV and radians.

Momenta are given as ``pt, eta, phi, mass``, four-momenta as arrays of shape (…, 4) in the order E, px, py, pz.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FourMomentum: TypeAlias = NDArray[np.float64]
"""Shape (…, 4): E, px, py, pz in GeV."""

Floats: TypeAlias = NDArray[np.float64]


def delta_phi(phi: ArrayLike, reference: ArrayLike) -> Floats:
    """Signed difference of azimuths ``phi - reference``, brought into [−π, π].

    >>> round(float(delta_phi(3.1, -3.1)), 4)  # not 6.2
    -0.0832
    """
    difference = np.asarray(phi, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return np.asarray(difference - 2 * np.pi * np.rint(difference / (2 * np.pi)))


def delta_r(eta: ArrayLike, phi: ArrayLike, reference_eta: ArrayLike, reference_phi: ArrayLike) -> Floats:
    """Distance in the η–φ plane, √(Δη² + Δφ²)."""
    difference = np.asarray(eta, dtype=np.float64) - np.asarray(reference_eta, dtype=np.float64)
    return np.hypot(difference, delta_phi(phi, reference_phi))


def four_momentum(pt: ArrayLike, eta: ArrayLike, phi: ArrayLike, mass: ArrayLike = 0.0) -> FourMomentum:
    """E, px, py, pz from pt, eta, phi and mass; inputs broadcast, output has shape (…, 4).

    >>> four_momentum(3.0, 0.0, 0.0, 4.0).tolist()
    [5.0, 3.0, 0.0, 0.0]
    """
    pt, eta, phi, mass = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (pt, eta, phi, mass)))
    energy = np.hypot(pt * np.cosh(eta), mass)
    return np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)


def transverse_momentum(p: FourMomentum) -> Floats:
    """Transverse momentum of four-momenta, shape (…)."""
    return np.hypot(p[..., 1], p[..., 2])


def azimuth(p: FourMomentum) -> Floats:
    """Azimuth of four-momenta in [−π, π], shape (…)."""
    return np.arctan2(p[..., 2], p[..., 1])


def pseudorapidity(p: FourMomentum) -> Floats:
    """Pseudorapidity η = arsinh(pz / pt) of four-momenta, shape (…); ±inf along the beam, NaN at rest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.arcsinh(p[..., 3] / transverse_momentum(p)))


def rapidity(p: FourMomentum) -> Floats:
    """Rapidity y = artanh(pz / E) of four-momenta, shape (…)."""
    return np.asarray(np.arctanh(p[..., 3] / p[..., 0]))


def mass_of(p: FourMomentum) -> Floats:
    """Invariant mass √(E² − |p|²) of four-momenta, shape (…).

    A massless four-momentum can come out with E² − |p|² below zero by rounding: such a mass is 0.
    """
    squared = (p[..., 0] - p[..., 3]) * (p[..., 0] + p[..., 3]) - p[..., 1] ** 2 - p[..., 2] ** 2
    return np.sqrt(np.maximum(squared, 0.0))


def invariant_mass(pt: ArrayLike, eta: ArrayLike, phi: ArrayLike, mass: ArrayLike = 0.0) -> Floats:
    """Mass of the sum of the particles along the last axis: shape (…, particle) gives (…).

    >>> float(invariant_mass([40.0, 40.0], [0.0, 0.0], [0.0, np.pi]))  # back to back: 2 pt
    80.0
    """
    return mass_of(four_momentum(pt, eta, phi, mass).sum(axis=-2))


def boost_z(p: FourMomentum, rapidity: ArrayLike) -> FourMomentum:
    """Boost along the beam by ``rapidity`` (= artanh β): shifts every rapidity by it; pt, phi and mass stay.

    For massless particles the pseudorapidity shifts as the rapidity does, so that a translation of a jet image in
    eta is such a boost.
    """
    gamma, gamma_beta = np.cosh(np.asarray(rapidity, dtype=np.float64)), np.sinh(np.asarray(rapidity, dtype=np.float64))
    energy, px, py, pz = np.moveaxis(p, -1, 0)
    return np.stack([gamma * energy + gamma_beta * pz, px, py, gamma * pz + gamma_beta * energy], axis=-1)


def weighted_axis(weight: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """Direction (cos, sin) of the principal axis of points about the origin, pointing to where their centroid is.

    The axis maximises Σ w (x cos + y sin)²; closed form, angle ½ atan2(2 Σwxy, Σwxx − Σwyy).
    A centroid at right angles to the axis leaves the sense to cos > 0.
    """
    angle = 0.5 * np.arctan2(2 * np.sum(weight * x * y), np.sum(weight * x * x) - np.sum(weight * y * y))
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    along = np.sum(weight * (cosine * x + sine * y))
    return (-cosine, -sine) if along < 0 else (cosine, sine)
