"""An end-cap-like muon spectrometer: solenoid, calorimeter, iron disks with a radial return field, four stations.

A toy: no experiment's geometry, but its sizes are those of the end-caps that its studies are about. Muons come from the
origin towards positive z. In the solenoid (axial field) a positive muon bends towards negative φ, in the disks, where the
flux returns radially outwards, back again.

In closed form, at small angles (``deflection``, ``covariance``): with u the deflection in the direction of φ from a straight
line at the polar angle θ, u″ = −c B_z tan²θ · q/pT in an axial and u″ = +c B_r tanθ · q/pT in a radial field, and
φ = u / (z tanθ); c = 0.299792458 GeV/(T m).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

CURVATURE = 0.299792458
"""GeV per tesla and metre and unit charge."""
MUON_MASS = 0.1056583755
"""GeV (PDG 2022)."""
IRON_RADIATION_LENGTH = 0.01757
"""m (PDG, atomic and nuclear properties of materials)."""
IRON_LOSS = 1.57
"""GeV per metre: 2 MeV cm²/g, about what a muon of 10 to 50 GeV loses in iron (PDG, muon energy loss), taken as constant."""
STOPPED = 0.5
"""GeV: a muon of less momentum is taken as stopped."""
LONGEST_STEP = 0.2
"""m."""


@dataclass(frozen=True)
class Slab:
    """What lies between two planes: fields in T, and so many metres of iron, spread over it."""

    begin: float
    end: float
    axial: float = 0.0
    radial: float = 0.0
    iron: float = 0.0


@dataclass(frozen=True)
class Spectrometer:
    """Slabs along z, stations at z (m), and how the chambers measure; angles in radians.

    ``strip`` and ``wire`` are the units of the integers that are read out for φ and θ; ``phi_resolution`` and
    ``theta_resolution`` the Gaussian errors before. ``thickness`` (m) is the lever arm within the first station, over which
    it measures a bend with the same resolution at both ends. With ``shower_probability`` a hit is displaced by a Gaussian
    of ``shower_width`` in φ, as where a muon showers or another particle crosses the chamber.
    """

    slabs: tuple[Slab, ...] = (
        Slab(0.0, 3.2, axial=3.8),
        Slab(3.2, 5.6, axial=3.8, iron=1.5),
        Slab(5.6, 6.0, axial=3.8),
        Slab(6.0, 7.0),
        Slab(7.0, 7.35),
        Slab(7.35, 7.95, radial=1.5, iron=0.6),
        Slab(7.95, 8.3),
        Slab(8.3, 8.55),
        Slab(8.55, 9.15, radial=1.5, iron=0.6),
        Slab(9.15, 9.4),
        Slab(9.4, 9.65),
        Slab(9.65, 10.05, radial=1.5, iron=0.4),
        Slab(10.05, 10.3),
    )
    stations: tuple[float, ...] = (7.0, 8.3, 9.4, 10.3)
    strip: float = 0.5e-3
    wire: float = 5e-3
    phi_resolution: float = 0.3e-3
    theta_resolution: float = 3e-3
    thickness: float = 0.25
    efficiency: float = 0.95
    shower_probability: float = 0.03
    shower_width: float = 8e-3


def highland(momentum: Float64, radiation_lengths: Float64) -> Float64:
    """The width of the plane scattering angle (PDG review, passage of particles through matter; Highland, Lynch and Dahl).

    >>> round(1e3 * float(highland(np.array(10.0), np.array(1.0))), 3)  # mrad
    1.36
    """
    beta = momentum / np.hypot(momentum, MUON_MASS)
    logarithm = 1.0 + 0.038 * np.log(radiation_lengths)
    return np.asarray(13.6e-3 / (beta * momentum) * np.sqrt(radiation_lengths) * logarithm)


@dataclass(frozen=True)
class Tracks:
    """True azimuth and polar angle at each station, and the bend over the first's thickness; all (muon, station)."""

    phi: Float64  # not wrapped: relative to the muon's initial azimuth
    theta: Float64
    bend: Float64  # (muon,)
    alive: NDArray[np.bool_]


def transport(
    where: Spectrometer,
    pt: Float64,
    eta: Float64,
    charge: Float64,
    rng: np.random.Generator | None,
    *,
    field_sign: float = 1.0,
    loss: bool = True,
) -> Tracks:
    """Take muons through all slabs, in steps of half drift, rotation, scattering and loss, half drift.

    ``pt`` in GeV at the origin; without ``rng`` nothing scatters. The scattering angle of a slab is Highland's for all of it,
    shared by its steps, so that the displacement within the slab comes with it.
    """
    r = np.zeros((3, len(pt)))
    p = np.stack([pt, np.zeros_like(pt), pt * np.sinh(eta)])
    alive = np.ones(len(pt), bool)
    found = {"phi": [], "theta": [], "alive": []}  # type: dict[str, list[NDArray[np.generic]]]
    bend = np.zeros(len(pt))
    for slab in where.slabs:
        p, r, alive = _through(slab, p, r, alive, charge * field_sign, rng, loss)
        if slab.end in where.stations:
            radius = np.hypot(r[0], r[1])
            found["phi"].append(np.arctan2(r[1], r[0]))
            found["theta"].append(np.arctan2(radius, r[2]))
            found["alive"].append(alive.copy())
            if slab.end == where.stations[0]:
                bend = where.thickness * (r[0] * p[1] - r[1] * p[0]) / (p[2] * radius**2)
    phi, theta, reached = (np.stack(found[name], axis=1) for name in ("phi", "theta", "alive"))
    return Tracks(phi.astype(np.float64), theta.astype(np.float64), bend, reached.astype(bool))


def _through(
    slab: Slab,
    p: Float64,
    r: Float64,
    alive: NDArray[np.bool_],
    charge: Float64,
    rng: np.random.Generator | None,
    loss: bool,
) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    steps = max(1, round((slab.end - slab.begin) / LONGEST_STEP + 0.499))
    dz = (slab.end - slab.begin) / steps
    width = np.zeros(len(charge))
    if slab.iron and rng is not None:
        momentum = np.sqrt((p**2).sum(axis=0))
        width = highland(momentum, slab.iron / IRON_RADIATION_LENGTH * momentum / p[2]) / np.sqrt(steps)
    for _ in range(steps):
        r = r + p / p[2] * (dz / 2)
        if slab.axial:
            p = _rotated(p, 0, 1, -CURVATURE * charge * slab.axial * dz / p[2])
        if slab.radial:
            p = _kicked(p, r, CURVATURE * charge * slab.radial * dz / p[2])
        if slab.iron:
            if rng is not None:
                p = _scattered(p, width * rng.normal(size=len(charge)), width * rng.normal(size=len(charge)))
            if loss:
                p, alive = _slowed(p, alive, IRON_LOSS * slab.iron / steps)
        r = r + p / p[2] * (dz / 2)
    return p, r, alive


def _rotated(p: Float64, first: int, second: int, angle: Float64) -> Float64:
    """By an angle from the first axis towards the second."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned = p.copy()
    turned[first] = p[first] * cos - p[second] * sin
    turned[second] = p[first] * sin + p[second] * cos
    return turned


def _kicked(p: Float64, r: Float64, angle: Float64) -> Float64:
    """Rotated about the radial direction at r, from z towards φ."""
    radius = np.hypot(r[0], r[1])
    cos, sin = r[0] / radius, r[1] / radius
    local = np.stack([p[0] * cos + p[1] * sin, p[1] * cos - p[0] * sin, p[2]])
    local = _rotated(local, 2, 1, angle)
    return np.stack([local[0] * cos - local[1] * sin, local[0] * sin + local[1] * cos, local[2]])


def _scattered(p: Float64, first: Float64, second: Float64) -> Float64:
    """By two plane angles, in the direction of φ and at a right angle to it; |p| is kept."""
    momentum, pt = np.sqrt((p**2).sum(axis=0)), np.hypot(p[0], p[1])
    along_phi = np.stack([-p[1], p[0], np.zeros_like(pt)]) / pt
    along_theta = np.cross(along_phi, p / momentum, axis=0)
    turned = p + momentum * (first * along_phi + second * along_theta)
    turned = turned * (momentum / np.sqrt((turned**2).sum(axis=0)))
    turned[2] = np.maximum(turned[2], 0.1 * momentum)  # a muon that turned around is taken as lost: it would be stopped
    return np.asarray(turned)


def _slowed(p: Float64, alive: NDArray[np.bool_], loss: float) -> tuple[Float64, NDArray[np.bool_]]:
    momentum = np.sqrt((p**2).sum(axis=0))
    left = np.hypot(momentum, MUON_MASS) - loss * momentum / p[2]  # the way is longer by 1/cosθ
    after = np.sqrt(np.maximum(left**2 - MUON_MASS**2, 0.0))
    alive = alive & (left > MUON_MASS) & (after > STOPPED)
    return np.asarray(p * (np.where(alive, after, STOPPED) / momentum)), alive


# --- closed form


def deflection(where: Spectrometer, tan_theta: Float64) -> tuple[Float64, Float64]:
    """Bending in closed form: φ at the stations (direction, station), and the first's bend (direction,), for q/pT = 1/GeV."""
    tan_theta = np.asarray(tan_theta, dtype=np.float64)
    u, slope, at, bend = np.zeros_like(tan_theta), np.zeros_like(tan_theta), [], np.zeros_like(tan_theta)
    for slab in where.slabs:
        length = slab.end - slab.begin
        second = CURVATURE * (slab.radial * tan_theta - slab.axial * tan_theta**2)
        u, slope = u + slope * length + second * length**2 / 2, slope + second * length
        if slab.end in where.stations:
            at.append(u / (slab.end * tan_theta))
            if slab.end == where.stations[0]:
                bend = where.thickness * (slope - u / slab.end) / (slab.end * tan_theta)
    return np.stack(at, axis=-1), bend


def covariance(where: Spectrometer, pt: float, tan_theta: float) -> Float64:
    """Of φ at the stations and of the bend, (5, 5): multiple scattering by Highland in closed form, strips on the diagonal."""
    stations = np.array(where.stations)
    momentum = pt * np.sqrt(1.0 + tan_theta**-2)
    cos = 1.0 / np.sqrt(1.0 + tan_theta**2)
    total = np.zeros((len(stations) + 1,) * 2)
    for slab in where.slabs:
        if not slab.iron:
            continue
        width = float(highland(np.array(momentum), np.array(slab.iron / IRON_RADIATION_LENGTH / cos))) / cos
        points, shares = np.polynomial.legendre.leggauss(4)  # exact: the integrand is a polynomial of second degree
        for point, share in zip(points, shares / 2, strict=True):
            z = (slab.begin + slab.end) / 2 + point * (slab.end - slab.begin) / 2
            arm = np.maximum(stations - z, 0.0) / (stations * tan_theta)
            first = stations[0]
            bend = where.thickness * (1.0 - (first - z) / first) / (first * tan_theta) if z < first else 0.0
            response = np.append(arm, bend)
            total += share * width**2 * np.outer(response, response)
    measured = where.phi_resolution**2 + where.strip**2 / 12
    strips = np.append(np.full(len(stations), measured), 2 * where.phi_resolution**2 + where.strip**2 / 12)
    return np.asarray(total + np.diag(strips))


def weight_of_spectrum(pt: Float64, power: float, lowest: float, highest: float) -> Float64:
    """Weights, of mean 1, that make a sample flat in 1/pT one that falls as pT^−``power`` between two limits (GeV)."""

    def integral(exponent: float) -> float:
        return (
            log(highest / lowest)
            if exponent == -1.0
            else (highest ** (exponent + 1) - lowest ** (exponent + 1)) / (exponent + 1)
        )

    mean = integral(-power) / integral(-2.0)
    return np.asarray(pt ** (2.0 - power) / mean)
