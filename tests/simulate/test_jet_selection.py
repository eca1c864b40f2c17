from __future__ import annotations

import numpy as np
import pytest

from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import four_momentum
from fivesigma.simulate.jet_selection import JetLedger, JetProcess, leading_subjet_distance, select_jets
from fivesigma.simulate.pythia import GeneratedEvents

PROCESS = JetProcess("two prongs", 1, (), leading_jets=2, process_id=42)


def two_prongs(pt: float, distance: float, eta: float, phi: float) -> np.ndarray:
    """A jet of two equal massless prongs, apart in eta: mass about pt · distance / 2."""
    return four_momentum([pt / 2, pt / 2], [eta - distance / 2, eta + distance / 2], [phi, phi])


def generated(events: list[list[np.ndarray]]) -> GeneratedEvents:
    counts = [sum(len(jet) for jet in event) for event in events]
    zeros = np.zeros((len(events), 2), dtype=np.int64)
    return GeneratedEvents(
        event=np.repeat(np.arange(len(events)), counts),
        momenta=np.concatenate([jet for event in events for jet in event]),
        weight=np.arange(1, len(events) + 1, dtype=np.float64),
        incoming=zeros,
        outgoing=zeros,
        n_failed=0,
    )


W = two_prongs(275.0, 0.6, 0.05, 0.05)
EVENTS = [
    [two_prongs(220.0, 0.6, 0.05, 0.0)],  # too soft
    [two_prongs(350.0, 0.6, 0.05, 0.0)],  # too hard
    [W, two_prongs(280.0, 0.4, 2.05, 2.0)],  # one good, and a leading one too light
    [two_prongs(50.0, 0.6, 0.05, 0.0)],  # no candidate
    [two_prongs(275.0, 0.8, 0.05, 0.0)],  # too heavy
    [W, two_prongs(280.0, 0.6, 3.05, 3.0)],  # two good
    [W],
]


@pytest.mark.sim
def test_every_jet_is_counted_once() -> None:
    ledger = JetLedger()
    columns = select_jets(generated(EVENTS), PROCESS, 1000, 10, ledger)
    assert ledger == JetLedger(
        events=7,
        events_without_candidate=1,
        events_accepted=3,
        candidates=8,
        below_pt=1,
        above_pt=1,
        below_mass=1,
        above_mass=1,
        accepted=4,
        jets=4,
    )
    assert columns["event_number"].tolist() == [1002, 1005, 1005, 1006]  # type: ignore[union-attr]
    assert columns["jet_index"].tolist() == [1, 0, 1, 0]  # type: ignore[union-attr]
    assert columns["generator_weight"].tolist() == [3.0, 6.0, 6.0, 7.0]  # type: ignore[union-attr]
    assert set(columns["process_id"].tolist()) == {42}  # type: ignore[union-attr]


@pytest.mark.sim
def test_the_last_event_wanted_ends_the_count() -> None:
    ledger = JetLedger()
    columns = select_jets(generated(EVENTS), PROCESS, 0, 2, ledger)
    assert columns["event_number"].tolist() == [2, 5]  # type: ignore[union-attr]
    assert (ledger.events, ledger.events_surplus, ledger.accepted, ledger.truncated, ledger.jets) == (6, 1, 3, 1, 2)
    assert ledger.candidates == (
        ledger.below_pt + ledger.above_pt + ledger.below_mass + ledger.above_mass + ledger.accepted
    )


@pytest.mark.sim
def test_only_the_leading_jets_are_considered() -> None:
    ledger = JetLedger()
    columns = select_jets(generated(EVENTS), JetProcess("leading", 1, (), 1, 42), 0, 10, ledger)
    assert columns["jet_index"].tolist() == [0, 0]  # type: ignore[union-attr]
    assert columns["event_number"].tolist() == [5, 6]  # type: ignore[union-attr]
    assert ledger.candidates == 6


@pytest.mark.sim
def test_a_jet_is_described_by_its_towers() -> None:
    columns = select_jets(generated([[W]]), PROCESS, 0, 1, JetLedger())
    flat = {name: float(c[0]) for name, c in columns.items() if not isinstance(c, Jagged)}
    assert flat["jet_pt"] == pytest.approx(275.0, rel=2e-4)
    assert flat["jet_mass"] == pytest.approx(275.0 * np.sinh(0.3), rel=1e-3)
    assert flat["subjet_dr"] == pytest.approx(0.6, abs=1e-6)
    assert flat["tau1"] == pytest.approx(0.3, rel=1e-3)  # any axis between two equal prongs: half the pt, all the way
    assert flat["tau2"] == pytest.approx(0.0, abs=1e-6)
    subjet_mass = columns["subjet_mass"]
    assert isinstance(subjet_mass, Jagged)
    assert subjet_mass.values.tolist() == [0.0, 0.0]


def test_distance_of_subjets_is_signless_and_zero_for_one() -> None:
    eta, phi = Jagged.from_lists([[0.0, 0.3, 9.0], [1.0]]), Jagged.from_lists([[-3.1, 3.1, 9.0], [1.0]])
    expected = [np.hypot(0.3, 2 * np.pi - 6.2), 0.0]
    np.testing.assert_allclose(leading_subjet_distance(eta, phi), expected, rtol=1e-6)
