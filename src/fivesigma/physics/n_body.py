"""Two-, three- and four-track candidates for the decay of a heavy hadron: combine, fit a vertex, and describe it.

The quantities are those of LHCb's topological trigger (arXiv:1210.6861): what a decay of a b hadron looks like when not all
of it may be seen. Lengths in millimetres, GeV otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.physics.straight_lines import (
    Vertices,
    closest_approach,
    corrected_mass,
    fit_vertex,
    flight_chi2,
    transverse_to,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KAON_MASS = 0.493677
"""GeV (PDG): without particle identification every track is taken for a kaon, as in LHCb's topological trigger."""
BODIES = (2, 3, 4)
CANDIDATE_COLUMNS = ("n_tracks", "sum_pt", "min_pt", "mass", "corrected_mass", "doca", "ip_chi2", "fd_chi2")
"""What describes a candidate: number of tracks, Σ pT and least pT, mass of kaons, corrected mass, largest distance of closest
approach of two of its tracks, χ² of its impact parameter and of its distance of flight from the primary vertex."""


@dataclass(frozen=True)
class NBodyCuts:
    """What a candidate must be: loose, since a classifier comes after.

    ``doca`` mm, at most; ``vertex_chi2`` at most, per degree of freedom; ``fd_chi2`` at least; ``corrected_mass`` GeV, from
    and to; ``most_tracks`` of an event that are combined, those of largest impact parameter χ² (30 pairs or so).
    """

    doca: float = 0.2
    vertex_chi2: float = 10.0
    fd_chi2: float = 25.0
    corrected_mass: tuple[float, float] = (1.0, 10.0)
    most_tracks: int = 8


@dataclass(frozen=True)
class EventTracks:
    """Reconstructed tracks of several events, one after another.

    ``event``: int64 (track,) row of the event, rising; ``states``: (track, 5) x, y, tx, ty at z = 0 and p; ``sigma``:
    (track,) of x and of y; ``ip_chi2``: (track,); ``vertex``: (event, 3) primary vertex; ``vertex_sigma``: (3,) its own.
    """

    event: Ints
    states: Floats
    sigma: Floats
    ip_chi2: Floats
    vertex: Floats
    vertex_sigma: Floats


@dataclass(frozen=True)
class Candidates:
    """One row a candidate: ``event`` (row,), ``tracks`` (row, 4) places among the tracks, −1 beyond the last, ``columns``."""

    event: Ints
    tracks: Ints
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.event)


def combine(tracks: EventTracks, cuts: NBodyCuts | None = None, bodies: tuple[int, ...] = BODIES) -> Candidates:
    """All combinations of 2, 3 and 4 tracks of an event that pass the cuts, in order of event, then of size.

    Raises
    ------
    ConfigError
        for tracks that are not in order of event.
    """
    cuts = cuts or NBodyCuts()
    if (np.diff(tracks.event) < 0).any():
        raise ConfigError("tracks are not in order of event")
    places = _chosen_tracks(tracks, cuts.most_tracks)
    parts = [_of_size(tracks, places, n, cuts) for n in bodies]
    event = np.concatenate([part.event for part in parts])
    order = np.argsort(event, kind="stable")
    return Candidates(
        event[order],
        np.concatenate([part.tracks for part in parts])[order],
        {name: np.concatenate([part.columns[name] for part in parts])[order] for name in CANDIDATE_COLUMNS},
    )


def _chosen_tracks(tracks: EventTracks, most: int) -> list[Ints]:
    """Places of the tracks of events by how many they have: item m holds (event, m)."""
    order = np.lexsort((-tracks.ip_chi2, tracks.event))
    event = tracks.event[order]
    rank = np.arange(len(event)) - np.searchsorted(event, event)
    kept = np.sort(order[rank < most])
    counts = np.bincount(tracks.event[kept], minlength=len(tracks.vertex))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return [kept[first[counts == m][:, None] + np.arange(m)] for m in range(most + 1)]


def _of_size(tracks: EventTracks, places: list[Ints], n: int, cuts: NBodyCuts) -> Candidates:
    """Combinations of n tracks: those whose pairs are close are fitted."""
    found = []
    for m, of_events in enumerate(places):
        if m >= n and len(of_events):
            members = np.array(list(combinations(range(m), n)))  # (combination, n)
            found.append(of_events[:, members].reshape(-1, n))
    chosen = np.concatenate(found) if found else np.empty((0, n), dtype=np.int64)
    lines = tracks.states[:, :4]
    doca = np.zeros(len(chosen))
    for i, j in combinations(range(n), 2):
        near = doca < cuts.doca
        doca[near] = np.maximum(doca[near], closest_approach(lines[chosen[near, i]], lines[chosen[near, j]]))
    close = doca < cuts.doca
    chosen, doca = chosen[close], doca[close]
    event = tracks.event[chosen[:, 0]]
    vertices = fit_vertex(lines[chosen], tracks.sigma[chosen])
    columns = describe(tracks.states[chosen], vertices, tracks.vertex[event], tracks.vertex_sigma, doca)
    flight = vertices.position - tracks.vertex[event]
    low, high = cuts.corrected_mass
    kept = (
        (vertices.chi2 < cuts.vertex_chi2 * (2 * n - 3))
        & (columns["fd_chi2"] > cuts.fd_chi2)
        & (columns["corrected_mass"] > low)
        & (columns["corrected_mass"] < high)
        & (flight[:, 2] > 0)
    )
    padded = np.full((int(kept.sum()), max(BODIES)), -1, dtype=np.int64)
    padded[:, :n] = chosen[kept]
    return Candidates(event[kept], padded, {name: values[kept] for name, values in columns.items()})


def momenta_of(states: Floats) -> Floats:
    """(…, 3) of states (…, 5) that fly forward."""
    _, _, tx, ty, p = np.moveaxis(states, -1, 0)
    pz = p / np.sqrt(1.0 + tx**2 + ty**2)
    return np.stack([pz * tx, pz * ty, pz], axis=-1)


def describe(
    states: Floats, vertices: Vertices, primary: Floats, primary_sigma: Floats, doca: Floats
) -> dict[str, Floats]:
    """``CANDIDATE_COLUMNS`` of candidates: states (candidate, track, 5), primary vertices (candidate, 3), doca (candidate,)."""
    momenta = momenta_of(states)  # (candidate, track, 3)
    pt = np.hypot(momenta[..., 0], momenta[..., 1])
    total = momenta.sum(axis=1)
    energy = np.hypot(states[..., 4], KAON_MASS).sum(axis=1)
    mass = np.sqrt(np.maximum(energy**2 - (total**2).sum(axis=-1), 0.0))
    flight = vertices.position - primary
    primary_covariance = np.diag(primary_sigma**2)
    return {
        "n_tracks": np.full(len(states), float(states.shape[1])),
        "sum_pt": pt.sum(axis=1),
        "min_pt": pt.min(axis=1) if len(pt) else np.empty(0),
        "mass": mass,
        "corrected_mass": corrected_mass(mass, transverse_to(total, flight)),
        "doca": doca,
        "ip_chi2": _impact_chi2(vertices, total, primary, primary_covariance),
        "fd_chi2": flight_chi2(flight, vertices.covariance + primary_covariance),
    }


def _impact_chi2(vertices: Vertices, momentum: Floats, primary: Floats, primary_covariance: Floats) -> Floats:
    """How far the candidate's line passes the primary vertex, x and y at its z, in standard deviations squared."""
    slope = momentum[:, :2] / momentum[:, 2:]  # (candidate, 2)
    at = vertices.position
    miss = at[:, :2] + slope * (primary[:, 2:] - at[:, 2:]) - primary[:, :2]
    jacobian = np.zeros((len(at), 2, 3))
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = 1.0
    jacobian[:, :, 2] = -slope
    covariance = jacobian @ (vertices.covariance + primary_covariance) @ jacobian.transpose(0, 2, 1)
    return flight_chi2(miss, covariance)
