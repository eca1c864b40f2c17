"""Slow, obvious references of what FastJet does: pairwise clustering, trimming, N-subjettiness."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fivesigma.physics.kinematics import azimuth, delta_phi, four_momentum, rapidity, transverse_momentum

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    momentum: Vector  # E, px, py, pz
    members: tuple[int, ...]


def distance2(a: Vector, b: Vector) -> float:
    """Squared distance in rapidity and azimuth, as FastJet measures it."""
    return float((rapidity(a) - rapidity(b)) ** 2 + delta_phi(azimuth(a), azimuth(b)) ** 2)


def cluster(momenta: Vector, power: int, radius: float) -> list[Cluster]:
    """Generalised kt: power 1 is kt, 0 Cambridge/Aachen, −1 anti-kt; the smallest distance first, one at a time."""
    active = [Cluster(p, (i,)) for i, p in enumerate(momenta)]
    jets = []
    while active:
        best, pair = np.inf, (0, 0)
        for i, a in enumerate(active):
            scale = float(transverse_momentum(a.momentum)) ** (2 * power)
            if scale < best:
                best, pair = scale, (i, i)
            for j in range(i):
                other = float(transverse_momentum(active[j].momentum)) ** (2 * power)
                between = min(scale, other) * distance2(a.momentum, active[j].momentum) / radius**2
                if between < best:
                    best, pair = between, (i, j)
        i, j = pair
        if i == j:
            jets.append(active.pop(i))
        else:
            a, b = active.pop(i), active.pop(j)
            active.append(Cluster(a.momentum + b.momentum, a.members + b.members))
    return sorted(jets, key=lambda jet: -float(transverse_momentum(jet.momentum)))


def trim(momenta: Vector, radius: float, fraction: float) -> list[Cluster]:
    """Subjets that survive trimming, of a jet with these constituents."""
    jet_pt = transverse_momentum(momenta.sum(axis=0))
    return [s for s in cluster(momenta, 1, radius) if transverse_momentum(s.momentum) >= fraction * jet_pt]


def winner_take_all_axes(pt: Vector, eta: Vector, phi: Vector, n_axes: int) -> list[tuple[float, float]]:
    """Exclusive kt axes: the nearest pair merges into the direction of its harder half until ``n_axes`` are left."""
    active = [(p, e, f) for p, e, f in zip(pt, eta, phi, strict=True)]
    while len(active) > n_axes:

        def kt(pair: tuple[int, int]) -> float:
            a, b = active[pair[0]], active[pair[1]]
            return float(min(a[0], b[0]) ** 2 * ((a[1] - b[1]) ** 2 + delta_phi(a[2], b[2]) ** 2))

        i, j = min(itertools.combinations(range(len(active)), 2), key=kt)
        b, a = active.pop(j), active.pop(i)
        winner = a if a[0] > b[0] else b
        active.append((a[0] + b[0], winner[1], winner[2]))
    return [(eta_, phi_) for _, eta_, phi_ in active]


def tau(pt: Vector, eta: Vector, phi: Vector, axes: list[tuple[float, float]], radius: float) -> float:
    """N-subjettiness of arXiv:1011.2268, eq. 3, about given axes; beta = 1."""
    nearest = np.min([np.hypot(eta - a, delta_phi(phi, f)) for a, f in axes], axis=0)
    return float(np.sum(pt * nearest) / (np.sum(pt) * radius))


def smallest_tau(pt: Vector, eta: Vector, phi: Vector, n_axes: int, radius: float) -> float:
    """N-subjettiness about the best axes there are: the geometric medians of the best of all partitions."""
    best = np.inf
    for labels in itertools.product(range(n_axes), repeat=len(pt) - 1):  # the first belongs to axis 0
        parts = [np.array([0, *labels]) == k for k in range(n_axes)]
        total = sum(_median_distance(pt[part], eta[part], phi[part]) for part in parts if part.any())
        best = min(best, total)
    return float(best / (np.sum(pt) * radius))


def _median_distance(pt: Vector, eta: Vector, phi: Vector) -> float:
    def total(axis: Vector) -> float:
        return float(np.sum(pt * np.hypot(eta - axis[0], delta_phi(phi, axis[1]))))

    at_points = min(total(np.array([e, f])) for e, f in zip(eta, phi, strict=True))
    start = np.array([np.average(eta, weights=pt), np.average(phi, weights=pt)])
    return min(
        at_points, float(minimize(total, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7}).fun)
    )


def random_towers(rng: np.random.Generator, n: int, width: float) -> tuple[Vector, Vector, Vector, Vector]:
    """pt, eta, phi and momenta of towers in two prongs."""
    pt = rng.exponential(20.0, n) + 0.1
    eta = rng.normal(0.0, width / 3, n) + rng.integers(0, 2, n) * width
    phi = rng.normal(0.0, width / 3, n)
    return pt, eta, phi, four_momentum(pt, eta, phi)
