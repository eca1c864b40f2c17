"""Which events and tracks of ``simulate heavy-flavour`` are stored, and as which columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Columns, Jagged
from fivesigma.simulate.calorimeter import round_mantissa
from fivesigma.simulate.charged_tracks import (
    BOTTOM,
    ChargedTracks,
    Particles,
    charged_tracks,
    heaviest_flavour,
)
from fivesigma.simulate.heavy_flavour_decays import DecayMode
from fivesigma.simulate.vertex_detector import (
    EFFICIENCY,
    ETA_RANGE,
    P_MIN,
    ip_chi2,
    measure,
    transverse_momentum,
)

PT_MIN = 0.4
"""GeV, of stored tracks."""
TRACK_IP_CHI2 = 4.0
"""Of stored tracks, as measured by the nominal detector."""
EVENT_IP_CHI2 = 7.0
"""Two tracks of a stored background event have more than this: a trigger that asks for 10 still has, with errors that are
20 % larger than believed, practically all the events that would pass it."""
SIGNAL_TRACK = 1
"""``track_origin`` of tracks of the signal's decay; others have the flavour that they come from."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
STATE_BITS, NORMAL_BITS = 16, 8
"""Bits kept of a mantissa: positions to 10⁻⁵, unit normal numbers to 2·10⁻³."""


@dataclass
class HeavyFlavourLedger:
    """Counts of events: generated, and what each cut took."""

    events: int = 0
    events_failed: int = 0
    no_hadron: int = 0
    outside_acceptance: int = 0
    few_displaced_tracks: int = 0
    accepted: int = 0


def select_signal(
    particles: Particles, mode: DecayMode, wanted: int, ledger: HeavyFlavourLedger, rng: np.random.Generator
) -> tuple[Ints, Columns]:
    """Events with a hadron of the mode's kind whose charged tracks are all in acceptance; the first ``wanted``."""
    tracks = charged_tracks(particles)
    is_hadron = np.abs(particles.code) == mode.hadron
    inside = _in_acceptance(tracks) & (tracks.hadron >= 0)
    number = np.bincount(tracks.hadron[inside], minlength=len(is_hadron))
    good = np.flatnonzero(is_hadron & (number == mode.tracks))
    event, first = np.unique(particles.event[good], return_index=True)
    has = np.zeros(len(particles), dtype=np.bool_)
    has[particles.event[is_hadron]] = True
    row, last = _first(event, wanted, len(particles))
    chosen = good[first][: len(row)]
    _count(ledger, particles, last, row)
    ledger.no_hadron += int((~has[:last]).sum())
    ledger.outside_acceptance += int(has[:last].sum()) - len(row)
    signal = np.isin(tracks.hadron, chosen)
    found = _found(tracks, rng)
    columns = _columns(tracks, row, found, signal, len(particles), rng)
    _, px, py, pz = particles.momenta[chosen].T
    energy = particles.momenta[chosen, 0]
    mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
    own = {
        "flavour": np.full(len(row), BOTTOM, dtype=np.int32),
        "decay_time": particles.lifetime_ps[chosen].astype(np.float32),
        "hadron_pt": np.hypot(px, py).astype(np.float32),
        "hadron_eta": np.arcsinh(pz / np.hypot(px, py)).astype(np.float32),
        "hadron_mass": mass.astype(np.float32),
        "visible_mass": _visible_mass(tracks, chosen).astype(np.float32),
    }
    return row, {**own, **columns}


def select_background(
    particles: Particles, wanted: int, ledger: HeavyFlavourLedger, rng: np.random.Generator
) -> tuple[Ints, Columns]:
    """Events of any flavour that have two displaced tracks; the first ``wanted``."""
    tracks = charged_tracks(particles)
    flavour = heaviest_flavour(particles)
    found = _found(tracks, rng)
    vertex_normals = rng.normal(size=(len(particles), 3))
    normals = rng.normal(size=(len(tracks.event), 3))
    chi2 = _measured_chi2(tracks, normals, vertex_normals)
    displaced = found & (chi2 > EVENT_IP_CHI2)
    enough = np.bincount(tracks.event[displaced], minlength=len(particles)) >= 2
    row, last = _first(np.flatnonzero(enough), wanted, len(particles))
    _count(ledger, particles, last, row)
    ledger.few_displaced_tracks += last - len(row)
    nothing = np.zeros(len(row), dtype=np.float32)
    own: dict[str, NDArray[Any]] = {"flavour": flavour[row].astype(np.int32)}
    own |= dict.fromkeys(("decay_time", "hadron_pt", "hadron_eta", "hadron_mass", "visible_mass"), nothing)
    return row, {**own, **_stored(tracks, row, found & (chi2 > TRACK_IP_CHI2), tracks.flavour, normals, vertex_normals)}


def _columns(
    tracks: ChargedTracks,
    row: Ints,
    found: NDArray[np.bool_],
    signal: NDArray[np.bool_],
    n_events: int,
    rng: np.random.Generator,
) -> Columns:
    """Of signal: draw the detector's normal numbers and store what is displaced."""
    vertex_normals = rng.normal(size=(n_events, 3))
    normals = rng.normal(size=(len(tracks.event), 3))
    kept = found & (_measured_chi2(tracks, normals, vertex_normals) > TRACK_IP_CHI2)
    return _stored(tracks, row, kept, np.where(signal, SIGNAL_TRACK, tracks.flavour), normals, vertex_normals)


def _in_acceptance(tracks: ChargedTracks) -> NDArray[np.bool_]:
    low, high = ETA_RANGE
    return np.asarray((tracks.eta > low) & (tracks.eta < high) & (tracks.states[:, 4] > P_MIN))


def _found(tracks: ChargedTracks, rng: np.random.Generator) -> NDArray[np.bool_]:
    """In acceptance, not too soft, and found."""
    lucky = rng.random(len(tracks.event)) < EFFICIENCY
    return _in_acceptance(tracks) & lucky & (transverse_momentum(tracks.states) > PT_MIN)


def _measured_chi2(tracks: ChargedTracks, normals: Floats, vertex_normals: Floats) -> Floats:
    measured = measure(tracks.states, normals, vertex_normals)
    return ip_chi2(measured.states, measured.sigma, measured.vertex[tracks.event])


def _first(event: Ints, wanted: int, n_events: int) -> tuple[Ints, int]:
    """The first ``wanted`` accepted events, and how many of the batch were looked at for them."""
    row = event[:wanted]
    return row, int(row[-1]) + 1 if len(row) == wanted else n_events


def _count(ledger: HeavyFlavourLedger, particles: Particles, last: int, row: Ints) -> None:
    ledger.events += last
    ledger.events_failed += particles.n_failed
    ledger.accepted += len(row)


def _stored(
    tracks: ChargedTracks,
    row: Ints,
    kept: NDArray[np.bool_],
    origin: Ints,
    normals: Floats,
    vertex_normals: Floats,
) -> Columns:
    """Jagged columns of the kept tracks of the chosen events, and the normal numbers of their vertices."""
    place = np.full(len(vertex_normals), -1, dtype=np.int64)
    place[row] = np.arange(len(row))
    chosen = kept & (place[tracks.event] >= 0)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(place[tracks.event[chosen]], minlength=len(row)))])

    def jagged(values: NDArray[Any]) -> Jagged:
        return Jagged(values[chosen], offsets.astype(np.int64))

    columns: dict[str, NDArray[Any] | Jagged] = {
        f"track_{name}": jagged(round_mantissa(tracks.states[:, i], STATE_BITS))
        for i, name in enumerate(("x", "y", "tx", "ty", "p"))
    }
    columns |= {
        f"track_normal_{name}": jagged(round_mantissa(normals[:, i], NORMAL_BITS)) for i, name in enumerate("xyp")
    }
    columns["track_origin"] = jagged(origin.astype(np.int8))
    columns |= {
        f"vertex_normal_{name}": round_mantissa(vertex_normals[row, i], NORMAL_BITS) for i, name in enumerate("xyz")
    }
    return columns


_MASSES = {11: 0.000511, 13: 0.105658, 211: 0.139570, 321: 0.493677, 2212: 0.938272}  # GeV, PDG


def _visible_mass(tracks: ChargedTracks, hadrons: Ints) -> Floats:
    """True mass of the charged tracks of each hadron, shape (hadron,)."""
    order = np.argsort(hadrons)
    place = np.searchsorted(hadrons[order], tracks.hadron)
    place = np.minimum(place, len(hadrons) - 1) if len(hadrons) else place
    own = np.isin(tracks.hadron, hadrons)
    slope = np.hypot(tracks.states[own, 2], tracks.states[own, 3])
    p = tracks.states[own, 4]
    mass = np.array([_MASSES[abs(int(code))] for code in tracks.code[own]])
    pz = p / np.sqrt(1 + slope**2)
    parts = np.column_stack([np.hypot(p, mass), pz * tracks.states[own, 2], pz * tracks.states[own, 3], pz])
    total = np.zeros((len(hadrons), 4))
    np.add.at(total, order[place[own]], parts)
    squared = total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))
