"""Lines through known points, at known distances, and decays whose mass is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from fivesigma.physics.straight_lines import (
    closest_approach,
    corrected_mass,
    fit_vertex,
    flight_chi2,
    transverse_to,
)

RNG = np.random.default_rng(7)


def lines_through(point: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    return np.column_stack([point[:2] - slopes * point[2], slopes])


def test_three_lines_through_a_point_meet_there() -> None:
    point, slopes = np.array([0.3, -0.2, 12.0]), np.array([[0.1, 0.02], [-0.05, 0.1], [0.03, -0.08]])
    found = fit_vertex(lines_through(point, slopes), np.array([0.02, 0.03, 0.05]))
    np.testing.assert_allclose(found.position, point, atol=1e-10)
    assert found.chi2 == pytest.approx(0.0, abs=1e-15)


def test_two_crossing_tracks_have_the_textbook_uncertainty() -> None:
    """Slopes ±t in x, equal σ: σ(X) = σ/√2, σ(z) = σ/(√2 t)."""
    t, sigma = 0.1, 0.03
    found = fit_vertex(np.array([[0.0, 0.0, t, 0.0], [0.0, 0.0, -t, 0.0]]), np.array([sigma, sigma]))
    np.testing.assert_allclose(
        np.sqrt(np.diag(found.covariance)), [sigma / 2**0.5, sigma / 2**0.5, sigma / (2**0.5 * t)], rtol=1e-12
    )


def test_the_closed_form_is_the_minimum_that_a_minimiser_finds() -> None:
    lines = np.column_stack([RNG.normal(0, 0.1, (4, 2)), RNG.normal(0, 0.1, (4, 2))])
    sigma = RNG.uniform(0.02, 0.06, 4)

    def chi2(at: np.ndarray) -> float:
        total = 0.0
        for (x, y, tx, ty), s in zip(lines, sigma, strict=True):
            total += ((x + tx * at[2] - at[0]) ** 2 + (y + ty * at[2] - at[1]) ** 2) / s**2
        return total

    found = fit_vertex(lines, sigma)
    slow = minimize(chi2, np.zeros(3), method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(found.position, slow.x, atol=1e-6)
    assert float(found.chi2) == pytest.approx(slow.fun, rel=1e-9)


def test_chi2_and_pulls_of_fitted_vertices_are_those_of_their_distributions() -> None:
    """2n − 3 degrees of freedom: two numbers a track, three fitted; pulls have width one."""
    n, tracks = 4_000, 3
    slopes = RNG.normal(0, 0.1, (n, tracks, 2))
    sigma = np.full((n, tracks), 0.03)
    lines = np.concatenate([RNG.normal(0, 0.03, (n, tracks, 2)), slopes], axis=-1)  # all through the origin
    found = fit_vertex(lines, sigma)
    assert found.chi2.mean() == pytest.approx(2 * tracks - 3, abs=4 * (2 * 3 / n) ** 0.5)
    pulls = found.position / np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=0.05)
    distance = flight_chi2(found.position, found.covariance)
    assert distance.mean() == pytest.approx(3.0, abs=4 * (6 / n) ** 0.5)


@given(st.floats(0.0, 2.0), st.floats(-3.0, 3.0), st.floats(0.05, 0.5))
def test_known_distance_of_closest_approach(distance: float, angle: float, slope: float) -> None:
    """Two lines in planes that are ``distance`` apart, turned about the beam by any angle."""
    lines = np.array([[0.0, 0.0, slope, 0.0], [0.0, distance, -slope, 0.0]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.concatenate([lines[:, :2] @ turn.T, lines[:, 2:] @ turn.T], axis=1)
    assert float(closest_approach(turned[0], turned[1])) == pytest.approx(distance, abs=1e-12)


def test_closest_approach_of_any_lines_is_what_a_search_finds_and_parallels_have_one() -> None:
    for _ in range(5):
        first, second = RNG.normal(0, 0.3, 4), RNG.normal(0, 0.3, 4)

        def apart(z: np.ndarray, a: np.ndarray = first, b: np.ndarray = second) -> float:
            p = np.array([a[0] + a[2] * z[0], a[1] + a[3] * z[0], z[0]])
            q = np.array([b[0] + b[2] * z[1], b[1] + b[3] * z[1], z[1]])
            return float(((p - q) ** 2).sum())

        slow = minimize(apart, np.zeros(2), method="BFGS", options={"gtol": 1e-12})
        assert float(closest_approach(first, second)) == pytest.approx(slow.fun**0.5, abs=1e-6)
    parallel = np.array([[0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]])
    assert float(closest_approach(parallel[0], parallel[1])) == pytest.approx(5.0)


@given(st.floats(0.1, 10.0), st.floats(1.0, 100.0), st.floats(0.0, 0.3))
def test_corrected_mass_of_a_fully_seen_decay_is_its_mass(mass: float, p: float, slope: float) -> None:
    momentum = p * np.array([slope, 0.0, 1.0])
    unseen = transverse_to(momentum, 3.7 * momentum)
    assert float(corrected_mass(np.array(mass), unseen)) == pytest.approx(mass, rel=1e-5)


def test_corrected_mass_of_a_massless_loss_is_the_hadrons_where_it_flies_off_sideways() -> None:
    """M → m + ν with the neutrino at right angles in the rest frame: the corrected mass is M exactly."""
    mass, m = 5.28, 2.0
    p = (mass**2 - m**2) / (2 * mass)
    transverse = transverse_to(np.array([p, 0.0, 40.0]), np.array([0.0, 0.0, 1.0]))
    assert float(corrected_mass(np.array(m), transverse)) == pytest.approx(mass, rel=1e-12)
