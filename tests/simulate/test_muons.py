"""The toy spectrometer against closed forms: bending ∝ q/pT, Highland's width, charge and field; and its integers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from scipy.stats import ks_2samp

from fivesigma.core.errors import ConfigError
from fivesigma.simulate import SIMULATIONS
from fivesigma.simulate.muon_spectrometer import (
    CURVATURE,
    IRON_RADIATION_LENGTH,
    MUON_MASS,
    Slab,
    Spectrometer,
    Tracks,
    covariance,
    deflection,
    highland,
    transport,
    weight_of_spectrum,
)
from fivesigma.simulate.muons import INPUT_BITS, MISSING, PATTERNS, draw_muons, trigger_inputs

ETA = 2.0
TAN = 1.0 / np.sinh(ETA)


def through(
    where: Spectrometer, pt: float, n: int = 1, charge: float = 1.0, seed: int | None = None, **options: float
) -> Tracks:
    rng = None if seed is None else np.random.default_rng(seed)
    return transport(where, np.full(n, pt), np.full(n, ETA), np.full(n, charge), rng, loss=False, **options)


def test_a_solenoid_bends_into_a_helix() -> None:
    where = Spectrometer(slabs=(Slab(0.0, 5.0, axial=3.8), Slab(5.0, 7.0)), stations=(5.0, 7.0))
    for pt in (2.0, 20.0):
        turned = CURVATURE * 3.8 * 5.0 / (pt / TAN)  # radians, at the end of the field
        tracks = through(where, pt)
        assert tracks.phi[0, 0] == pytest.approx(-turned / 2, rel=3e-4)  # the chord of an arc
        # a straight line from there, at an angle of turned/2 to the radius, over the chord's length
        chord, leg = 2 * pt / (CURVATURE * 3.8) * np.sin(turned / 2), 2.0 * TAN
        beyond = np.arctan2(leg * np.sin(turned / 2), chord + leg * np.cos(turned / 2))
        assert tracks.phi[0, 1] == pytest.approx(-turned / 2 - beyond, rel=3e-4)


def test_bending_is_proportional_to_charge_over_momentum() -> None:
    where = Spectrometer()
    closed, bend = deflection(where, np.array([TAN]))
    for charge in (1.0, -1.0):
        for pt in (50.0, 100.0, 200.0):
            tracks = through(where, pt, charge=charge)
            np.testing.assert_allclose(tracks.phi[0], charge * closed[0] / pt, rtol=1e-3)
            assert tracks.bend[0] == pytest.approx(charge * bend[0] / pt, rel=1e-3)


def test_closed_form_is_that_of_the_textbook() -> None:
    field, end, z = 2.0, 4.0, 6.0
    axial = Spectrometer(slabs=(Slab(0.0, end, axial=field), Slab(end, z)), stations=(z,))
    by_hand = -CURVATURE * field * TAN * (end * z - end**2 / 2) / z
    assert deflection(axial, np.array([TAN]))[0][0, 0] == pytest.approx(by_hand, rel=1e-12)
    radial = Spectrometer(slabs=(Slab(0.0, end, radial=field), Slab(end, z)), stations=(z,))
    by_hand = CURVATURE * field * (end * z - end**2 / 2) / z
    assert deflection(radial, np.array([TAN]))[0][0, 0] == pytest.approx(by_hand, rel=1e-12)


def test_scattering_has_highlands_width() -> None:
    # by hand: a slab of length L, a station D behind it: σ² = (θ0/cosθ)² (D² + D L + L²/3)
    where = Spectrometer(slabs=(Slab(0.0, 1.0, iron=1.0), Slab(1.0, 2.5)), stations=(2.5,))
    pt, n = 20.0, 40_000
    momentum, cos = pt * np.cosh(ETA), np.tanh(ETA)
    theta_0 = float(highland(np.array(momentum), np.array(1.0 / IRON_RADIATION_LENGTH / cos)))
    expected = theta_0 / cos * np.sqrt(1.5**2 + 1.5 + 1 / 3) / (2.5 * TAN)
    found = through(where, pt, n, seed=1).phi[:, 0]
    assert found.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * n))
    bare = Spectrometer(slabs=where.slabs, stations=where.stations, strip=0.0, phi_resolution=0.0)
    assert np.sqrt(covariance(bare, pt, TAN)[0, 0]) == pytest.approx(expected, rel=1e-9)
    # and Highland's formula itself, written again: 13.6 MeV/(βcp) √x (1 + 0.038 ln x)
    x, beta = 1.0 / IRON_RADIATION_LENGTH / cos, momentum / np.hypot(momentum, MUON_MASS)
    assert theta_0 == pytest.approx(0.0136 / beta / momentum * np.sqrt(x) * (1 + 0.038 * np.log(x)), rel=1e-12)


def test_stations_scatter_together_as_in_closed_form() -> None:
    where = Spectrometer(strip=0.0, phi_resolution=0.0)
    tracks = through(where, 30.0, 20_000, charge=0.0, seed=2)
    found = np.cov(np.column_stack([tracks.phi, tracks.bend]).T)
    closed = covariance(where, 30.0, TAN)
    scale = np.sqrt(np.outer(np.diag(closed), np.diag(closed)))
    np.testing.assert_allclose(found / scale, closed / scale, atol=0.03)


def test_charge_and_field_reversed_together_change_nothing() -> None:
    where = Spectrometer()
    there = through(where, 5.0, 100, charge=1.0, seed=3)
    back = through(where, 5.0, 100, charge=-1.0, seed=3, field_sign=-1.0)
    np.testing.assert_array_equal(there.phi, back.phi)
    other = through(where, 5.0, charge=-1.0)
    np.testing.assert_allclose(other.phi, -through(where, 5.0).phi, rtol=1e-12)


def test_slow_muons_stop_in_the_iron() -> None:
    tracks = transport(Spectrometer(), np.array([1.0, 20.0]), np.array([1.6, 1.6]), np.ones(2), None)
    assert tracks.alive.tolist() == [[False] * 4, [True] * 4]


def test_weights_make_the_spectrum() -> None:
    pt = 1 / np.linspace(1 / 200, 1 / 2, 200_001)
    weight = weight_of_spectrum(pt, 5.0, 2.0, 200.0)
    assert weight.mean() == pytest.approx(1, rel=1e-3)
    # of pT^-5 above 2 GeV, a share of (2/10)^4 is above 10 GeV
    assert weight[pt > 10].sum() / weight.sum() == pytest.approx(0.2**4, rel=1e-2)


@pytest.fixture(scope="module")
def muons() -> dict[str, np.ndarray]:
    return {name: np.asarray(column) for name, column in draw_muons(20_000, 20_000, seed=4).items()}


def test_stations_are_as_efficient_as_they_say(muons: dict[str, np.ndarray]) -> None:
    fast = muons["muon_pt"] > 10
    n = fast.sum()
    for hits in (4, 3):
        expected = {4: 0.95**4, 3: 4 * 0.95**3 * 0.05}[hits]
        found = np.isin(muons["pattern"][fast], [i for i, p in enumerate(PATTERNS) if p.bit_count() == hits]).mean()
        assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_inputs_fit_their_bits_and_do_not_know_the_charge(muons: dict[str, np.ndarray]) -> None:
    track = muons["pattern"] >= 0
    for name, (bits, signed) in INPUT_BITS.items():
        low = -(1 << (bits - 1)) if signed else 0
        assert (muons[name][track] >= low).all()
        assert (muons[name][track] < low + (1 << bits)).all()
        plus, minus = (muons[name][track & (muons["label"] == label)] for label in (1, 0))
        assert ks_2samp(plus, minus).pvalue > 1e-4
    slow = track & (muons["muon_pt"] < 10)
    assert (muons["side"] == -muons["muon_charge"])[slow].mean() > 0.97


def test_angles_between_the_stations_that_were_hit() -> None:
    hits = {"phi_1": [10, 10], "phi_2": [MISSING, 4], "phi_3": [12560, 1], "phi_4": [2, 0]}
    hits |= {"theta_1": [50, 50], "theta_2": [MISSING, 51], "theta_3": [51, 50], "theta_4": [52, 48]}
    columns = {name: np.array(values) for name, values in (hits | {"station_bend": [3, -3]}).items()}
    found = trigger_inputs(columns)
    assert np.asarray(found["pattern"]).tolist() == [PATTERNS.index(0b1011), 0]
    # 12,566 strips a turn: 10 → 12,560 is −16, and on to 2 is +8
    assert [int(found[name][0]) for name in ("side", "dphi_first", "dphi_second", "dphi_third")] == [-1, 16, -8, 0]
    assert [int(found[name][1]) for name in ("dphi_first", "dphi_second", "dphi_third", "bend")] == [6, 3, 1, 3]
    assert np.asarray(found["dtheta"]).tolist() == [2, -2]


def test_a_seed_is_a_sample(tmp_path: Path) -> None:
    for name, seed, n in (("a", 1, 30), ("b", 1, 40), ("c", 2, 30)):
        SIMULATIONS["muons"](tmp_path / f"{name}.root", n_signal=n, n_background=20, seed=seed)
    a, b, c = (uproot.open(tmp_path / f"{name}.root")["muons"].arrays(library="np") for name in "abc")
    assert len(a["label"]) == 50
    for column in set(a) - {"event_number", "label"}:
        np.testing.assert_array_equal(a[column][:30], b[column][:30])
    assert not np.array_equal(a["muon_pt"], c["muon_pt"])
    metadata = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert metadata["file"]["entries"] == 50


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected numbers of muons"):
        SIMULATIONS["muons"](tmp_path / "a.root", n_signal=0, n_background=0)
