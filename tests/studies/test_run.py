"""A study from ROOT file to report on a small real sample: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from fivesigma import RunDirectory, predict_study, run_study
from fivesigma.core.errors import (
    FeatureError,
    FileFormatError,
    FivesigmaError,
    MissingBranchError,
    ModelError,
    NoEventsError,
)
from fivesigma.dataset import Dataset
from fivesigma.studies import load_study
from fivesigma.study import StudyResult

QUICK = ["mass", "fisher", "substructure-bdt"]


def quick_study(few_jets: Path, **changes: Any) -> Any:
    definition = load_study("w-tagging")
    samples = {"jets": definition.samples["jets"].model_copy(update={"files": (str(few_jets),)})}
    words = definition.evaluate.model_copy(update={"replicas": 20})
    window = dict(list(definition.explain.windows.items())[:1])  # of the figures, one of each kind
    explain = definition.explain.model_copy(update={"windows": window, "variables": ("jet_mass",)})
    made = {"samples": samples, "evaluate": words, "explain": explain, "folds": 3}
    return definition.model_copy(update={**made, **changes})


@pytest.fixture(scope="module", name="result")
def _result(few_jets: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return run_study(quick_study(few_jets), models=QUICK, output=tmp_path_factory.mktemp("run"), workers=1)


def test_the_metrics_name_what_made_them(result: StudyResult, few_jets: Path) -> None:
    metrics = json.loads((result.run.path / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(result.metrics))
    assert metrics["study"] == "w-tagging"
    assert metrics["sample"]["events"] == uproot.open(few_jets)["jets"].num_entries
    assert metrics["versions"]["numpy"] == np.__version__
    assert {row["model"] for row in metrics["results"]} == {*QUICK, "mass+tau21"}
    for row in metrics["results"]:
        assert set(row) == {"model", "metric", "value", "uncertainty", "how", "reference"}
        assert row["how"]


def test_substructure_beats_mass_on_the_same_events(result: StudyResult) -> None:
    difference = next(
        d
        for d in result.metrics["differences"]
        if {d["first"], d["second"]} == {"mass", "substructure-bdt"} and d["metric"] == "auc"
    )
    sign = 1 if difference["first"] == "substructure-bdt" else -1
    assert sign * difference["n_sigma"] > 5


def test_every_event_is_scored_by_a_model_that_has_not_seen_it(result: StudyResult) -> None:
    dataset = Dataset.open(next((result.run.path / "dataset").iterdir()))
    folds = sorted((result.run.path / "models" / "fisher").glob("fold-*"))
    scores = np.stack([np.load(fold / "scores.npy", allow_pickle=False) for fold in folds])
    output = result.run.path / "scores.root"
    predict_study(result.run.path, [dataset.files[0]], output, models=["fisher"])
    predicted = uproot.open(output)["scores"]["fisher"].array(library="np")
    np.testing.assert_allclose(predicted, scores[dataset.fold, np.arange(len(dataset))], rtol=1e-6)


def test_predicting_keeps_order_and_number_without_labels(result: StudyResult, few_jets: Path, tmp_path: Path) -> None:
    columns = uproot.open(few_jets)["jets"].arrays(["event_number", "jet_mass", "tau21", "subjet_dr"], library="np")
    with uproot.recreate(tmp_path / "data.root") as file:
        file.mktree("events", {name: values.dtype for name, values in columns.items()}).extend(columns)
    events = predict_study(
        result.run.path, [tmp_path / "data.root"], tmp_path / "s.root", models=["mass+tau21"], tree="events"
    )
    scores = uproot.open(tmp_path / "s.root")["scores"].arrays(library="np")
    assert events.entries == len(columns["jet_mass"])
    assert scores["event_number"].tolist() == columns["event_number"].tolist()
    assert np.isfinite(scores["mass_tau21"]).all()


def test_a_second_run_fits_nothing_again(result: StudyResult, few_jets: Path) -> None:
    done = {path: path.stat().st_mtime_ns for path in result.run.path.glob("models/*/*/done.json")}
    again = run_study(quick_study(few_jets), models=QUICK, output=result.run.path, until="evaluate", workers=1)
    assert {path: path.stat().st_mtime_ns for path in result.run.path.glob("models/*/*/done.json")} == done
    assert [r for r in again.metrics["results"] if "cpu" not in r["metric"]] == [
        r for r in result.metrics["results"] if "cpu" not in r["metric"]
    ]


def test_a_changed_model_is_fitted_again_and_others_are_not(result: StudyResult, few_jets: Path) -> None:
    study = quick_study(few_jets)
    bdt = study.models["substructure-bdt"].model_copy(update={"options": {"trees": 20}})
    study = study.model_copy(update={"models": {**study.models, "substructure-bdt": bdt}})
    done = {path: path.stat().st_mtime_ns for path in result.run.path.glob("models/*/*/done.json")}
    run_study(study, models=QUICK, output=result.run.path, until="evaluate", workers=1)
    changed = {p.parent.parent.name for p, t in done.items() if p.stat().st_mtime_ns != t}
    assert changed == {"substructure-bdt"}


def test_the_report_shows_all_models_and_no_event_is_lost(result: StudyResult) -> None:
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert all(name in page for name in QUICK)
    dataset = Dataset.open(next((result.run.path / "dataset").iterdir()))
    assert sum(np.bincount(dataset.fold)) == len(dataset) == result.metrics["sample"]["events"]


def test_truncated_input_is_refused(few_jets: Path, tmp_path: Path) -> None:
    (tmp_path / "short.root").write_bytes(few_jets.read_bytes()[:-1000])
    with pytest.raises(FileFormatError, match=r"short\.root"):
        run_study(quick_study(tmp_path / "short.root"), output=tmp_path / "run")


def test_a_missing_branch_is_named_with_the_nearest(few_jets: Path, tmp_path: Path) -> None:
    study = quick_study(few_jets, selection={"pt": "jet_ptt > 250"})
    with pytest.raises(MissingBranchError, match="jet_pt"):
        run_study(study, output=tmp_path / "run")


def test_nothing_after_the_cuts_shows_the_cut_flow(few_jets: Path, tmp_path: Path) -> None:
    with pytest.raises(NoEventsError, match="far too heavy"):
        run_study(quick_study(few_jets, selection={"far too heavy": "jet_mass > 1000"}), output=tmp_path / "run")


def test_a_missing_class_is_named(few_jets: Path, tmp_path: Path) -> None:
    with pytest.raises(NoEventsError, match="label"):
        run_study(quick_study(few_jets, selection={"signal only": "label == 1"}), output=tmp_path / "run")


def test_nan_in_an_input_is_counted_and_named(few_jets: Path, tmp_path: Path) -> None:
    study = quick_study(few_jets, new_variables={"broken": "log(tau21 - 0.3)"}, observers=("broken",))
    with pytest.raises(FivesigmaError, match="broken"):
        run_study(study, output=tmp_path / "run")


def test_a_learner_that_fails_is_named_with_its_fold(few_jets: Path, tmp_path: Path) -> None:
    study = quick_study(few_jets)
    bdt = study.models["substructure-bdt"].model_copy(update={"options": {"trees": -1}})
    study = study.model_copy(update={"models": {**study.models, "substructure-bdt": bdt}})
    with pytest.raises(ModelError, match="'substructure-bdt', fold"):
        run_study(study, models=["substructure-bdt"], output=tmp_path / "run")


def test_unfit_inputs_are_refused_when_predicting(result: StudyResult, few_jets: Path, tmp_path: Path) -> None:
    columns = uproot.open(few_jets)["jets"].arrays(["jet_mass", "tau21"], library="np")
    columns["tau21"][3] = np.nan
    with uproot.recreate(tmp_path / "nan.root") as file:
        file.mktree("jets", {name: values.dtype for name, values in columns.items()}).extend(columns)
    with pytest.raises(FeatureError, match="tau21"):
        predict_study(result.run.path, [tmp_path / "nan.root"], tmp_path / "s.root", models=["mass+tau21"])
    assert not (tmp_path / "s.root").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished_and_a_rerun_goes_on(few_jets: Path, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    command = [
        sys.executable,
        "-m",
        "fivesigma",
        "fit",
        "w-tagging",
        "--input",
        f"jets={few_jets}",
        "--output",
        str(run.path),
    ]
    command += ["--models", "substructure-bdt", "--models", "substructure-forest", "--models", "fisher"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(run.path.glob("models/*/*/done.json"))) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    finished = {path: path.stat().st_mtime_ns for path in run.path.glob("models/*/*/done.json")}
    assert len(finished) >= 3
    assert process.returncode == 130, stderr.decode()
    assert b"the same command goes on from there" in stderr
    subprocess.run(command, check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(run.path.glob("models/*/*/done.json"))) == 4 * 5
