"""Charged particles of Pythia's events as straight lines, with the hadron that each comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.simulate.vertex_detector import DECAY_RADIUS, DECAY_Z

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BOTTOM, CHARM, STRANGE, PROMPT = 5, 4, 3, 0
"""Heaviest quark of the hadrons that a track comes from: weak decays of beauty, of charm, of strangeness, or none."""

_CHARGED = (11, 13, 211, 321, 2212)  # what lives long enough to be a track
_STRANGE_HADRONS = (310, 3122, 3112, 3222, 3312, 3322, 3334)
_GENERATIONS = 40  # more than any chain of decays has
_PS_PER_MM = 1.0 / 0.299792458


@dataclass(frozen=True)
class Particles:
    """Records of a batch of events, all particles one after another.

    ``event``: int64 (particle,) row of the event; ``code``, ``status``: PDG and status codes; ``mother``: int64, place of
    the first mother among all particles, −1 where there is none; ``momenta``: (particle, 4) E, px, py, pz in GeV;
    ``origin``: (particle, 3) mm, where it was made; ``lifetime_ps``: (particle,) proper lifetime; ``n_failed`` events.
    """

    event: Ints
    code: Ints
    status: Ints
    mother: Ints
    momenta: Floats
    origin: Floats
    lifetime_ps: Floats
    weight: Floats
    n_failed: int

    def __len__(self) -> int:
        return len(self.weight)


def next_particles(pythia: Any, n_events: int) -> Particles:
    """Generate ``n_events`` events; those that Pythia gives up are left out and counted."""
    import awkward as ak

    batch = pythia.nextBatch(n_events, errorMode="skip")
    n, particle = len(batch), batch.prt
    counts = ak.to_numpy(ak.num(particle.id))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])

    def flat(column: Any) -> NDArray[Any]:
        return np.asarray(ak.to_numpy(ak.flatten(column)))

    mother = flat(particle.mother1).astype(np.int64)
    vertex = np.column_stack([flat(particle.vProd[name]) for name in ("px", "py", "pz")]).astype(np.float64)
    return Particles(
        event=np.repeat(np.arange(n), counts),
        code=flat(particle.id).astype(np.int64),
        status=flat(particle.status).astype(np.int64),
        mother=np.where(mother > 0, mother + np.repeat(first, counts), -1),
        momenta=np.column_stack([flat(particle.p[name]) for name in ("e", "px", "py", "pz")]).astype(np.float64),
        origin=np.nan_to_num(vertex, nan=0.0),  # NaN: made in the collision itself
        lifetime_ps=flat(particle.tau).astype(np.float64) * _PS_PER_MM,
        weight=ak.to_numpy(ak.firsts(batch.info.weights)).astype(np.float64),
        n_failed=n_events - n,
    )


@dataclass(frozen=True)
class ChargedTracks:
    """Charged particles that a forward vertex detector could see, one row each.

    ``event``, ``code``: as in ``Particles``; ``states``: (track, 5), see ``vertex_detector``; ``eta``: (track,);
    ``flavour``: the heaviest quark of the hadrons it comes from; ``hadron``: place of the b hadron it comes from among the
    particles, −1 where there is none.
    """

    event: Ints
    code: Ints
    states: Floats
    eta: Floats
    flavour: Ints
    hadron: Ints


def charged_tracks(particles: Particles) -> ChargedTracks:
    """Stable charged particles that fly forward and were made where the vertex detector sees them."""
    stable = (particles.status > 0) & np.isin(np.abs(particles.code), _CHARGED)
    forward = particles.momenta[:, 3] > 0
    place = particles.origin
    inside = (np.hypot(place[:, 0], place[:, 1]) < DECAY_RADIUS) & (np.abs(place[:, 2]) < DECAY_Z)
    chosen = np.flatnonzero(stable & forward & inside)
    _, px, py, pz = particles.momenta[chosen].T
    x, y, z = place[chosen].T
    tx, ty = px / pz, py / pz
    flavour, hadron = _origins(particles, chosen)
    return ChargedTracks(
        event=particles.event[chosen],
        code=particles.code[chosen],
        states=np.column_stack([x - tx * z, y - ty * z, tx, ty, np.sqrt(px**2 + py**2 + pz**2)]),
        eta=np.arcsinh(pz / np.hypot(px, py)),
        flavour=flavour,
        hadron=hadron,
    )


def contains(code: Ints, quark: int) -> NDArray[np.bool_]:
    """Whether hadrons of these PDG codes contain a quark of this flavour; quarks and diquarks themselves are no hadrons.

    >>> contains(np.array([521, -5122, 443, 5, 5103, 211]), BOTTOM).tolist()
    [True, True, False, False, False, False]
    """
    size = np.abs(code) % 10_000
    hadron = (size >= 100) & ((size // 10) % 10 > 0)
    return np.asarray(hadron & (((size // 100) % 10 == quark) | (size // 1000 == quark)))


def heaviest_flavour(particles: Particles) -> Ints:
    """Of each event: 5 with a b hadron, 4 with a charm hadron, 0 otherwise, shape (event,)."""
    found = np.zeros(len(particles), dtype=np.int64)
    for quark in (CHARM, BOTTOM):
        found[particles.event[contains(particles.code, quark)]] = quark
    return found


def _origins(particles: Particles, chosen: Ints) -> tuple[Ints, Ints]:
    """Climb from mother to mother: heaviest flavour on the way, and the first b hadron."""
    is_bottom, is_charm = contains(particles.code, BOTTOM), contains(particles.code, CHARM)
    is_strange = np.isin(np.abs(particles.code), _STRANGE_HADRONS)
    flavour, hadron = np.zeros(len(chosen), dtype=np.int64), np.full(len(chosen), -1, dtype=np.int64)
    at = particles.mother[chosen]
    for _ in range(_GENERATIONS):
        alive = at >= 0
        if not alive.any():
            break
        here = np.where(alive, at, 0)
        bottom = alive & is_bottom[here]
        hadron = np.where(bottom & (hadron < 0), here, hadron)
        for quark, carries in ((STRANGE, is_strange), (CHARM, is_charm), (BOTTOM, is_bottom)):
            flavour = np.where(alive & carries[here], np.maximum(flavour, quark), flavour)
        at = np.where(alive & ~bottom, particles.mother[here], -1)
    return flavour, hadron
