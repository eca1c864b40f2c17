from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError, OutputError, ResumeError, UnknownNameError
from fivesigma.core.integrity import file_digest
from fivesigma.physics.kinematics import delta_phi, delta_r, four_momentum, mass_of, pseudorapidity, transverse_momentum
from fivesigma.simulate import SIMULATIONS, SimulationResult, simulate_w_tagging, w_tagging
from fivesigma.simulate.sample import EVENTS_PER_TASK, TASKS_PER_CLASS, processors
from fivesigma.simulate.w_tagging import configuration, plan

JETS_PER_TASK = 8  # instead of 500, so that a small sample has several parts
OPTIONS: dict[str, Any] = {"n_signal": 12, "n_background": 6, "seed": 7, "multiparton": False}


@pytest.fixture(scope="module")
def small_tasks() -> object:
    """Small parts, and without multi-parton interactions: generation of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(w_tagging, "JETS_PER_TASK", JETS_PER_TASK)
        yield


@pytest.fixture(scope="module")
def sample(small_tasks: object, tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return simulate_w_tagging(tmp_path_factory.mktemp("sample") / "jets.root", workers=2, keep_parts=True, **OPTIONS)


@pytest.fixture(scope="module")
def jets(sample: SimulationResult) -> ak.Array:
    with uproot.open(sample.path) as file:
        return file["jets"].arrays()


def summed(jets: ak.Array, mass: bool = False) -> np.ndarray:
    """Four-momenta of the jets from their constituents, or from their subjets."""
    name = "subjet" if mass else "constituent"
    pt, eta, phi = (ak.flatten(jets[f"{name}_{x}"]) for x in ("pt", "eta", "phi"))
    each = four_momentum(pt, eta, phi, ak.flatten(jets["subjet_mass"]) if mass else 0.0)
    counts = ak.to_numpy(ak.num(jets[f"{name}_pt"]))
    return np.add.reduceat(each, np.concatenate([[0], np.cumsum(counts)[:-1]]))


@pytest.mark.sim
def test_as_many_jets_as_asked_of_either_class(sample: SimulationResult, jets: ak.Array) -> None:
    assert jets["label"].tolist() == [1] * 12 + [0] * 6
    assert [(c.name, c.label, c.entries) for c in sample.classes] == [("signal", 1, 12), ("background", 0, 6)]
    assert (sample.parts, sample.parts_resumed) == (3, 0)
    assert set(jets["run_number"].tolist()) == {7}


@pytest.mark.sim
def test_branches_and_their_types(sample: SimulationResult) -> None:
    with uproot.open(sample.path) as file:
        types = file["jets"].typenames()
        compression = {branch.compression.name for branch in file["jets"].branches if branch.compression}
    assert {name: t for name, t in types.items() if "[]" not in t} == {
        "run_number": "int32_t",
        "event_number": "int64_t",
        "jet_index": "int32_t",
        "label": "int32_t",
        "process_id": "int32_t",
        "generator_weight": "double",
        "cross_section": "double",
        **dict.fromkeys(("jet_pt", "jet_eta", "jet_phi", "jet_mass", "tau1", "tau2", "tau21", "subjet_dr"), "float"),
        **dict.fromkeys(("nconstituent", "nsubjet"), "int32_t"),
    }
    assert {name: t for name, t in types.items() if "[]" in t} == dict.fromkeys(
        (
            f"{g}_{x}"
            for g, xs in {"constituent": ("pt", "eta", "phi"), "subjet": ("pt", "eta", "phi", "mass")}.items()
            for x in xs
        ),
        "float[]",
    )
    assert compression <= {"ZLIB"}


@pytest.mark.sim
def test_a_jet_is_the_sum_of_its_constituents_and_of_its_subjets(jets: ak.Array) -> None:
    for momenta, precision in ((summed(jets), 2e-6), (summed(jets, mass=True), 2e-5)):
        np.testing.assert_allclose(transverse_momentum(momenta), jets["jet_pt"], rtol=precision)
        np.testing.assert_allclose(mass_of(momenta), jets["jet_mass"], rtol=precision)
        np.testing.assert_allclose(pseudorapidity(momenta), jets["jet_eta"], atol=precision)
        phi = np.arctan2(momenta[:, 2], momenta[:, 1])
        np.testing.assert_allclose(delta_phi(phi, jets["jet_phi"]), 0.0, atol=precision)


@pytest.mark.sim
def test_jets_are_in_the_windows(jets: ak.Array) -> None:
    assert ak.all((jets["jet_pt"] > 250.0) & (jets["jet_pt"] < 300.0))
    assert ak.all((jets["jet_mass"] > 65.0) & (jets["jet_mass"] < 95.0))
    assert ak.all(jets["subjet_pt"] >= 0.05 * 250.0 * 0.9)  # trimmed at 5 % of the untrimmed jet
    assert ak.all(abs(jets["constituent_eta"]) < 5.0)


@pytest.mark.sim
def test_constituents_are_towers_by_falling_pt(jets: ak.Array) -> None:
    for name in ("constituent_pt", "subjet_pt"):
        assert ak.all(jets[name][:, :-1] >= jets[name][:, 1:])
    eta_cell = (ak.to_numpy(ak.flatten(jets["constituent_eta"])) + 5.0) / 0.1
    phi_cell = (ak.to_numpy(ak.flatten(jets["constituent_phi"])) + np.pi) / (2 * np.pi / 63)
    for cell in (eta_cell, phi_cell):
        np.testing.assert_allclose(cell - np.floor(cell), 0.5, atol=1e-4)
    assert not np.any(ak.to_numpy(ak.flatten(jets["constituent_pt"])).view(np.uint32) & 0x7FF)  # 12 bits of mantissa


@pytest.mark.sim
def test_substructure_variables_follow_from_the_constituents(jets: ak.Array) -> None:
    np.testing.assert_allclose(jets["tau21"], jets["tau2"] / jets["tau1"], rtol=1e-6)
    two = jets[ak.num(jets["subjet_pt"]) >= 2]
    distance = delta_r(
        two["subjet_eta"][:, 1], two["subjet_phi"][:, 1], two["subjet_eta"][:, 0], two["subjet_phi"][:, 0]
    )
    np.testing.assert_allclose(two["subjet_dr"], distance, rtol=1e-5)
    for jet in jets:
        pt = ak.to_numpy(jet["constituent_pt"])
        to_jet = delta_r(jet["constituent_eta"], jet["constituent_phi"], jet["jet_eta"], jet["jet_phi"])
        assert 0.0 < jet["tau2"] < jet["tau1"] < np.sum(pt * to_jet) / pt.sum() * 1.2  # near the smallest of all axes


@pytest.mark.sim
def test_events_are_numbered_by_class_and_part(jets: ak.Array) -> None:
    part = ak.to_numpy(jets["event_number"]) // EVENTS_PER_TASK
    assert part.tolist() == [TASKS_PER_CLASS + i // JETS_PER_TASK for i in range(12)] + [0] * 6
    identity = set(zip(jets["event_number"].tolist(), jets["jet_index"].tolist(), strict=True))
    assert len(identity) == len(jets)
    assert set(jets["jet_index"][jets["label"] == 1].tolist()) == {0}
    assert set(jets["jet_index"].tolist()) <= {0, 1}


@pytest.mark.sim
def test_the_ledger_balances_and_the_metadata_say_what_was_made(sample: SimulationResult, jets: ak.Array) -> None:
    metadata = json.loads(sample.metadata_path.read_text(encoding="utf-8"))
    assert metadata["file"] == {
        "name": "jets.root",
        "tree": "jets",
        "entries": 18,
        "bytes": sample.path.stat().st_size,
        "xxh3": file_digest(sample.path),
    }
    assert metadata["command"] == (
        "fivesigma simulate w-tagging --output jets.root --n-signal 12 --n-background 6 --seed 7 --no-multiparton"
    )
    assert "24:onIfAny = 1 2 3 4 5" in metadata["request"]["configuration"]["pythia"]["signal"]
    for found in sample.classes:
        ledger = found.ledger
        rejected = sum(ledger[key] for key in ("below_pt", "above_pt", "below_mass", "above_mass"))
        assert ledger["candidates"] == rejected + ledger["accepted"]
        assert ledger["accepted"] == ledger["jets"] + ledger["truncated"]
        assert ledger["jets"] == found.entries
        assert ledger["events"] >= ledger["events_accepted"] + ledger["events_without_candidate"]
        chosen = jets[jets["label"] == found.label]
        assert set(chosen["cross_section"].tolist()) == {found.cross_section}
        assert set(chosen["generator_weight"].tolist()) == {1.0}
        assert 0 < found.cross_section_error < 0.2 * found.cross_section
        assert found.accepted_cross_section == pytest.approx(
            found.cross_section * ledger["accepted"] / ledger["events"]
        )
    assert sample.classes[1].cross_section == pytest.approx(2.2e4, rel=0.2)


def same(first: ak.Array, second: ak.Array) -> bool:
    return first.fields == second.fields and all(bool(ak.all(first[name] == second[name])) for name in first.fields)


@pytest.mark.sim
def test_one_worker_makes_the_same_as_two(small_tasks: object, jets: ak.Array, tmp_path: Path) -> None:
    result = simulate_w_tagging(tmp_path / "jets.root", workers=1, file_format="rntuple", **OPTIONS)
    assert not (tmp_path / "jets.root.parts").exists()
    with uproot.open(result.path) as file:
        again = file["jets"].arrays()
    assert set(again.fields) == {name for name in jets.fields if not name.startswith("n")}
    assert same(again, jets[again.fields])


SCRIPT = """
import sys
from fivesigma.simulate import simulate_w_tagging, w_tagging
w_tagging.JETS_PER_TASK = {jets_per_task}
simulate_w_tagging(sys.argv[1], workers=2, **{options})
"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


@pytest.mark.sim
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_production_goes_on(
    how: signal.Signals, small_tasks: object, jets: ak.Array, tmp_path: Path
) -> None:
    script = SCRIPT.format(jets_per_task=JETS_PER_TASK, options=OPTIONS)
    output, parts = tmp_path / "jets.root", tmp_path / "jets.root.parts"
    process = subprocess.Popen([sys.executable, "-c", script, str(output)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(parts.glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children(process.pid)
    process.send_signal(how)
    assert process.wait(60) != 0
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not output.exists()
    assert list(parts.glob("*.npz"))

    result = simulate_w_tagging(output, workers=1, **OPTIONS)
    assert result.parts_resumed >= 1
    with uproot.open(output) as file:
        assert same(file["jets"].arrays(), jets)


@pytest.mark.sim
def test_a_finished_sample_is_left_as_it_is(small_tasks: object, sample: SimulationResult) -> None:
    before = sample.path.stat().st_mtime_ns
    again = simulate_w_tagging(sample.path, **OPTIONS)
    assert sample.path.stat().st_mtime_ns == before
    assert (again.parts_resumed, again.classes) == (again.parts, sample.classes)


@pytest.mark.sim
def test_another_sample_in_the_way_is_refused(small_tasks: object, sample: SimulationResult, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists and is not the sample asked for"):
        simulate_w_tagging(sample.path, **(OPTIONS | {"seed": 8}))
    other = tmp_path / "other.root"
    other.write_bytes(b"root")
    with pytest.raises(OutputError, match="exists and is not the sample asked for"):
        simulate_w_tagging(other, **OPTIONS)


@pytest.mark.sim
def test_parts_of_another_configuration_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "jets.root.parts"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(configuration(seed=1, multiparton=True)), encoding="utf-8")
    with pytest.raises(ResumeError, match="seed: found 1, asked for 2"):
        simulate_w_tagging(tmp_path / "jets.root", seed=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_signal": -1}, "expected n_signal from 0 to .*, got -1"),
        ({"n_background": 10**9}, "expected n_background"),
        ({"n_signal": 0, "n_background": 0}, "nothing at all: give n_signal or n_background"),
        ({"seed": 2**31}, "expected a seed from 0 to 2147483647"),
        ({"file_format": "ttre"}, "did you mean 'ttree'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate_w_tagging(tmp_path / "jets.root", **options)
    assert not list(tmp_path.iterdir())


def test_the_output_is_a_root_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.root, got .*jets\.json"):
        simulate_w_tagging(tmp_path / "jets.json")


def test_simulations_are_found_by_name() -> None:
    assert SIMULATIONS["w-tagging"] is simulate_w_tagging
    with pytest.raises(UnknownNameError, match="did you mean 'w-tagging'"):
        SIMULATIONS["w-taging"]


def test_a_larger_sample_has_the_same_full_parts() -> None:
    small, large = plan(1000, 700, seed=3), plan(2000, 2000, seed=3)
    full = {task for task in small if task.n_entries == w_tagging.JETS_PER_TASK}
    assert full < set(large)
    assert sum(task.n_entries for task in small if task.process == "background") == 700


def test_both_classes_advance_in_proportion() -> None:
    done = {"signal": 0, "background": 0}
    for task in plan(80_000, 40_000, seed=1):
        done[task.process] += task.n_entries
        assert abs(done["signal"] / 80_000 - done["background"] / 40_000) < 0.02


def test_workers_default_to_the_processors_of_this_process() -> None:
    assert processors() == len(os.sched_getaffinity(0))
