"""The parametrised detector against its sources and its own formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fivesigma.physics.kinematics import azimuth, four_momentum, pseudorapidity, transverse_momentum
from fivesigma.simulate.detector import (
    electron_resolution,
    jet_resolution,
    lepton_efficiency,
    muon_resolution,
    smear_jets,
    smear_leptons,
    smear_soft,
)

N = 40_000


def test_resolutions_at_points_worked_out_by_hand() -> None:
    one = np.ones(1)
    # electron of 50 GeV at eta = 0: 0.8 % ⊕ 11 %/√50 ⊕ 0.4/50
    assert electron_resolution(50 * one, 0 * one)[0] == pytest.approx(math.sqrt(0.008**2 + 0.11**2 / 50 + 0.008**2))
    assert muon_resolution(100 * one, -2 * one)[0] == pytest.approx(math.hypot(0.025, 0.035))
    # jets of |eta| < 0.5: negative noise term, as CMS writes it
    expected = math.sqrt(-((0.349206 / 100) ** 2) + 0.297831**2 * 100 ** (0.471121 - 1))
    assert jet_resolution(100 * one, 0.2 * one)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("eta", [0.2, 0.7, 1.2, 1.7, 2.2, 4.2])
def test_jets_of_cms_are_known_to_about_ten_percent_and_better_when_harder(eta: float) -> None:
    resolution = jet_resolution(np.array([20.0, 50.0, 100.0, 300.0]), np.full(4, eta))
    assert np.all(np.diff(resolution) < 0)
    assert 0.05 < resolution[2] < 0.13


def test_efficiencies_are_zero_outside_the_tracker_and_symmetric() -> None:
    eta = np.array([-2.45, -1.0, 1.0, 2.0, 2.45, 2.6])
    electron, muon = lepton_efficiency(np.zeros(6, bool), eta), lepton_efficiency(np.ones(6, bool), eta)
    np.testing.assert_allclose(electron, [0.7055, 0.9025, 0.9025, 0.7055, 0.7055, 0.0])
    np.testing.assert_allclose(muon, [0.0, 0.9405, 0.9405, 0.931, 0.0, 0.0])


def test_smearing_has_the_stated_width_no_bias_and_keeps_directions() -> None:
    rng = np.random.default_rng(1)
    jets = np.broadcast_to(four_momentum(100.0, 1.2, 2.0, 15.0), (N, 4))
    smeared = smear_jets(jets, rng)
    ratio = transverse_momentum(smeared) / 100.0
    width = jet_resolution(np.array([100.0]), np.array([1.2]))[0]
    assert ratio.mean() == pytest.approx(1.0, abs=5 * width / math.sqrt(N))
    assert ratio.std() == pytest.approx(width, rel=5 / math.sqrt(2 * N))
    np.testing.assert_allclose(pseudorapidity(smeared), 1.2, atol=1e-9)
    np.testing.assert_allclose(azimuth(smeared), 2.0, atol=1e-9)
    leptons = np.broadcast_to(four_momentum(40.0, 0.3, -1.0), (N, 4))
    for is_muon in (False, True):
        pt = transverse_momentum(smear_leptons(leptons, np.full(N, is_muon), rng))
        resolution = (
            muon_resolution(np.array([40.0]), np.array([0.3]))
            if is_muon
            else electron_resolution(np.array([40.0 * math.cosh(0.3)]), np.array([0.3]))
        )
        assert pt.std() / 40.0 == pytest.approx(resolution[0], rel=5 / math.sqrt(2 * N))


def test_soft_energy_is_smeared_by_the_root_of_its_sum() -> None:
    momentum = np.tile([3.0, -4.0], (N, 1))
    found = smear_soft(momentum, np.full(N, 64.0), np.random.default_rng(2))
    np.testing.assert_allclose(found.mean(axis=0), [3.0, -4.0], atol=5 * 4.0 / math.sqrt(N))
    np.testing.assert_allclose(found.std(axis=0), 0.5 * 8.0, rtol=5 / math.sqrt(2 * N))
    nothing = smear_soft(momentum[:1], np.zeros(1), np.random.default_rng(2))
    np.testing.assert_array_equal(nothing, momentum[:1])
