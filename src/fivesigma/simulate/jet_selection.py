"""From generated events to selected jets: towers, anti-kt jets, trimming, windows in pt and mass, what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import (
    FourMomentum,
    azimuth,
    delta_r,
    four_momentum,
    mass_of,
    pseudorapidity,
    transverse_momentum,
)
from fivesigma.simulate.calorimeter import sum_towers
from fivesigma.simulate.jet_finding import Jets, TrimmedJets, find_jets, n_subjettiness, trim
from fivesigma.simulate.pythia import GeneratedEvents, hard_qcd_codes
from fivesigma.simulate.soft_killer import soft_killer

JET_RADIUS = 1.0
"""R of the anti-kt jets."""
SUBJET_RADIUS = 0.3
"""R of the kt subjets of the trimming."""
TRIM_FRACTION = 0.05
"""Subjets below this fraction of the jet's pt are trimmed away."""
CANDIDATE_PT_MIN = 200.0
"""GeV; untrimmed jets below cannot reach the pt window and are not trimmed."""
PT_WINDOW = (250.0, 300.0)
"""GeV, of the trimmed jet."""
MASS_WINDOW = (65.0, 95.0)
"""GeV, of the trimmed jet."""


@dataclass(frozen=True)
class JetProcess:
    """One class of jets: how it is generated and how many of an event's leading jets are considered.

    ``process_id`` is Pythia's code of the process, or None where it follows from the partons' flavours.
    """

    name: str
    label: int
    settings: tuple[str, ...]
    leading_jets: int
    process_id: int | None


@dataclass
class JetLedger:
    """What became of every event and jet of a task, up to the event of the last jet asked for.

    candidates = below_pt + above_pt + below_mass + above_mass + accepted; accepted = jets + truncated.
    ``events_surplus`` were generated after that event and not used; ``events_failed`` were given up by Pythia.
    """

    events: int = 0
    events_failed: int = 0
    events_surplus: int = 0
    events_without_candidate: int = 0
    events_accepted: int = 0
    candidates: int = 0
    below_pt: int = 0
    above_pt: int = 0
    below_mass: int = 0
    above_mass: int = 0
    accepted: int = 0
    truncated: int = 0
    jets: int = 0


def select_jets(
    events: GeneratedEvents,
    process: JetProcess,
    first_event: int,
    n_wanted: int,
    ledger: JetLedger,
    *,
    suppress_pile_up: bool = False,
) -> dict[str, NDArray[Any] | Jagged]:
    """Towers (by choice without the soft ones), jets, trimming and selection of one batch.

    At most ``n_wanted`` jets, counted in ``ledger``.
    """
    towers = sum_towers(events.event, events.momenta, len(events))
    if suppress_pile_up:
        towers = soft_killer(towers)
    momenta = four_momentum(towers.pt, towers.eta, towers.phi)
    jets = find_jets(momenta, towers.offsets, algorithm="antikt", radius=JET_RADIUS, pt_min=CANDIDATE_PT_MIN)
    jets = jets[jets.rank < process.leading_jets]
    trimmed = trim(jets, momenta, radius=SUBJET_RADIUS, pt_fraction=TRIM_FRACTION)
    accepted = _count(jets, trimmed, events, n_wanted, ledger)
    columns: dict[str, NDArray[Any] | Jagged] = {
        "event_number": (first_event + jets.event[accepted]).astype(np.int64),
        "jet_index": jets.rank[accepted].astype(np.int32),
        "label": np.full(len(accepted), process.label, dtype=np.int32),
        "process_id": _process_ids(events, process)[jets.event[accepted]].astype(np.int32),
        "generator_weight": events.weight[jets.event[accepted]],
    }
    columns |= _jet_columns(trimmed, accepted, momenta)
    columns |= _constituent_columns(trimmed.members[accepted], towers.pt, towers.eta, towers.phi)
    return columns


def _count(
    jets: Jets, trimmed: TrimmedJets, events: GeneratedEvents, n_wanted: int, ledger: JetLedger
) -> NDArray[np.int64]:
    """Rows of the first ``n_wanted`` accepted jets; the ledger counts the events up to the last of them."""
    pt, mass = transverse_momentum(trimmed.momenta), mass_of(trimmed.momenta)
    below_pt, above_pt = pt <= PT_WINDOW[0], pt >= PT_WINDOW[1]
    in_pt = ~(below_pt | above_pt)
    below_mass, above_mass = in_pt & (mass <= MASS_WINDOW[0]), in_pt & (mass >= MASS_WINDOW[1])
    passed = in_pt & ~(below_mass | above_mass)
    accepted = np.flatnonzero(passed)
    used = len(events) if len(accepted) < n_wanted else int(jets.event[accepted[n_wanted - 1]]) + 1
    counted = jets.event < used
    n_accepted = int(np.sum(passed & counted))
    accepted = accepted[:n_wanted]
    ledger.events += used
    ledger.events_failed += events.n_failed
    ledger.events_surplus += len(events) - used
    ledger.events_without_candidate += used - len(np.unique(jets.event[counted]))
    ledger.events_accepted += len(np.unique(jets.event[passed & counted]))
    ledger.candidates += int(counted.sum())
    ledger.below_pt += int(np.sum(below_pt & counted))
    ledger.above_pt += int(np.sum(above_pt & counted))
    ledger.below_mass += int(np.sum(below_mass & counted))
    ledger.above_mass += int(np.sum(above_mass & counted))
    ledger.accepted += n_accepted
    ledger.truncated += n_accepted - len(accepted)
    ledger.jets += len(accepted)
    return accepted


def _process_ids(events: GeneratedEvents, process: JetProcess) -> NDArray[np.int64]:
    if process.process_id is not None:
        return np.full(len(events), process.process_id)
    return hard_qcd_codes(events.incoming, events.outgoing)


def _jet_columns(
    trimmed: TrimmedJets, accepted: NDArray[np.int64], momenta: FourMomentum
) -> dict[str, NDArray[Any] | Jagged]:
    tau = n_subjettiness(momenta, trimmed.members[accepted], radius=JET_RADIUS)
    subjets = trimmed.subjets
    kinematics = _kinematics(subjets.momenta)
    kinematics["mass"][subjets.members.counts == 1] = 0.0  # a tower is massless; its sum would be, up to rounding
    jagged = {f"subjet_{name}": Jagged(x, trimmed.subjet_offsets)[accepted] for name, x in kinematics.items()}
    return {
        **{f"jet_{name}": x for name, x in _kinematics(trimmed.momenta[accepted]).items()},
        "tau1": tau[:, 0].astype(np.float32),
        "tau2": tau[:, 1].astype(np.float32),
        "tau21": np.divide(tau[:, 1], tau[:, 0], out=np.zeros(len(tau)), where=tau[:, 0] > 0).astype(np.float32),
        "subjet_dr": leading_subjet_distance(jagged["subjet_eta"], jagged["subjet_phi"]),
        **jagged,
    }


def _kinematics(momenta: FourMomentum) -> dict[str, NDArray[np.float32]]:
    functions = {"pt": transverse_momentum, "eta": pseudorapidity, "phi": azimuth, "mass": mass_of}
    return {name: function(momenta).astype(np.float32) for name, function in functions.items()}


def leading_subjet_distance(eta: Jagged, phi: Jagged) -> NDArray[np.float32]:
    """Distance in (pseudorapidity, azimuth) of the two leading subjets; 0 where a jet has only one, shape (jets,).

    >>> eta, phi = Jagged.from_lists([[0.0, 0.3], [1.0]]), Jagged.from_lists([[3.0, -3.0], [1.0]])
    >>> leading_subjet_distance(eta, phi).round(3).tolist()
    [0.4129999876022339, 0.0]
    """
    out = np.zeros(len(eta), dtype=np.float32)
    two = np.flatnonzero(eta.counts >= 2)
    first = eta.offsets[two]
    out[two] = delta_r(eta.values[first + 1], phi.values[first + 1], eta.values[first], phi.values[first])
    return out


def _constituent_columns(
    members: Jagged, pt: NDArray[np.float32], eta: NDArray[np.float32], phi: NDArray[np.float32]
) -> dict[str, NDArray[Any] | Jagged]:
    """Towers of each jet by falling pt (by cell where equal)."""
    owner = np.repeat(np.arange(len(members)), members.counts)
    order = np.lexsort((members.values, -pt[members.values], owner))
    towers = members.values[order]
    columns = {"constituent_pt": pt, "constituent_eta": eta, "constituent_phi": phi}
    return {name: Jagged(x[towers], members.offsets) for name, x in columns.items()}
