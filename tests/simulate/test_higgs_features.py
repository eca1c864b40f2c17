"""The 28 features of the HIGGS benchmark: closed forms, and the conventions of the public UCI excerpt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivesigma.physics.kinematics import four_momentum, mass_of
from fivesigma.physics.units import W_MASS
from fivesigma.simulate.higgs_features import (
    HIGH_LEVEL,
    LOW_LEVEL,
    Features,
    features_of,
    high_level_features,
    neutrino,
)
from fivesigma.simulate.lepton_jets import LeptonJetsEvents


def events_with(tags: list[list[int]], seed: int = 1) -> LeptonJetsEvents:
    """Random events, four jets by falling pt, with the tags given."""
    rng, n = np.random.default_rng(seed), len(tags)
    pt = np.sort(rng.uniform(20, 200, (n, 4)), axis=1)[:, ::-1]
    jets = four_momentum(pt, rng.uniform(-2.5, 2.5, (n, 4)), rng.uniform(-np.pi, np.pi, (n, 4)), 10.0)
    lepton = four_momentum(rng.uniform(20, 100, n), rng.uniform(-2.5, 2.5, n), rng.uniform(-np.pi, np.pi, n))
    return LeptonJetsEvents(np.arange(n), lepton, rng.normal(0, 40, (n, 2)), jets, np.array(tags, dtype=bool))


def massless_jets(features: Features) -> np.ndarray:
    return np.stack(
        [four_momentum(*(features[f"jet{i}_{x}"] for x in ("pt", "eta", "phi"))) for i in range(1, 5)], axis=1
    )


def test_names_and_number_are_those_of_the_paper() -> None:
    assert (len(LOW_LEVEL), len(HIGH_LEVEL)) == (21, 7)
    features = features_of(events_with([[1, 1, 0, 0]] * 3))
    assert tuple(features) == LOW_LEVEL + HIGH_LEVEL
    assert {x.dtype.name for x in features.values()} == {"float32"}


@pytest.mark.parametrize("b", [(0, 1), (0, 3), (1, 2), (2, 3)])
def test_m_bb_is_of_the_tagged_jets_and_m_jj_of_the_others(b: tuple[int, int]) -> None:
    features = features_of(events_with([[int(i in b) for i in range(4)]] * 50))
    jets = massless_jets(features)
    q = tuple(i for i in range(4) if i not in b)
    np.testing.assert_allclose(features["m_bb"], mass_of(jets[:, b[0]] + jets[:, b[1]]), rtol=2e-4)
    np.testing.assert_allclose(features["m_jj"], mass_of(jets[:, q[0]] + jets[:, q[1]]), rtol=2e-4)


def test_of_three_tags_the_two_of_highest_pt_are_the_b_jets() -> None:
    three, two = (features_of(events_with([tags] * 50)) for tags in ([1, 0, 1, 1], [1, 0, 1, 0]))
    for name in HIGH_LEVEL:
        np.testing.assert_array_equal(three[name], two[name])


@given(seed=st.integers(0, 1000), turn=st.floats(-3, 3), boost=st.floats(0.3, 3.0), flip=st.booleans())
def test_masses_do_not_change_under_rotations_and_reflections_and_scale_with_momenta(
    seed: int, turn: float, boost: float, flip: bool
) -> None:
    """Scaling does not hold for masses with the neutrino, whose pz knows m(W), nor for what is chosen by a mass."""
    features = features_of(events_with([[0, 1, 1, 0]] * 20, seed))
    low = {name: features[name].astype(np.float64) for name in LOW_LEVEL}
    masses = high_level_features(low)  # type: ignore[arg-type]
    moved = {
        name: x + turn if name.endswith("_phi") else -x if name.endswith("_eta") and flip else x
        for name, x in low.items()
    }
    for name, mass in high_level_features(moved).items():  # type: ignore[arg-type]
        np.testing.assert_allclose(mass, masses[name], rtol=1e-6)
    scaled = {name: x * boost if name.endswith(("_pt", "_magnitude")) else x for name, x in low.items()}
    for name in ("m_jj", "m_bb"):
        np.testing.assert_allclose(high_level_features(scaled)[name], boost * masses[name], rtol=1e-9)  # type: ignore[arg-type]


def test_the_neutrino_makes_a_w_or_takes_the_real_part() -> None:
    rng = np.random.default_rng(3)
    lepton = four_momentum(rng.uniform(20, 80, 500), rng.uniform(-2, 2, 500), rng.uniform(-np.pi, np.pi, 500))
    missing, phi = rng.uniform(5, 80, 500), rng.uniform(-np.pi, np.pi, 500)
    found = neutrino(lepton, missing, phi)
    mass = mass_of(lepton + found)
    np.testing.assert_allclose(mass_of(found), 0.0, atol=1e-4)
    transverse = np.sqrt(
        2 * np.hypot(lepton[:, 1], lepton[:, 2]) * missing * (1 - np.cos(phi - np.arctan2(lepton[:, 2], lepton[:, 1])))
    )
    real = transverse < W_MASS
    assert 50 < real.sum() < 450
    np.testing.assert_allclose(mass[real], W_MASS, rtol=1e-6)
    assert np.all(mass[~real] >= transverse[~real])
    for p, m, angle, pz in zip(lepton, missing, phi, found[:, 3], strict=True):  # pt² pz² − 2 A p_z pz + E² m² − A² = 0
        product = W_MASS**2 / 2 + p[1] * m * np.cos(angle) + p[2] * m * np.sin(angle)
        roots = np.roots([p[1] ** 2 + p[2] ** 2, -2 * product * p[3], (p[0] * m) ** 2 - product**2])
        assert pz == pytest.approx(roots[np.argmin(np.abs(roots.real))].real, rel=1e-6, abs=1e-6)


def test_of_two_solutions_the_smaller_pz_is_taken() -> None:
    lepton = four_momentum(np.array([40.0]), np.array([0.8]), np.array([0.0]))
    found = neutrino(lepton, np.array([30.0]), np.array([2.0]))
    pz = np.linspace(-500, 500, 2_000_001)
    trial = np.stack(
        [np.hypot(30.0, pz), np.full_like(pz, 30 * np.cos(2.0)), np.full_like(pz, 30 * np.sin(2.0)), pz], -1
    )
    crossing = pz[np.flatnonzero(np.diff(np.sign(mass_of(lepton + trial) - W_MASS)))]
    assert len(crossing) == 2
    assert found[0, 3] == pytest.approx(min(crossing, key=abs), abs=1e-3)


@pytest.mark.shared_data
def test_the_uci_excerpt_follows_the_conventions_of_m_bb_and_m_lv(shared_data: Path) -> None:
    """UCI's numbers are standardised: pt by its mean, eta by its spread. Thresholds give the units back.

    The lowest jet pt stands for 20 GeV and the largest |eta| for 2.5. In events with two tight tags, m_bb of those jets
    is then the same multiple of UCI's column in most events; and where m(lν) = m(W) can be solved, m_lv is constant.
    """
    rows = np.loadtxt(shared_data / "higgs-uci" / "binary.train")[:, 1:]
    tight = np.stack([rows[:, 8 + 4 * i] for i in range(4)], axis=1)
    tight = tight == tight.max(axis=0)
    rows, tight = rows[tight.sum(axis=1) == 2], tight[tight.sum(axis=1) == 2]
    jets = np.stack(
        [
            four_momentum(
                rows[:, 5 + 4 * i] * 20.0 / lowest,
                rows[:, 6 + 4 * i] * 2.5 / np.abs(rows[:, 6 + 4 * i]).max(),
                rows[:, 7 + 4 * i] * np.pi / 1.7435,
            )
            for i, lowest in enumerate((0.137, 0.190, 0.264, 0.365))
        ],
        axis=1,
    )
    ratio = mass_of((jets * tight[..., None]).sum(axis=1)) / rows[:, 25]
    middle = np.median(ratio)
    assert np.mean(np.abs(ratio / middle - 1) < 0.1) > 0.6
    other = mass_of((jets * ~tight[..., None]).sum(axis=1)) / rows[:, 25]
    assert np.mean(np.abs(other / np.median(other) - 1) < 0.1) < 0.2
    sharp = rows[:, 23] / np.quantile(rows[:, 23], 0.2)
    assert np.mean(np.abs(sharp - 1) < 0.02) > 0.5  # m(W), where pz is real
    assert np.mean(sharp < 0.96) < 0.01  # and above it elsewhere
