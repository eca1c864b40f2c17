"""Pile-up: further proton collisions of the same bunch crossing, from a pool of soft-QCD events that is used again.

A pool is generated once a process, then every overlay takes events of it at random and turns each by a random azimuth
about the beam: an exact symmetry, so that one pool event serves many times without repeating itself. What repeats is
its particles' pt, eta and relative azimuths; the size of the pool is part of a sample's configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import FourMomentum, pseudorapidity
from fivesigma.simulate.calorimeter import ETA_MAX
from fivesigma.simulate.jet_finding import offsets_of
from fivesigma.simulate.pythia import GeneratedEvents, next_events, pythia_seed, start_pythia

POOL_SETTINGS = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "Tune:pp = 14",
    "SoftQCD:nonDiffractive = on",
)
"""Inelastic non-diffractive collisions at 13 TeV, which make most of what a calorimeter sees of pile-up."""
DEFAULT_POOL = 1_000
"""Events of a pool."""
DEFAULT_MEAN = 50.0
"""Mean number of extra collisions, as in arXiv:1611.01046."""

_EVENTS_PER_BATCH = 100


@dataclass(frozen=True)
class Pool:
    """Soft events: ``momenta`` (particles, 4) of the visible particles within the calorimeter, GeV; those of event ``i``
    are at ``particles[i]``.
    """

    momenta: FourMomentum
    particles: Jagged

    def __len__(self) -> int:
        return len(self.particles)


@dataclass(frozen=True)
class PileUp:
    """Adds a Poisson number of mean ``mean`` of events of ``pool`` to each event; ``rng`` chooses and turns them."""

    pool: Pool
    mean: float
    rng: np.random.Generator

    def overlay(self, events: GeneratedEvents) -> tuple[GeneratedEvents, NDArray[np.int32]]:
        """The events with their pile-up, and how many collisions were added to each, int32 (events,)."""
        extra = self.rng.poisson(self.mean, len(events))
        owner = np.repeat(np.arange(len(events)), extra)
        chosen = self.pool.particles[self.rng.integers(len(self.pool), size=len(owner))]
        angle = np.repeat(self.rng.uniform(-np.pi, np.pi, len(owner)), chosen.counts)
        added = turn(self.pool.momenta[chosen.values], angle)
        overlaid = replace(
            events,
            event=np.concatenate([events.event, np.repeat(owner, chosen.counts)]),
            momenta=np.concatenate([events.momenta, added]),
        )
        return overlaid, extra.astype(np.int32)


@lru_cache(maxsize=1)  # a worker process makes many parts of one sample
def soft_qcd_pool(seed: int, size: int) -> Pool:
    """The pool of a sample: it depends on the sample's seed and on ``size`` alone."""
    pythia = start_pythia(POOL_SETTINGS, pythia_seed(seed, "pile-up", 0))
    batches: list[GeneratedEvents] = []
    while (missing := size - sum(len(batch) for batch in batches)) > 0:
        batches.append(next_events(pythia, min(missing, _EVENTS_PER_BATCH)))
    first = offsets_of(np.array([len(batch) for batch in batches]))
    event = np.concatenate([batch.event + start for batch, start in zip(batches, first[:-1], strict=True)])
    momenta = np.concatenate([batch.momenta for batch in batches])
    inside = np.abs(pseudorapidity(momenta)) < ETA_MAX
    counts = np.bincount(event[inside], minlength=size)
    return Pool(momenta[inside], Jagged(np.arange(int(inside.sum())), offsets_of(counts)))


def turn(momenta: FourMomentum, angle: NDArray[np.float64]) -> FourMomentum:
    """Momenta turned about the beam by ``angle`` (radians, one a momentum), shape (n, 4)."""
    energy, px, py, pz = momenta.T
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.column_stack([energy, cosine * px - sine * py, sine * px + cosine * py, pz])
