"""Decays of b hadrons: masses, decay times and tracks in a small production, and what each number in the file means."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError
from fivesigma.simulate import SIMULATIONS, SimulationResult, simulate_heavy_flavour
from fivesigma.simulate.charged_tracks import BOTTOM, CHARM, Particles, charged_tracks, contains, heaviest_flavour
from fivesigma.simulate.heavy_flavour import HeavyFlavourTask, settings
from fivesigma.simulate.heavy_flavour_decays import MODES
from fivesigma.simulate.vertex_detector import ip_chi2, measure

OPTIONS: dict[str, Any] = {"n_signal": 10, "n_background": 10, "seed": 5}
EMBEDDED = Path(str(resources.files("fivesigma.studies"))) / "data" / "heavy-flavour.root"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return simulate_heavy_flavour(tmp_path_factory.mktemp("trigger") / "events.root", workers=1, **OPTIONS)


@pytest.fixture(scope="module")
def events() -> ak.Array:
    """The sample that ships with the package: 1,500 decays, 250 of each kind."""
    with uproot.open(EMBEDDED) as file:
        return file["events"].arrays()


def test_each_decay_has_its_mass_and_fully_seen_ones_are_seen_fully(events: ak.Array) -> None:
    signal = events[events["label"] == 1]
    assert np.bincount(ak.to_numpy(signal["mode"]))[1:].tolist() == [250] * 6
    assert ak.to_numpy(signal["hadron_mass"]) == pytest.approx(5.279, abs=0.002)  # PDG: 5.2797 and 5.2793
    hadronic = signal[signal["mode"] != 6]
    np.testing.assert_allclose(hadronic["visible_mass"], hadronic["hadron_mass"], rtol=1e-4)
    semileptonic = signal[signal["mode"] == 6]
    assert ak.all(semileptonic["visible_mass"] < semileptonic["hadron_mass"] - 0.01)


def test_decay_times_are_those_of_b_mesons(events: ak.Array) -> None:
    """Exponential with 1.52 and 1.64 ps; acceptance does not depend on it but for decays beyond the detector."""
    times = ak.to_numpy(events["decay_time"][events["label"] == 1])
    assert times.mean() == pytest.approx(1.56, abs=3.5 * 1.56 / len(times) ** 0.5)


def test_stored_tracks_are_displaced_and_background_has_two(events: ak.Array) -> None:
    counts = ak.to_numpy(ak.num(events["track_x"]))
    row = np.repeat(np.arange(len(events)), counts)

    def columns(*names: str) -> np.ndarray:
        flat = [ak.to_numpy(ak.flatten(events[name]) if "track" in name else events[name]) for name in names]
        return np.stack(flat, axis=1).astype(np.float64)

    states = columns("track_x", "track_y", "track_tx", "track_ty", "track_p")
    normals = columns("track_normal_x", "track_normal_y", "track_normal_p")
    vertex = columns("vertex_normal_x", "vertex_normal_y", "vertex_normal_z")
    measured = measure(states, normals, vertex)
    chi2 = ip_chi2(measured.states, measured.sigma, measured.vertex[row])
    assert chi2.min() > 4 * 0.97  # rounding
    enough = np.bincount(row[chi2 > 7 * 0.97], minlength=len(events)) >= 2
    assert enough[ak.to_numpy(events["label"]) == 0].all()
    eta = np.arcsinh(1 / np.hypot(states[:, 2], states[:, 3]))
    assert eta.min() > 2 * (1 - 1e-4)
    assert eta.max() < 5 * (1 + 1e-4)
    origin = ak.flatten(events["track_origin"][events["label"] == 1])
    assert (ak.to_numpy(origin) == 1).sum() > 100  # of the decays


@pytest.mark.sim
def test_the_ledger_balances_and_the_metadata_say_what_was_made(sample: SimulationResult) -> None:
    metadata = json.loads(sample.metadata_path.read_text(encoding="utf-8"))
    assert metadata["command"] == (
        "fivesigma simulate heavy-flavour --output events.root --n-signal 10 --n-background 10 --seed 5"
    )
    for found in sample.classes:
        ledger = found.ledger
        cuts = ("no_hadron", "outside_acceptance", "few_displaced_tracks")
        assert ledger["events"] == sum(ledger[cut] for cut in cuts) + ledger["accepted"]
        assert ledger["accepted"] == found.entries
    # pT-hat > 10 GeV at 13 TeV: 8 mb
    assert sample.classes[1].cross_section == pytest.approx(8.0e9, rel=0.1)


@pytest.mark.sim
def test_a_part_depends_on_seed_class_and_index_alone_and_a_shorter_one_begins_like_it(
    sample: SimulationResult,
) -> None:
    with uproot.open(sample.path) as file:
        made = file["events"].arrays(["label", "event_number", "vertex_normal_x"])
    shorter = HeavyFlavourTask("background", 0, 5, 5, False).generate()
    background = made[made["label"] == 0]
    for name in ("event_number", "vertex_normal_x"):
        assert np.asarray(shorter.columns[name]).tolist() == background[name][:5].tolist()


def test_parts_take_the_decays_in_turn() -> None:
    assert [mode.code for mode in MODES] == [1, 2, 3, 4, 5, 6]
    assert "511:oneChannel = 1 1. 0 321 -211" in settings("signal", False, 6)
    assert "443:oneChannel = 1 1. 0 13 -13" in settings("signal", False, 2)
    assert not any("oneChannel" in line for line in settings("background", True, 2))
    assert "PartonLevel:MPI = on" in settings("background", True, 2)


def test_origins_follow_the_mothers() -> None:
    """B⁺ (1) → D̄⁰ (2) π⁺ (3), D̄⁰ → K⁺ (4) π⁻ (5); a prompt pion (6); a K⁰ₛ (7) with a pion (8), in one event."""
    code = np.array([90, 521, -421, 211, 321, -211, 211, 310, 211])
    mother = np.array([-1, -1, 1, 1, 2, 2, -1, -1, 7])
    status = np.where(np.isin(np.arange(9), [3, 4, 5, 6, 8]), 1, -1)
    momenta = np.tile([10.0, 1.0, 0.0, 9.9], (9, 1))
    origin = np.zeros((9, 3))
    origin[[3]], origin[[4, 5]], origin[8] = [0.1, 0, 5.0], [0.2, 0, 7.0], [1.0, 0.0, 30.0]
    particles = Particles(np.zeros(9, np.int64), code, status, mother, momenta, origin, np.zeros(9), np.ones(1), 0)
    tracks = charged_tracks(particles)
    assert tracks.code.tolist() == [211, 321, -211, 211, 211]
    assert tracks.flavour.tolist() == [BOTTOM, BOTTOM, BOTTOM, 0, 3]
    assert tracks.hadron.tolist() == [1, 1, 1, -1, -1]
    np.testing.assert_allclose(tracks.states[0, :3], [0.1 - 5.0 / 9.9, 0.0, 1 / 9.9])
    assert heaviest_flavour(particles).tolist() == [BOTTOM]
    assert contains(np.array([421, 4122, 10411, 4, 4103]), CHARM).tolist() == [True, True, True, False, False]


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected n_signal from 0 to .*, got -1"):
        simulate_heavy_flavour(tmp_path / "events.root", n_signal=-1)
    assert SIMULATIONS["heavy-flavour"] is simulate_heavy_flavour
