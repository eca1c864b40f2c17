"""Toy jets for the tests of features: two prongs of towers, as jagged columns with the names of our samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Jagged
from fivesigma.features.images import COLUMNS


class Jet(NamedTuple):
    """One jet: constituents (constituent,) and subjets (subjet, (pt, eta, phi))."""

    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    subjets: NDArray[np.float64]


def toy_jet(seed: int, n_subjets: int = 2) -> Jet:
    """A jet of about 40 constituents, 250 GeV; the directions of its subjets are where the prongs are."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 60))
    eta0, phi0 = rng.uniform(-2, 2), rng.uniform(-np.pi, np.pi)
    distance, angle = rng.uniform(0.3, 0.7), rng.uniform(-np.pi, np.pi)
    prong = rng.random(n) < 0.35
    pt = rng.exponential(1.0, n)
    pt *= 250 / pt.sum()
    eta = eta0 + prong * distance * np.cos(angle) + rng.normal(0, 0.08, n)
    phi = phi0 + prong * distance * np.sin(angle) + rng.normal(0, 0.08, n)
    subjets = np.array([[150.0, eta0, phi0], [90.0, eta0 + distance * np.cos(angle), phi0 + distance * np.sin(angle)]])
    subjets[:, 2] = wrap(subjets[:, 2])
    return Jet(pt, eta, wrap(phi), subjets[:n_subjets])


def wrap(phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Azimuths into [−π, π), as files have them."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def as_columns(jets: list[Jet], dtype: type[np.floating] = np.float64) -> dict[str, Jagged]:
    """Jets as the columns of a sample."""
    lists = (
        [j.pt for j in jets],
        [j.eta for j in jets],
        [j.phi for j in jets],
        *([j.subjets[:, k] for j in jets] for k in range(3)),
    )
    return {
        name: Jagged.from_lists([x.tolist() for x in values], dtype)
        for name, values in zip(COLUMNS, lists, strict=True)
    }


def moved(jet: Jet, *, eta: float = 0.0, phi: float = 0.0) -> Jet:
    """Boosted along the beam by ``eta`` and turned about it by ``phi``."""
    subjets = jet.subjets + np.array([0.0, eta, phi])
    subjets[:, 2] = wrap(subjets[:, 2])
    return Jet(jet.pt, jet.eta + eta, wrap(jet.phi + phi), subjets)


def turned(jet: Jet, angle: float, *, mirror: bool = False) -> Jet:
    """Turned by ``angle`` about its leading subjet in the η–φ plane, and mirrored in η if wanted."""
    centre = jet.subjets[np.argmax(jet.subjets[:, 0]), 1:]

    def turn(eta: NDArray[np.float64], phi: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = eta - centre[0], wrap(phi - centre[1])
        x = -x if mirror else x
        cosine, sine = np.cos(angle), np.sin(angle)
        return centre[0] + cosine * x - sine * y, wrap(centre[1] + sine * x + cosine * y)

    eta, phi = turn(jet.eta, jet.phi)
    subjet_eta, subjet_phi = turn(jet.subjets[:, 1], jet.subjets[:, 2])
    return Jet(jet.pt, eta, phi, np.stack([jet.subjets[:, 0], subjet_eta, subjet_phi], axis=1))
