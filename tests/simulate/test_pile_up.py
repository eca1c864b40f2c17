"""Pile-up by overlay, and SoftKiller, on towers and events made by hand; a pool from Pythia."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import four_momentum, pseudorapidity, transverse_momentum
from fivesigma.simulate.calorimeter import ETA_MAX, Towers
from fivesigma.simulate.pile_up import PileUp, Pool, soft_qcd_pool, turn
from fivesigma.simulate.pythia import GeneratedEvents
from fivesigma.simulate.soft_killer import N_ETA, N_PHI, soft_killer, soft_threshold

PATCHES = N_ETA * N_PHI


def events(n: int) -> GeneratedEvents:
    partons = np.zeros((n, 2), dtype=np.int64)
    momenta = four_momentum(np.full(n, 300.0), np.zeros(n), np.zeros(n))
    return GeneratedEvents(np.arange(n), momenta, np.ones(n), partons, partons, 0)


def pool(sizes: list[int], seed: int = 1) -> Pool:
    rng, n = np.random.default_rng(seed), sum(sizes)
    momenta = four_momentum(rng.exponential(1, n), rng.uniform(-4, 4, n), rng.uniform(-np.pi, np.pi, n))
    return Pool(momenta, Jagged(np.arange(n), np.concatenate([[0], np.cumsum(sizes)])))


def test_the_number_of_collisions_is_poisson_and_all_their_particles_come() -> None:
    overlaid, extra = PileUp(pool([7]), 20.0, np.random.default_rng(1)).overlay(events(4000))
    assert extra.mean() == pytest.approx(20.0, abs=5 * np.sqrt(20 / 4000))
    assert extra.var() == pytest.approx(20.0, rel=5 * np.sqrt(2 / 4000))
    np.testing.assert_array_equal(np.bincount(overlaid.event), 1 + 7 * extra)
    np.testing.assert_array_equal(overlaid.momenta[:4000], events(4000).momenta)


def test_a_collision_is_turned_as_a_whole_and_every_angle_is_as_likely() -> None:
    one = pool([5])
    overlaid, extra = PileUp(one, 3.0, np.random.default_rng(2)).overlay(events(2000))
    added = overlaid.momenta[2000:].reshape(-1, 5, 4)
    assert len(added) == extra.sum()
    invariants = np.einsum("eia,eja->eij", added[..., 1:3], added[..., 1:3])  # px, py scalar products
    np.testing.assert_allclose(invariants, np.broadcast_to(invariants[0], invariants.shape), atol=1e-9)
    np.testing.assert_allclose(pseudorapidity(added), np.tile(pseudorapidity(one.momenta), (len(added), 1)), atol=1e-9)
    phi = np.arctan2(added[:, 0, 2], added[:, 0, 1])
    for harmonic in (1, 2):
        assert abs(np.exp(1j * harmonic * phi).mean()) < 4 / np.sqrt(len(phi))


def test_without_pile_up_nothing_changes() -> None:
    overlaid, extra = PileUp(pool([3, 4]), 0.0, np.random.default_rng(3)).overlay(events(10))
    np.testing.assert_array_equal(overlaid.momenta, events(10).momenta)
    assert not extra.any()


@given(st.floats(-10, 10))
def test_turning_keeps_transverse_and_longitudinal_momentum(angle: float) -> None:
    momenta = pool([20]).momenta
    turned = turn(momenta, np.full(20, angle))
    np.testing.assert_allclose(transverse_momentum(turned), transverse_momentum(momenta), rtol=1e-12)
    np.testing.assert_array_equal(turned[:, [0, 3]], momenta[:, [0, 3]])


def towers(lists: list[list[tuple[float, float, float]]]) -> Towers:
    flat = np.array([t for event in lists for t in event], dtype=np.float32).reshape(-1, 3)
    offsets = np.concatenate([[0], np.cumsum([len(event) for event in lists])]).astype(np.int64)
    return Towers(flat[:, 0], flat[:, 1], flat[:, 2], offsets)


def centres() -> list[tuple[float, float]]:
    eta = -2.5 + (np.arange(N_ETA) + 0.5) * 5.0 / N_ETA
    phi = -np.pi + (np.arange(N_PHI) + 0.5) * 2 * np.pi / N_PHI
    return [(e, p) for e in eta for p in phi]


def test_half_of_the_patches_are_empty_afterwards() -> None:
    rng = np.random.default_rng(4)
    event = [(float(pt), e, p) for pt, (e, p) in zip(rng.permutation(PATCHES) + 1.0, centres(), strict=True)]
    found = towers([event, event[:60]])
    np.testing.assert_allclose(soft_threshold(found), [(PATCHES + 1) / 2, 0.0])
    kept = soft_killer(found)
    assert np.diff(kept.offsets).tolist() == [PATCHES // 2, 60]
    assert kept.pt[: PATCHES // 2].min() == PATCHES // 2 + 1


def test_the_threshold_is_of_the_hardest_in_each_patch_and_applies_everywhere() -> None:
    event = [(2.0, e, p) for e, p in centres()] + [(1.0, e, p) for e, p in centres()]
    event += [(1.5, 4.0, 0.0), (30.0, -4.0, 0.0), (5.0, 0.05, 0.05)]
    kept = soft_killer(towers([event]))
    assert kept.pt.tolist() == [30.0, 5.0]


@pytest.mark.sim
def test_a_pool_depends_on_its_seed_and_looks_like_minimum_bias() -> None:
    first = soft_qcd_pool(3, 60)
    soft_qcd_pool.cache_clear()
    again = soft_qcd_pool(3, 60)
    np.testing.assert_array_equal(first.momenta, again.momenta)
    assert len(first) == 60
    assert np.abs(pseudorapidity(first.momenta)).max() < ETA_MAX
    pt = transverse_momentum(first.momenta)
    assert 0.2 < pt.mean() < 0.8  # GeV, particle by particle
    assert 100 < len(pt) / 60 < 300  # visible particles an event at 13 TeV, |η| < 5
