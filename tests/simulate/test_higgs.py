"""The HIGGS sample: a small production, its ledger, and what another seed, class and number of workers change."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError, SimulationError
from fivesigma.physics.units import W_MASS
from fivesigma.simulate import SIMULATIONS, SimulationResult, higgs, simulate_higgs
from fivesigma.simulate.higgs import HiggsTask
from fivesigma.simulate.higgs_features import HIGH_LEVEL, LOW_LEVEL, high_level_features
from fivesigma.simulate.sample import EVENTS_PER_TASK, TASKS_PER_CLASS

PART = 20
OPTIONS: dict[str, Any] = {"n_signal": 30, "n_background": 20, "seed": 5, "multiparton": False}


@pytest.fixture(scope="module")
def small_parts() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(higgs, "EVENTS_PER_PART", PART)
        yield


@pytest.fixture(scope="module")
def sample(small_parts: object, tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return simulate_higgs(tmp_path_factory.mktemp("higgs") / "higgs.root", workers=2, **OPTIONS)


@pytest.fixture(scope="module")
def events(sample: SimulationResult) -> ak.Array:
    with uproot.open(sample.path) as file:
        return file["events"].arrays()


@pytest.mark.sim
def test_the_file_holds_the_28_features_and_who_each_event_is(sample: SimulationResult, events: ak.Array) -> None:
    assert events["label"].tolist() == [1] * 30 + [0] * 20
    assert len(set(events["event_number"].tolist())) == 50
    part = ak.to_numpy(events["event_number"]) // EVENTS_PER_TASK
    assert part.tolist() == [TASKS_PER_CLASS + i // PART for i in range(30)] + [0] * 20
    assert {*LOW_LEVEL, *HIGH_LEVEL} < set(events.fields)
    with uproot.open(sample.path) as file:
        types = file["events"].typenames()
    assert {types[name] for name in (*LOW_LEVEL, *HIGH_LEVEL)} == {"float"}


@pytest.mark.sim
def test_events_pass_the_papers_selection(events: ak.Array) -> None:
    objects = ["lepton", *(f"jet{i}" for i in range(1, 5))]
    for name in objects:
        assert ak.all(events[f"{name}_pt"] > 20.0 * (1 - 2e-4))  # rounded to 12 bits
        assert ak.all(abs(events[f"{name}_eta"]) < 2.5 * (1 + 2e-4))
    for harder, softer in itertools.pairwise(objects[1:]):
        assert ak.all(events[f"{harder}_pt"] >= events[f"{softer}_pt"])
    assert ak.all(sum(events[f"jet{i}_b_tag"] for i in range(1, 5)) >= 2)


@pytest.mark.sim
def test_the_masses_follow_from_the_low_level_features_in_the_file(events: ak.Array) -> None:
    low = {name: ak.to_numpy(events[name]) for name in LOW_LEVEL}
    for name, mass in high_level_features(low).items():
        np.testing.assert_allclose(events[name], mass, rtol=1.3e-4)
    assert ak.all(events["m_lv"] > W_MASS * (1 - 2e-4))


@pytest.mark.sim
def test_the_ledger_balances_and_the_metadata_say_what_was_made(sample: SimulationResult) -> None:
    metadata = json.loads(sample.metadata_path.read_text(encoding="utf-8"))
    assert metadata["command"] == (
        "fivesigma simulate higgs --output higgs.root --n-signal 30 --n-background 20 --seed 5 --no-multiparton"
    )
    assert metadata["request"]["configuration"]["detector"]["tag_efficiency"] == {"5": 0.7, "4": 0.2, "0": 0.02}
    for found in sample.classes:
        ledger = found.ledger
        cuts = ("no_lepton", "many_leptons", "few_jets", "few_tags")
        assert ledger["events"] == sum(ledger[cut] for cut in cuts) + ledger["accepted"]
        assert ledger["accepted"] == found.entries
        assert 0.03 < ledger["accepted"] / ledger["events"] < 0.3
    # leading-order tt̄ at 8 TeV in Pythia: 146 pb, times 2/9 · 2/3 for one charge of e and µ
    assert sample.classes[1].cross_section == pytest.approx(23.2, rel=0.2)


@pytest.mark.sim
def test_a_part_depends_on_seed_class_and_index_alone_and_a_shorter_one_begins_like_it(events: ak.Array) -> None:
    again = HiggsTask("signal", 1, 10, 5, False).generate()
    assert np.asarray(again.columns["m_wwbb"]).tolist() == events["m_wwbb"][20:30].tolist()
    shorter = HiggsTask("background", 0, 10, 5, False).generate()
    assert np.asarray(shorter.columns["lepton_pt"]).tolist() == events["lepton_pt"][30:40].tolist()
    other = HiggsTask("background", 0, 10, 6, False).generate()
    assert not set(np.asarray(other.columns["lepton_pt"]).tolist()) & set(events["lepton_pt"].tolist())


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected n_signal from 0 to .*, got -1"):
        simulate_higgs(tmp_path / "higgs.root", n_signal=-1)
    with pytest.raises(ConfigError, match="asked for nothing at all"):
        simulate_higgs(tmp_path / "higgs.root", n_signal=0, n_background=0)
    assert SIMULATIONS["higgs"] is simulate_higgs


@pytest.mark.sim
def test_settings_that_pythia_refuses_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(higgs.PROCESS_SETTINGS, "signal", ("HiggsBSM:gg2H2 = on", "35:colour = green"))
    with pytest.raises(SimulationError, match="'35:colour = green'"):
        HiggsTask("signal", 0, 1, 1, False).generate()
