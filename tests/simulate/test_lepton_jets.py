"""Selection and flavour on events made by hand, where every answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from fivesigma.physics.kinematics import four_momentum, transverse_momentum
from fivesigma.simulate import lepton_jets
from fivesigma.simulate.lepton_jets import EventLedger, heavy_flavour, jet_flavour, select_events
from fivesigma.simulate.pythia import EventRecords

PION, B_HADRON, C_HADRON, NEUTRINO, MUON = 211, -511, 421, 14, 13
FINAL, DECAYED = 1, -2


def records(events: list[list[tuple[int, int, float, float, float]]]) -> EventRecords:
    """Events of (code, status, pt, eta, phi)."""
    flat = np.array([particle for event in events for particle in event])
    counts = [len(event) for event in events]
    return EventRecords(
        event=np.repeat(np.arange(len(events)), counts),
        code=flat[:, 0].astype(np.int64),
        status=flat[:, 1].astype(np.int64),
        momenta=four_momentum(*flat[:, 2:].T),
        weight=np.ones(len(events)),
        n_failed=0,
    )


GOOD = [
    (MUON, FINAL, 50.0, 0.0, 0.0),
    (NEUTRINO, FINAL, 40.0, 0.3, 1.5),
    (PION, FINAL, 120.0, 1.0, 2.0),
    (B_HADRON, DECAYED, 110.0, 1.05, 2.0),
    (PION, FINAL, 90.0, -1.0, -2.0),
    (B_HADRON, DECAYED, 80.0, -1.0, -2.1),
    (C_HADRON, DECAYED, 40.0, -1.0, -2.1),
    (PION, FINAL, 70.0, 0.2, -1.0),
    (PION, FINAL, 60.0, -0.4, 3.0),
    (C_HADRON, DECAYED, 50.0, -0.4, 3.1),
]


@pytest.fixture(autouse=True)
def _perfect_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lepton_jets, "smear_jets", lambda momenta, rng: momenta)
    monkeypatch.setattr(lepton_jets, "smear_leptons", lambda momenta, is_muon, rng: momenta)
    monkeypatch.setattr(lepton_jets, "smear_soft", lambda momentum, sum_pt, rng: momentum)
    monkeypatch.setattr(lepton_jets, "lepton_efficiency", lambda is_muon, eta: np.ones(len(eta)))
    monkeypatch.setattr(lepton_jets, "TAG_EFFICIENCY", {5: 1.0, 4: 0.0, 0: 0.0})


@pytest.mark.sim
def test_a_good_event_is_found_as_it_was_made() -> None:
    ledger = EventLedger()
    found = select_events(records([GOOD]), 10, ledger, np.random.default_rng(1))
    assert ledger == EventLedger(events=1, accepted=1)
    np.testing.assert_allclose(transverse_momentum(found.jets[0]), [120, 90, 70, 60], rtol=1e-9)
    assert found.tagged[0].tolist() == [True, True, False, False]
    assert transverse_momentum(found.lepton[0]) == pytest.approx(50.0)
    everything = four_momentum(*np.array([p[2:] for p in GOOD if p[1] == FINAL and p[0] != NEUTRINO]).T).sum(axis=0)
    np.testing.assert_allclose(found.missing[0], -everything[1:3], rtol=1e-9)


@pytest.mark.sim
@pytest.mark.parametrize(
    ("event", "cut"),
    [
        (GOOD[1:], "no_lepton"),
        ([(MUON, FINAL, 19.0, 0.0, 0.0), *GOOD[1:]], "no_lepton"),
        ([*GOOD, (PION, FINAL, 15.0, 0.2, 0.2)], "no_lepton"),  # not isolated: 0.3 > 0.25
        ([*GOOD, (11, FINAL, 30.0, 2.0, 0.5)], "many_leptons"),
        (GOOD[:-2], "few_jets"),
        ([*GOOD[:-2], (PION, FINAL, 60.0, 2.7, 3.0)], "few_jets"),
        ([p for p in GOOD if p[2] != 80.0], "few_tags"),
    ],
)
def test_every_cut_is_counted_under_its_name(event: list[tuple[int, int, float, float, float]], cut: str) -> None:
    ledger = EventLedger()
    found = select_events(records([event, GOOD]), 10, ledger, np.random.default_rng(1))
    assert ledger == EventLedger(**{"events": 2, "accepted": 1, cut: 1})
    assert found.row.tolist() == [1]


@pytest.mark.sim
def test_no_more_than_wanted_and_the_ledger_ends_there() -> None:
    ledger = EventLedger()
    found = select_events(records([GOOD, GOOD[1:], GOOD, GOOD]), 2, ledger, np.random.default_rng(1))
    assert found.row.tolist() == [0, 2]
    assert ledger == EventLedger(events=3, events_surplus=1, no_lepton=1, accepted=2)


def test_a_hadron_gives_its_flavour_to_the_nearest_jet_only() -> None:
    jets = four_momentum(np.full(4, 50.0), np.array([0.0, 0.4, 2.0, 0.0]), np.zeros(4))
    event = np.array([0, 0, 0, 1])
    hadrons = records(
        [[(521, DECAYED, 30.0, 0.25, 0.0), (411, DECAYED, 30.0, 2.0, 0.3)], [(4122, DECAYED, 4.0, 0.0, 0.0)]]
    )
    assert jet_flavour(hadrons, event, jets).tolist() == [0, 5, 4, 0]  # the last hadron is below 5 GeV


def test_flavours_follow_the_numbering_scheme() -> None:
    hadrons = {511: 5, -5332: 5, 553: 5, 10531: 5, 421: 4, -4122: 4, 443: 4, 20433: 4, 541: 5}
    others = {211: 0, 3122: 0, 5: 0, 21: 0, 5503: 0, 4101: 0, 13: 0, 24: 0, 1000022: 0}
    codes = {**hadrons, **others}
    assert heavy_flavour(np.array(list(codes))).tolist() == list(codes.values())
