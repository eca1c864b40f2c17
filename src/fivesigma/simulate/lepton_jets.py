"""Events with one lepton, four jets, two of them b-tagged, and missing momentum: reconstruction and selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.physics.kinematics import (
    FourMomentum,
    azimuth,
    delta_r,
    pseudorapidity,
    transverse_momentum,
)
from fivesigma.simulate.detector import lepton_efficiency, smear_jets, smear_leptons, smear_soft
from fivesigma.simulate.jet_finding import Jets, find_jets, offsets_of
from fivesigma.simulate.pythia import EventRecords

N_JETS = 4
JET_RADIUS = 0.5
"""R of the anti-kt jets."""
PARTICLE_ETA_MAX = 5.0
SOFT_JET_PT = 10.0
"""GeV; jets above, of any |eta| < 5, are smeared as jets and enter the missing momentum so, the rest as soft energy."""
PT_MIN = 20.0
"""GeV, of the lepton and of each jet (arXiv:1402.4735)."""
ETA_MAX = 2.5
"""Of the lepton and of each jet (arXiv:1402.4735)."""
TAGS_MIN = 2
"""b-tagged jets among the four (arXiv:1402.4735)."""
TAG_EFFICIENCY = {5: 0.70, 4: 0.20, 0: 0.02}
"""Probability of a b-tag for jets with a bottom hadron, with a charm hadron, with neither."""
HADRON_PT_MIN = 5.0
"""GeV, of the hadrons that give a jet its flavour, each to its nearest jet within ``JET_RADIUS``."""
ISOLATION_RADIUS = 0.5
ISOLATION_PT = 0.5
"""GeV; softer particles do not count."""
ISOLATION_MAX = {11: 0.12, 13: 0.25}
"""Summed pt around an electron or muon, relative to its own (Delphes 3, CMS card)."""

_ELECTRON, _MUON = 11, 13
_NEUTRINOS = (12, 14, 16)


@dataclass
class EventLedger:
    """What became of every event of a task, up to the last event asked for.

    events = no_lepton + many_leptons + few_jets + few_tags + accepted. ``events_surplus`` were generated after that
    event and not used; ``events_failed`` were given up by Pythia. Cuts apply in this order.
    """

    events: int = 0
    events_failed: int = 0
    events_surplus: int = 0
    no_lepton: int = 0
    many_leptons: int = 0
    few_jets: int = 0
    few_tags: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class LeptonJetsEvents:
    """Selected events as measured.

    ``row``: int64 (events,), which of the generated events; ``lepton``: (events, 4); ``missing``: (events, 2), px and py;
    ``jets``: (events, jet, 4), the four of highest pt, falling; ``tagged``: bool (events, jet). GeV.
    """

    row: NDArray[np.int64]
    lepton: FourMomentum
    missing: NDArray[np.float64]
    jets: FourMomentum
    tagged: NDArray[np.bool_]


def select_events(
    records: EventRecords, n_wanted: int, ledger: EventLedger, rng: np.random.Generator
) -> LeptonJetsEvents:
    """Reconstruct one batch and select: at most ``n_wanted`` events, counted in ``ledger``.

    The same number of random numbers is drawn whatever ``n_wanted`` is, so that a shorter part begins like a longer one.
    """
    n = len(records)
    seen = (records.status > 0) & ~np.isin(np.abs(records.code), _NEUTRINOS)
    seen &= np.abs(pseudorapidity(records.momenta)) < PARTICLE_ETA_MAX
    event, code, momenta = records.event[seen], np.abs(records.code[seen]), records.momenta[seen]

    leptons, measured = _find_leptons(event, code, momenta, rng)
    n_leptons = np.bincount(event[leptons], minlength=n)
    lepton = np.zeros((n, 4))
    lepton[event[leptons]] = measured
    rest = (n_leptons == 1)[event]  # nothing more is asked of other events
    rest[leptons] = False
    event, momenta = event[rest], momenta[rest]
    jets = find_jets(momenta, offsets_of(np.bincount(event, minlength=n)), algorithm="antikt", radius=JET_RADIUS)
    jets = jets[transverse_momentum(jets.momenta) > SOFT_JET_PT]
    smeared = smear_jets(jets.momenta, rng)
    tagged = _tag(records, jets.event, jets.momenta, rng)
    missing = _missing(event, momenta, jets, smeared, rng, n) - lepton[:, 1:3]

    order = np.lexsort((-transverse_momentum(smeared), jets.event))
    order = order[_in_acceptance(smeared[order])]
    owner = jets.event[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    n_jets = np.bincount(owner, minlength=n)
    four, tags = np.zeros((n, N_JETS, 4)), np.zeros((n, N_JETS), dtype=np.bool_)
    leading = rank < N_JETS
    four[owner[leading], rank[leading]] = smeared[order[leading]]
    tags[owner[leading], rank[leading]] = tagged[order[leading]]

    accepted = _count(n_leptons, n_jets, tags.sum(axis=1), records.n_failed, n_wanted, ledger)
    return LeptonJetsEvents(accepted, lepton[accepted], missing[accepted], four[accepted], tags[accepted])


def _find_leptons(
    event: NDArray[np.int64], code: NDArray[np.int64], momenta: FourMomentum, rng: np.random.Generator
) -> tuple[NDArray[np.int64], FourMomentum]:
    """Positions and measured momenta of isolated electrons and muons in acceptance, by event."""
    candidates = np.flatnonzero(np.isin(code, (_ELECTRON, _MUON)) & (transverse_momentum(momenta) > PT_MIN / 2))
    is_muon = code[candidates] == _MUON
    measured = smear_leptons(momenta[candidates], is_muon, rng)
    found = rng.random(len(candidates)) < lepton_efficiency(is_muon, pseudorapidity(measured))
    limit = np.where(is_muon, ISOLATION_MAX[_MUON], ISOLATION_MAX[_ELECTRON])
    found &= _in_acceptance(measured) & (_isolation(candidates, event, momenta) < limit)
    return candidates[found], measured[found]


def _isolation(candidates: NDArray[np.int64], event: NDArray[np.int64], momenta: FourMomentum) -> NDArray[np.float64]:
    """Summed pt of the other particles within ``ISOLATION_RADIUS`` of each candidate, relative to its own pt."""
    begin = np.searchsorted(event, event[candidates])
    counts = np.searchsorted(event, event[candidates], side="right") - begin
    of = np.repeat(np.arange(len(candidates)), counts)
    other = np.arange(len(of)) - np.repeat(offsets_of(counts)[:-1] - begin, counts)
    pt, eta, phi = transverse_momentum(momenta), pseudorapidity(momenta), azimuth(momenta)
    this = candidates[of]
    near = delta_r(eta[other], phi[other], eta[this], phi[this]) < ISOLATION_RADIUS
    near &= (other != this) & (pt[other] > ISOLATION_PT)
    return np.bincount(of[near], pt[other[near]], minlength=len(candidates)) / pt[candidates]


def _tag(
    records: EventRecords, event: NDArray[np.int64], jets: FourMomentum, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which jets are b-tagged, from their hadrons and ``TAG_EFFICIENCY``, bool (jets,)."""
    flavour = jet_flavour(records, event, jets)
    efficiency = np.select([flavour == f for f in (5, 4)], [TAG_EFFICIENCY[5], TAG_EFFICIENCY[4]], TAG_EFFICIENCY[0])
    return rng.random(len(jets)) < efficiency


def jet_flavour(records: EventRecords, event: NDArray[np.int64], jets: FourMomentum) -> NDArray[np.int64]:
    """5 for jets that are the nearest within R to a bottom hadron of pt > 5 GeV, else 4 to a charm hadron, else 0.

    ``event`` is the row of the event of each jet, rising; int64 (jets,).
    """
    flavour = np.zeros(len(jets), dtype=np.int64)
    eta, phi = pseudorapidity(jets), azimuth(jets)
    heavy = heavy_flavour(records.code)
    for quark in (4, 5):
        hadrons = np.flatnonzero((heavy == quark) & (transverse_momentum(records.momenta) > HADRON_PT_MIN))
        begin = np.searchsorted(event, records.event[hadrons])
        counts = np.searchsorted(event, records.event[hadrons], side="right") - begin
        hadrons, begin, counts = hadrons[counts > 0], begin[counts > 0], counts[counts > 0]
        of = np.repeat(np.arange(len(hadrons)), counts)
        jet = np.arange(len(of)) - np.repeat(offsets_of(counts)[:-1] - begin, counts)
        momenta = records.momenta[hadrons]
        distance = delta_r(eta[jet], phi[jet], pseudorapidity(momenta)[of], azimuth(momenta)[of])
        nearest = np.lexsort((distance, of))[offsets_of(counts)[:-1]]
        flavour[jet[nearest[distance[nearest] < JET_RADIUS]]] = quark
    return flavour


def heavy_flavour(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """5 for bottom hadrons, 4 for charm hadrons, 0 for all else, from PDG codes (Monte Carlo numbering scheme).

    >>> heavy_flavour(np.array([-511, 5122, 443, -4122, 5, 5101, 211])).tolist()  # 5101 is a diquark
    [5, 5, 4, 4, 0, 0, 0]
    """
    code = np.abs(code)
    tens, hundreds, thousands = (code // d % 10 for d in (10, 100, 1000))
    quark = np.where(thousands > 0, thousands, hundreds)
    hadron = (tens > 0) & (hundreds > 0) & (code < 1_000_000_000)
    return np.where(hadron & np.isin(quark, (4, 5)), quark, 0)


def _missing(
    event: NDArray[np.int64], momenta: FourMomentum, jets: Jets, smeared: FourMomentum, rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    """px, py that balance jets and soft energy as measured (not yet the lepton), shape (events, 2)."""
    soft = np.ones(len(event), dtype=np.bool_)
    soft[jets.members.values] = False
    event, momenta = event[soft], momenta[soft]
    sum_pt = np.bincount(event, transverse_momentum(momenta), minlength=n).astype(np.float64)
    soft_pt = smear_soft(_sum_xy(event, momenta, n), sum_pt, rng)
    return np.asarray(-_sum_xy(jets.event, smeared, n) - soft_pt)


def _sum_xy(event: NDArray[np.int64], momenta: FourMomentum, n: int) -> NDArray[np.float64]:
    return np.column_stack([np.bincount(event, momenta[:, i], minlength=n) for i in (1, 2)])


def _in_acceptance(momenta: FourMomentum) -> NDArray[np.bool_]:
    return np.asarray((transverse_momentum(momenta) > PT_MIN) & (np.abs(pseudorapidity(momenta)) < ETA_MAX))


def _count(
    leptons: NDArray[np.int64],
    jets: NDArray[np.int64],
    tags: NDArray[np.int64],
    n_failed: int,
    n_wanted: int,
    ledger: EventLedger,
) -> NDArray[np.int64]:
    """Rows of the first ``n_wanted`` accepted events; the ledger counts the events up to the last of them."""
    cuts = {
        "no_lepton": leptons == 0,
        "many_leptons": leptons > 1,
        "few_jets": jets < N_JETS,
        "few_tags": tags < TAGS_MIN,
    }
    left = np.ones(len(leptons), dtype=np.bool_)
    first_failed = {}
    for name, fails in cuts.items():
        first_failed[name] = left & fails
        left = left & ~fails
    accepted = np.flatnonzero(left)
    used = len(leptons) if len(accepted) < n_wanted else int(accepted[n_wanted - 1]) + 1
    accepted = accepted[:n_wanted]
    ledger.events += used
    ledger.events_failed += n_failed
    ledger.events_surplus += len(leptons) - used
    ledger.accepted += len(accepted)
    for name, failed in first_failed.items():
        setattr(ledger, name, getattr(ledger, name) + int(np.sum(failed[:used])))
    return accepted
