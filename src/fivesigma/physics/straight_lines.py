"""Straight tracks and their vertices: distances, the least-squares vertex, the corrected mass. Pure functions.

In a vertex detector without magnetic field tracks are straight. A line is given by its state at z = 0: (x, y) and the slopes
(tx, ty) = (dx/dz, dy/dz), as in a forward spectrometer; lengths in one unit throughout (here millimetres), GeV for masses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Vertices:
    """Fitted vertices: ``position`` (…, 3), ``covariance`` (…, 3, 3), ``chi2`` (…) of 2n − 3 degrees of freedom."""

    position: Floats
    covariance: Floats
    chi2: Floats


def closest_approach(first: Floats, second: Floats) -> Floats:
    """Distance of closest approach of two lines, each of shape (…, 4): x, y, tx, ty; the result has shape (…).

    |(r₂ − r₁) · n| with n the common normal; for parallel lines their distance.

    >>> lines = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.0]])  # in the planes y = 0 and y = 0.5
    >>> float(closest_approach(lines[0], lines[1]))
    0.5
    """
    dx, dy = second[..., 0] - first[..., 0], second[..., 1] - first[..., 1]
    dtx, dty = second[..., 2] - first[..., 2], second[..., 3] - first[..., 3]
    # (tx₁, ty₁, 1) × (tx₂, ty₂, 1)
    normal_x, normal_y = -dty, dtx
    normal_z = first[..., 2] * second[..., 3] - first[..., 3] * second[..., 2]
    length = np.sqrt(normal_x**2 + normal_y**2 + normal_z**2)
    crossing = np.abs(dx * normal_x + dy * normal_y) / np.where(length > 0, length, 1.0)
    tx, ty = first[..., 2], first[..., 3]
    squared = (tx * dy - ty * dx) ** 2 + dx**2 + dy**2
    parallel = np.sqrt(squared / (1.0 + tx**2 + ty**2))
    return np.where(length > 1e-12, crossing, parallel)


def fit_vertex(lines: Floats, sigma: Floats) -> Vertices:
    """The point that minimises χ² = Σᵢ [(xᵢ + txᵢ z − X)² + (yᵢ + tyᵢ z − Y)²]/σᵢ² over (X, Y, z), in closed form.

    Parameters
    ----------
    lines
        x, y, tx, ty of each track, shape (…, track, 4); at least two tracks.
    sigma
        uncertainty of x and of y at the vertex, shape (…, track).

    Directions are taken as exact. The problem is linear: three normal equations, whose inverse matrix is the covariance.
    Parallel tracks have no vertex: the covariance is then infinite in z, and numpy raises ``LinAlgError``.
    """
    x, y, tx, ty = np.moveaxis(lines, -1, 0)  # (…, track)
    weight = 1.0 / sigma**2

    def total(values: Floats) -> Floats:
        return np.asarray((weight * values).sum(axis=-1))

    one, zero = total(np.ones_like(x)), np.zeros(x.shape[:-1])
    rows = [[one, zero, -total(tx)], [zero, one, -total(ty)], [-total(tx), -total(ty), total(tx**2 + ty**2)]]
    matrix = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)  # (…, 3, 3)
    right = np.stack([total(x), total(y), -total(tx * x + ty * y)], axis=-1)  # (…, 3)
    covariance = np.linalg.inv(matrix)
    position = (covariance @ right[..., None])[..., 0]
    at = position[..., None, :]  # (…, 1, 3)
    chi2 = total((x + tx * at[..., 2] - at[..., 0]) ** 2 + (y + ty * at[..., 2] - at[..., 1]) ** 2)
    return Vertices(position, covariance, chi2)


def flight_chi2(flight: Floats, covariance: Floats) -> Floats:
    """Distance between two vertices (…, 3) in standard deviations squared, dᵀ C⁻¹ d, C (…, 3, 3) of both together."""
    return np.asarray((flight * np.linalg.solve(covariance, flight[..., None])[..., 0]).sum(axis=-1))


def transverse_to(momentum: Floats, flight: Floats) -> Floats:
    """Momentum (…, 3) at right angles to a direction of flight (…, 3), shape (…); all of it where there is no flight."""
    length = np.linalg.norm(flight, axis=-1)
    along = (momentum * flight).sum(axis=-1) / np.where(length > 0, length, 1.0)
    squared = (momentum**2).sum(axis=-1) - np.where(length > 0, along, 0.0) ** 2
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def corrected_mass(mass: Floats, transverse: Floats) -> Floats:
    """√(m² + p_T²) + p_T: the least mass of a decay whose unseen momentum balances ``transverse``, shape (…).

    For nothing unseen it is the mass; SLD, Phys. Rev. Lett. 80 (1998) 660; LHCb's topological trigger, arXiv:1210.6861.

    >>> corrected_mass(np.array([5.0, 3.0]), np.array([0.0, 4.0])).tolist()
    [5.0, 9.0]
    """
    return np.asarray(np.hypot(mass, transverse) + transverse)
