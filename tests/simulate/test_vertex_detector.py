"""The detector has the published resolutions, and says so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fivesigma.simulate.vertex_detector import (
    VERTEX_UM,
    Response,
    ip_chi2,
    ip_resolution,
    measure,
    momentum_resolution,
    transverse_momentum,
)

N = 20_000
RNG = np.random.default_rng(1)


def prompt(pt: float, n: int = N) -> np.ndarray:
    """Tracks from the true vertex, pseudorapidity 3."""
    phi = RNG.uniform(-math.pi, math.pi, n)
    slope = 1 / math.sinh(3.0)
    return np.column_stack(
        [np.zeros((n, 2)), slope * np.cos(phi), slope * np.sin(phi), np.full(n, pt * math.cosh(3.0))]
    )


@pytest.mark.parametrize("pt", [0.5, 1.0, 5.0])
def test_impact_parameters_have_the_published_resolution(pt: float) -> None:
    """11.6 + 23.4/pT µm in x (arXiv:1405.7808), and in space 15 + 29/pT µm on average (arXiv:1412.6352)."""
    states = prompt(pt)
    found = measure(states, RNG.normal(size=(N, 3)), np.zeros((N, 3))).states
    assert found[:, 0].std() == pytest.approx((11.6 + 23.4 / pt) * 1e-3, rel=0.02)
    distance = np.hypot(found[:, 0], found[:, 1]).mean()
    assert distance == pytest.approx((15 + 29 / pt) * 1e-3, rel=0.04)
    assert transverse_momentum(states)[0] == pytest.approx(pt)


def test_prompt_tracks_have_a_chi2_of_two_degrees_of_freedom() -> None:
    states = prompt(2.0)
    measured = measure(states, RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3)))
    chi2 = ip_chi2(measured.states, measured.sigma, measured.vertex)
    assert chi2.mean() == pytest.approx(2.0, abs=0.06)
    assert (chi2 > 10).mean() == pytest.approx(math.exp(-5), rel=0.2)
    assert measured.vertex.std(axis=0) == pytest.approx(np.array(VERTEX_UM) * 1e-3, rel=0.03)


def test_momenta_and_their_resolution() -> None:
    assert momentum_resolution(np.array([10.0, 60.0, 200.0, 500.0])) == pytest.approx([0.005, 0.0065, 0.010, 0.010])
    states = prompt(2.0)
    found = measure(states, RNG.normal(size=(N, 3)), np.zeros((N, 3))).states
    assert (found[:, 4] / states[:, 4]).std() == pytest.approx(momentum_resolution(states[:1, 4])[0], rel=0.03)


def test_a_worse_detector_believes_in_the_nominal_one() -> None:
    states = prompt(2.0)
    normals, vertex = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
    good, bad = (measure(states, normals, vertex, Response(resolution=f)) for f in (1.0, 1.2))
    np.testing.assert_allclose(bad.sigma, good.sigma)
    chi2 = [ip_chi2(m.states, m.sigma, m.vertex) for m in (good, bad)]
    np.testing.assert_allclose(chi2[1], 1.44 * chi2[0], rtol=1e-9)


def test_a_shifted_half_moves_its_tracks_and_half_of_the_vertex() -> None:
    states = prompt(1e4)
    moved = measure(states, np.zeros((N, 3)), np.zeros((N, 3)), Response(half_shift_um=10.0))
    right = states[:, 2] > 0
    np.testing.assert_allclose(moved.states[right, 0], 0.010)
    np.testing.assert_allclose(moved.states[~right, 0], 0.0)
    np.testing.assert_allclose(moved.vertex[:, 0], 0.005)
    assert ip_resolution(np.array(1e4)) == pytest.approx(0.0116, rel=1e-3)
