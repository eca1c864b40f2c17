"""The analytic fit reaches the resolution that its covariance allows; compressed inputs keep order and sign."""

from __future__ import annotations

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.flows.analytic_momentum import AnalyticMomentum
from fivesigma.flows.compressed_inputs import Compression
from fivesigma.flows.muon_momentum import FULL, Muons, network_inputs
from fivesigma.simulate.muon_spectrometer import Spectrometer, covariance, deflection, transport
from fivesigma.simulate.muons import INPUT_BITS, PATTERNS, read_out, trigger_inputs


@pytest.mark.parametrize("pt", [20.0, 60.0])
def test_the_analytic_fit_is_as_good_as_its_covariance(pt: float) -> None:
    where, n, eta = Spectrometer(shower_probability=0.0, efficiency=1.0), 8_000, 2.0
    rng = np.random.default_rng(1)
    tracks = transport(where, np.full(n, pt), np.full(n, eta), np.ones(n), rng, loss=False)
    inputs = trigger_inputs(read_out(where, tracks, rng.uniform(-3, 3, n), rng))
    curvature = AnalyticMomentum(where).curvature(inputs) * np.asarray(inputs["side"])
    tan_theta = 1 / np.sinh(eta)
    at, bend = deflection(where, np.array([tan_theta]))
    angles = np.zeros((4, 5))
    angles[[0, 1, 2], [0, 1, 2]], angles[[0, 1, 2], [1, 2, 3]], angles[3, 4] = -1, 1, 1
    g, v = angles @ np.append(at[0], bend), angles @ covariance(where, pt, tan_theta) @ angles.T
    expected = 1 / np.sqrt(g @ np.linalg.solve(v, g))
    assert curvature.mean() == pytest.approx(1 / pt, abs=0.02 / pt + 5 * expected / np.sqrt(n))
    assert curvature.std() == pytest.approx(expected, rel=0.06)  # inputs saturate, the bin of η has a width


def test_the_calibration_takes_the_energy_loss_out() -> None:
    train, test = Muons.draw(30_000, 1, 5.0), Muons.draw(30_000, 2, 5.0)
    fit = AnalyticMomentum().calibrate(train.inputs, train.pt)
    for low, high in ((3.0, 5.0), (8.0, 12.0), (20.0, 40.0)):
        inside = (test.pt > low) & (test.pt < high)
        ratio = test.pt[inside] / np.exp(fit.log_pt(test.inputs)[inside])
        assert np.median(ratio) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("name", [name for name in INPUT_BITS if name != "pattern"])
def test_codes_keep_order_and_sign(name: str) -> None:
    full, signed = INPUT_BITS[name]
    for bits in range(1, full + 1):
        first, codes = Compression({**FULL.bits, name: bits}).map_of(name)
        low = -(1 << (bits - 1)) if signed else 0
        assert first == (-(1 << (full - 1)) if signed else 0)
        assert (np.diff(codes) >= 0).all()
        assert (codes[0], codes[-1]) == (low, low + (1 << bits) - 1)
        if signed:
            np.testing.assert_array_equal(codes, -1 - codes[::-1])
        if bits == full:
            np.testing.assert_array_equal(codes, first + np.arange(1 << full))


def test_bits_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError, match="bits of dphi_first: expected 0 to 9, got 10"):
        Compression({**FULL.bits, "dphi_first": 10})
    with pytest.raises(ConfigError, match="bits of pattern: expected 0 or 4, got 3"):
        Compression({**FULL.bits, "pattern": 3})
    with pytest.raises(ConfigError, match="one number for each"):
        Compression({"bend": 3})


def test_networks_see_a_column_a_pattern() -> None:
    muons = Muons.draw(200, 1, 5.0)
    columns = network_inputs(muons.inputs)
    assert columns.shape == (len(muons.pt), 6 + len(PATTERNS))
    np.testing.assert_array_equal(columns[:, 6:].sum(axis=1), 1)
