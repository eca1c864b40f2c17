from __future__ import annotations

import numpy as np
import pytest
from tests.simulate import slow_jets

from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import four_momentum, transverse_momentum
from fivesigma.simulate.jet_finding import find_jets, n_subjettiness, offsets_of, sum_members, trim

pytestmark = pytest.mark.sim

ONE_PASS_PRECISION = 1e-3  # relative; FastJet contrib stops its minimisation there


@pytest.mark.parametrize(("algorithm", "power"), [("antikt", -1), ("cambridge", 0), ("kt", 1)])
def test_clustering_agrees_with_the_slow_one(algorithm: str, power: int) -> None:
    rng = np.random.default_rng(1)
    counts = [12, 0, 1, 25]
    momenta = np.concatenate([slow_jets.random_towers(rng, n, 0.8)[3] for n in counts])
    offsets = offsets_of(np.array(counts))
    jets = find_jets(momenta, offsets, algorithm=algorithm, radius=0.6)  # type: ignore[arg-type]
    for event, start in enumerate(offsets[:-1]):
        expected = slow_jets.cluster(momenta[start : offsets[event + 1]], power, 0.6)
        rows = np.flatnonzero(jets.event == event)
        assert jets.rank[rows].tolist() == list(range(len(expected)))
        for row, reference in zip(rows, expected, strict=True):
            found = jets.members.values[jets.members.offsets[row] : jets.members.offsets[row + 1]]
            assert sorted(found - start) == sorted(reference.members)
            np.testing.assert_allclose(jets.momenta[row], reference.momentum, rtol=1e-10)


def test_jets_below_pt_min_are_left_out() -> None:
    momenta = four_momentum([50.0, 10.0], [0.0, 2.0], [0.0, 2.0])
    jets = find_jets(momenta, np.array([0, 2]), algorithm="antikt", radius=0.4, pt_min=20.0)
    assert transverse_momentum(jets.momenta).tolist() == [50.0]


@pytest.mark.parametrize("counts", [[], [0, 0]])
def test_no_particles_no_jets(counts: list[int]) -> None:
    jets = find_jets(np.zeros((0, 4)), offsets_of(np.array(counts)), algorithm="antikt", radius=1.0)
    assert len(jets.event) == len(jets.members) == len(jets.momenta) == 0
    assert len(trim(jets, np.zeros((0, 4)), radius=0.3, pt_fraction=0.05).momenta) == 0


def test_trimming_agrees_with_the_slow_one() -> None:
    rng = np.random.default_rng(2)
    counts = np.full(8, 20)
    momenta = np.concatenate([slow_jets.random_towers(rng, n, 0.5)[3] for n in counts])
    jets = find_jets(momenta, offsets_of(counts), algorithm="antikt", radius=1.0)
    trimmed = trim(jets, momenta, radius=0.3, pt_fraction=0.1)
    dropped = 0
    for row in range(len(jets.event)):
        members = jets.members.values[jets.members.offsets[row] : jets.members.offsets[row + 1]]
        expected = slow_jets.trim(momenta[members], 0.3, 0.1)
        kept = sorted(int(members[i]) for subjet in expected for i in subjet.members)
        dropped += len(members) - len(kept)
        found = trimmed.members.values[trimmed.members.offsets[row] : trimmed.members.offsets[row + 1]]
        assert sorted(found) == kept
        subjets = trimmed.subjets.momenta[trimmed.subjet_offsets[row] : trimmed.subjet_offsets[row + 1]]
        np.testing.assert_allclose(subjets, [s.momentum for s in expected], rtol=1e-10)
        np.testing.assert_allclose(trimmed.momenta[row], sum(s.momentum for s in expected), rtol=1e-10)
    assert dropped > 0


def test_n_subjettiness_about_winner_take_all_axes_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        pt, eta, phi, momenta = slow_jets.random_towers(rng, 15, 0.5)
        found = n_subjettiness(momenta, Jagged(np.arange(15), np.array([0, 15])), radius=1.0, axes="WTA_KT_Axes")
        expected = [slow_jets.tau(pt, eta, phi, slow_jets.winner_take_all_axes(pt, eta, phi, n), 1.0) for n in (1, 2)]
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_n_subjettiness_lies_between_its_starting_axes_and_the_best_axes() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        pt, eta, phi, momenta = slow_jets.random_towers(rng, 4, 0.5)
        found = n_subjettiness(momenta, Jagged(np.arange(4), np.array([0, 4])), radius=1.0)[0]
        for n, value in zip((1, 2), found, strict=True):
            start = slow_jets.tau(pt, eta, phi, slow_jets.winner_take_all_axes(pt, eta, phi, n), 1.0)
            best = slow_jets.smallest_tau(pt, eta, phi, n, 1.0)
            assert best * (1 - 1e-6) <= value <= start * (1 + ONE_PASS_PRECISION)


def test_n_subjettiness_of_two_towers_is_the_softer_ones_distance() -> None:
    momenta = four_momentum([30.0, 10.0], [0.0, 0.4], [3.1, -3.1])
    tau = n_subjettiness(momenta, Jagged(np.arange(2), np.array([0, 2])), radius=1.0)
    distance = np.hypot(0.4, 2 * np.pi - 6.2)
    np.testing.assert_allclose(tau, [[10.0 / 40.0 * distance, 0.0]], rtol=ONE_PASS_PRECISION, atol=1e-6)


def test_n_subjettiness_of_no_jets() -> None:
    assert n_subjettiness(np.zeros((0, 4)), Jagged.from_lists([], np.int64), radius=1.0).shape == (0, 2)


def test_sums_of_members() -> None:
    momenta = np.arange(12.0).reshape(3, 4)
    members = Jagged(np.array([0, 2, 1]), np.array([0, 2, 2, 3]))
    assert sum_members(momenta, members).tolist() == [[8.0, 10.0, 12.0, 14.0], [0.0] * 4, [4.0, 5.0, 6.0, 7.0]]
