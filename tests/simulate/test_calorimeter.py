from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivesigma.physics.kinematics import delta_phi, four_momentum
from fivesigma.simulate.calorimeter import ETA_MAX, N_PHI, round_mantissa, sum_towers

PARTICLES = st.lists(
    st.tuples(st.floats(0.01, 500.0), st.floats(-6.0, 6.0), st.floats(-np.pi, np.pi), st.floats(0.0, 1.0)),
    min_size=1,
    max_size=40,
)


@given(PARTICLES, st.integers(1, 3))
def test_transverse_energy_is_conserved_event_by_event(
    particles: list[tuple[float, float, float, float]], n_events: int
) -> None:
    pt, eta, phi, mass = np.array(particles).T
    event = np.arange(len(pt)) % n_events
    momenta = four_momentum(pt, eta, phi, mass)
    towers = sum_towers(event, momenta, n_events)
    inside = np.abs(np.arcsinh(momenta[:, 3] / np.hypot(momenta[:, 1], momenta[:, 2]))) < ETA_MAX
    transverse_energy = momenta[:, 0] * pt / np.sqrt((momenta[:, 1:] ** 2).sum(axis=1))
    for i in range(n_events):
        expected = transverse_energy[inside & (event == i)].sum()
        found = towers.pt[towers.offsets[i] : towers.offsets[i + 1]].astype(np.float64).sum()
        assert found == pytest.approx(expected, rel=2**-13 + 1e-6)


@given(st.floats(-4.999, 4.999), st.floats(-np.pi, np.pi))
def test_a_particle_lands_in_the_tower_around_it(eta: float, phi: float) -> None:
    towers = sum_towers(np.array([0]), four_momentum([10.0], [eta], [phi]), 1)
    assert towers.offsets.tolist() == [0, 1]
    assert abs(towers.eta[0] - eta) <= 0.05 + 1e-5
    assert abs(delta_phi(towers.phi[0], phi)) <= np.pi / N_PHI + 1e-5


@given(st.integers(0, N_PHI - 1), st.integers(0, N_PHI - 1))
def test_the_grid_has_no_seam(first: int, turn: int) -> None:
    """Turning an event by whole towers turns its towers: the grid closes on itself at phi = ±π."""
    phi = -np.pi + (np.array([first, first + 1]) + 0.5) * 2 * np.pi / N_PHI
    before = sum_towers(np.array([0, 0]), four_momentum([7.0, 9.0], [0.01, 0.01], phi), 1)
    after = sum_towers(np.array([0, 0]), four_momentum([7.0, 9.0], [0.01, 0.01], phi + turn * 2 * np.pi / N_PHI), 1)
    turned = sorted(
        (round(float(delta_phi(p + turn * 2 * np.pi / N_PHI, 0.0)), 4), e)
        for p, e in zip(before.phi, before.pt, strict=True)
    )
    assert turned == sorted((round(float(p), 4), e) for p, e in zip(after.phi, after.pt, strict=True))


def test_particles_of_one_cell_are_summed_and_events_kept_apart() -> None:
    event = np.array([0, 0, 2, 2])
    towers = sum_towers(event, four_momentum([1.0, 2.0, 4.0, 8.0], [0.01, 0.09, 0.05, 0.15], [0.0] * 4), 4)
    assert towers.offsets.tolist() == [0, 1, 1, 3, 3]
    assert towers.pt.tolist() == [3.0, 4.0, 8.0]
    np.testing.assert_allclose(towers.eta, [0.05, 0.05, 0.15], atol=1e-6)


def test_the_beam_is_not_seen() -> None:
    momenta = np.array([[6500.0, 0.0, 0.0, 6500.0], [100.0, 1.0, 0.0, 99.99], [1.0, 1.0, 0.0, 0.0]])
    towers = sum_towers(np.zeros(3, dtype=np.int64), momenta, 1)
    assert towers.pt.tolist() == [1.0]


@given(st.lists(st.floats(1e-3, 1e4), min_size=1))
def test_rounding_keeps_twelve_bits(values: list[float]) -> None:
    rounded = round_mantissa(np.array(values), 12)
    np.testing.assert_allclose(rounded, values, rtol=2**-13 + 2**-23)
    assert not np.any(rounded.view(np.uint32) & np.uint32((1 << 11) - 1))
    np.testing.assert_array_equal(round_mantissa(rounded.astype(np.float64), 12), rounded)
