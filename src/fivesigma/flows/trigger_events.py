"""Events of the flow ``topological-trigger``: read, measured by a detector that may be worse than it thinks, combined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.errors import FileFormatError
from fivesigma.core.integrity import file_digest
from fivesigma.core.jagged import Column, Jagged
from fivesigma.evaluate.bootstrap import event_uniform
from fivesigma.physics.n_body import CANDIDATE_COLUMNS, Candidates, EventTracks, NBodyCuts, combine
from fivesigma.read import open_events
from fivesigma.simulate.displaced_events import SIGNAL_TRACK
from fivesigma.simulate.vertex_detector import VERTEX_UM, Response, ip_chi2, measure, transverse_momentum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TREE = "events"
_FLAT = ("event_number", "label", "mode", "flavour", "decay_time", "hadron_pt", "visible_mass")
_TRACK = ("x", "y", "tx", "ty", "p")
_SPLIT = 2**32  # of the hash that tells training from test: no replica of the bootstrap


class SelectionWords(BaseModel):
    """Which tracks are combined, and into which candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pt_min: float = Field(default=0.5, gt=0, description="GeV, of each track")
    ip_chi2_min: float = Field(default=10.0, gt=0, description="impact parameter of each track")
    doca_max: float = Field(default=0.2, gt=0, description="mm, of any two tracks of a candidate")
    vertex_chi2_max: float = Field(default=10.0, gt=0, description="per degree of freedom")
    fd_chi2_min: float = Field(default=25.0, gt=0, description="distance of flight")
    corrected_mass: tuple[float, float] = Field(default=(1.0, 10.0), description="GeV, from and to")


@dataclass(frozen=True)
class TriggerSample:
    """A file of ``simulate heavy-flavour``: flat columns (event,), jagged tracks, how many collisions made the background."""

    columns: Mapping[str, Column]
    collisions: int
    file: Mapping[str, Any]

    @property
    def n_events(self) -> int:
        """Stored ones."""
        return len(self.column("label"))

    def column(self, name: str) -> NDArray[Any]:
        """A flat one."""
        return np.asarray(cast("NDArray[Any]", self.columns[name]))

    def test(self, fraction: float, seed: int) -> Bools:
        """Events (event,) that no model sees, by a hash of their number."""
        return event_uniform(self.column("event_number").astype(np.uint64), _SPLIT, seed) < fraction


@dataclass(frozen=True)
class TriggerCandidates:
    """Candidates: ``event`` (row,) row of the event, inputs ``X`` (row, input), ``own``: all tracks of the signal's decay.

    And of each event, (event,): ``n_tracks`` that are combined, and ``impact``, the hardest one's impact parameter in x in
    standard deviations, positive away from the beam on the track's own side; NaN where there is none.
    """

    event: Ints
    X: Floats
    own: Bools
    n_tracks: Ints
    impact: Floats


def read_sample(path: Path) -> TriggerSample:
    """Read the ROOT file and the metadata beside it.

    Raises
    ------
    InputError
        if there is no such file, or a branch is missing.
    FileFormatError
        if the metadata are not those of this simulation.
    """
    events = open_events([path], tree=TREE)
    normals = [f"track_normal_{name}" for name in "xyp"]
    names = [*_FLAT, *(f"vertex_normal_{axis}" for axis in "xyz"), *(f"track_{n}" for n in _TRACK), *normals]
    parts = [events.read(part, [*names, "track_origin"]) for part in events.partitions()]
    columns = {name: _joined([part[name] for part in parts]) for name in [*names, "track_origin"]}
    metadata = path.with_suffix(".json")
    try:
        made = json.loads(metadata.read_text(encoding="utf-8"))
        collisions = next(c["ledger"]["events"] for c in made["classes"] if c["name"] == "background")
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise FileFormatError(
            "expected the metadata of `fivesigma simulate heavy-flavour`, which say how many collisions were made",
            file=metadata,
        ) from error
    label = np.asarray(columns["label"])
    file = {
        "file": path.name,
        "xxh3": file_digest(path),
        "signal": int((label == 1).sum()),
        "background": int((label == 0).sum()),
        "collisions": collisions,
    }
    return TriggerSample(columns, collisions, file)


def candidates_of(sample: TriggerSample, words: SelectionWords, response: Response | None = None) -> TriggerCandidates:
    """Measure all tracks, choose those that do not come from the primary vertex, and combine them."""
    x = cast("Jagged", sample.columns["track_x"])
    event = np.repeat(np.arange(sample.n_events), x.counts)
    states = _stacked(sample, [f"track_{name}" for name in _TRACK])
    normals = _stacked(sample, [f"track_normal_{name}" for name in "xyp"])
    vertex_normals = np.stack([sample.column(f"vertex_normal_{axis}").astype(np.float64) for axis in "xyz"], axis=1)
    measured = measure(states, normals, vertex_normals, response)
    chi2 = ip_chi2(measured.states, measured.sigma, measured.vertex[event])
    kept = (chi2 > words.ip_chi2_min) & (transverse_momentum(measured.states) > words.pt_min)
    tracks = EventTracks(
        event[kept],
        measured.states[kept],
        measured.sigma[kept],
        chi2[kept],
        measured.vertex,
        np.array(VERTEX_UM) * 1e-3,
    )
    found = combine(
        tracks,
        NBodyCuts(
            doca=words.doca_max,
            vertex_chi2=words.vertex_chi2_max,
            fd_chi2=words.fd_chi2_min,
            corrected_mass=words.corrected_mass,
        ),
    )
    origin = cast("Jagged", sample.columns["track_origin"]).values[kept]
    return TriggerCandidates(
        found.event,
        np.stack([found.columns[name] for name in CANDIDATE_COLUMNS], axis=1),
        _own(found, origin),
        np.bincount(tracks.event, minlength=sample.n_events),
        _impact(tracks, sample.n_events),
    )


def best_of_events(score: Floats, candidates: TriggerCandidates, chosen: Bools, n_events: int) -> tuple[Floats, Ints]:
    """The largest score of the chosen candidates of each event, −inf where there is none, and its row, −1 (event,)."""
    rows = np.flatnonzero(chosen)
    order = rows[np.lexsort((score[rows], candidates.event[rows]))]
    event = candidates.event[order]
    last = np.append(event[1:] != event[:-1], True) if len(event) else np.empty(0, np.bool_)
    best, row = np.full(n_events, -np.inf), np.full(n_events, -1, dtype=np.int64)
    best[event[last]], row[event[last]] = score[order[last]], order[last]
    return best, row


def _impact(tracks: EventTracks, n_events: int) -> Floats:
    """Of the hardest track of each event; tells the two halves of the detector apart."""
    place = np.lexsort((transverse_momentum(tracks.states), tracks.event))
    event = tracks.event[place]
    hardest = place[np.append(event[1:] != event[:-1], True)] if len(place) else place
    x, _, tx, _, _ = tracks.states[hardest].T
    vertex = tracks.vertex[tracks.event[hardest]]
    found = np.full(n_events, np.nan)
    found[tracks.event[hardest]] = np.sign(tx) * (x + tx * vertex[:, 2] - vertex[:, 0]) / tracks.sigma[hardest]
    return found


def _own(found: Candidates, origin: NDArray[Any]) -> Bools:
    """Candidates all of whose tracks come from the signal's decay."""
    if not len(origin):
        return np.zeros(len(found), dtype=np.bool_)
    beyond = found.tracks < 0
    return np.asarray((beyond | (origin[np.where(beyond, 0, found.tracks)] == SIGNAL_TRACK)).all(axis=1))


def _stacked(sample: TriggerSample, names: list[str]) -> Floats:
    return np.stack([cast("Jagged", sample.columns[n]).values.astype(np.float64) for n in names], axis=1)


def _joined(parts: list[Column]) -> Column:
    if isinstance(parts[0], Jagged):
        return Jagged.concatenate([cast("Jagged", part) for part in parts])
    return np.concatenate([np.asarray(part) for part in parts])
