"""Closed forms and invariances of collider kinematics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.physics.kinematics import (
    azimuth,
    boost_z,
    delta_phi,
    delta_r,
    four_momentum,
    invariant_mass,
    mass_of,
    pseudorapidity,
    rapidity,
    transverse_momentum,
    weighted_axis,
)

PT = st.floats(0.5, 1e3)
ETA = st.floats(-4, 4)
PHI = st.floats(-10, 10)
MASS = st.floats(0, 500)


@pytest.mark.parametrize(
    ("phi", "reference", "expected"),
    [(0.3, 0.1, 0.2), (np.pi - 0.1, -np.pi + 0.1, -0.2), (-np.pi + 0.1, np.pi - 0.1, 0.2), (7.0, 0.0, 7.0 - 2 * np.pi)],
)
def test_delta_phi_is_the_short_way_round(phi: float, reference: float, expected: float) -> None:
    assert delta_phi(phi, reference) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(PHI, PHI, st.integers(-3, 3))
def test_delta_phi_is_periodic_and_bounded(phi: float, reference: float, turns: int) -> None:
    difference = float(delta_phi(phi + 2 * np.pi * turns, reference))
    assert abs(difference) <= np.pi + 1e-12
    assert np.cos(difference) == pytest.approx(np.cos(phi - reference), abs=1e-9)
    assert np.sin(difference) == pytest.approx(np.sin(phi - reference), abs=1e-9)


def test_delta_r_across_the_seam() -> None:
    assert delta_r(0.3, np.pi - 0.2, 0.0, -np.pi + 0.2) == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(PT, ETA, st.floats(-3.1, 3.1), MASS)
def test_four_momentum_round_trip(pt: float, eta: float, phi: float, mass: float) -> None:
    p = four_momentum(pt, eta, phi, mass)
    assert transverse_momentum(p) == pytest.approx(pt)
    assert pseudorapidity(p) == pytest.approx(eta, abs=1e-9)
    assert azimuth(p) == pytest.approx(phi, abs=1e-9)
    # E² − p² loses the digits by which E exceeds m.
    assert mass_of(p) == pytest.approx(mass, rel=1e-9, abs=1e-6 * float(p[0]))


def test_two_massless_particles_have_the_textbook_mass() -> None:
    pt, eta, phi = np.array([40.0, 60.0]), np.array([0.3, -1.1]), np.array([0.2, 2.5])
    expected = np.sqrt(2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1])))
    assert invariant_mass(pt, eta, phi) == pytest.approx(expected)


def test_decay_at_rest_gives_the_mass_of_the_mother() -> None:
    momentum = np.sqrt(80.0**2 / 4 - 20.0**2)  # two daughters of 20 GeV back to back
    assert invariant_mass([momentum] * 2, [0, 0], [0.7, 0.7 + np.pi], 20.0) == pytest.approx(80.0)


def test_masses_of_many_events_at_once() -> None:
    pt = np.array([[10.0, 20.0], [30.0, 5.0]])
    masses = invariant_mass(pt, [[0.0, 1.0], [0.5, -0.5]], [[0.0, 1.0], [2.0, -2.0]])
    assert masses.shape == (2,)
    assert masses[1] == pytest.approx(float(invariant_mass(pt[1], [0.5, -0.5], [2.0, -2.0])))


@settings(deadline=None, max_examples=50)
@given(PT, ETA, st.floats(-3.1, 3.1), MASS, st.floats(-3, 3))
def test_boost_along_the_beam(pt: float, eta: float, phi: float, mass: float, boost: float) -> None:
    p = four_momentum(pt, eta, phi, mass)
    boosted = boost_z(p, boost)
    assert transverse_momentum(boosted) == pytest.approx(pt)
    assert azimuth(boosted) == pytest.approx(phi, abs=1e-9)
    assert rapidity(boosted) == pytest.approx(float(rapidity(p)) + boost, abs=1e-6)
    assert mass_of(boosted) == pytest.approx(mass, abs=1e-6 * float(max(p[0], boosted[0])))
    if mass == 0:
        assert pseudorapidity(boosted) == pytest.approx(eta + boost, abs=1e-9)


def test_directions_along_the_beam_and_at_rest() -> None:
    p = np.array([[5.0, 0.0, 0.0, 5.0], [5.0, 0.0, 0.0, -5.0], [1.0, 0.0, 0.0, 0.0]])
    assert pseudorapidity(p).tolist() == pytest.approx([np.inf, -np.inf, np.nan], nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(st.floats(-np.pi, np.pi), st.integers(0, 2**32 - 1))
def test_principal_axis_is_the_leading_eigenvector(angle: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    along, across, weight = rng.normal(0.5, 1.0, 40), rng.normal(0, 0.1, 40), rng.exponential(1.0, 40)
    x, y = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    axis = np.array(weighted_axis(weight, x, y))
    moments = np.array(
        [[np.sum(weight * x * x), np.sum(weight * x * y)], [np.sum(weight * x * y), np.sum(weight * y * y)]]
    )
    eigenvector = np.linalg.eigh(moments)[1][:, -1]
    assert abs(axis @ eigenvector) == pytest.approx(1.0)
    assert np.sum(weight * (axis[0] * x + axis[1] * y)) >= 0
