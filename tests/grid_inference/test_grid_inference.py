"""`grid-inference` in reduced form: one model as fitted and as C, every timed score checked against its input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uproot

from fivesigma.core.errors import WorkerError
from fivesigma.core.processes import Processes
from fivesigma.grid_inference import flow
from fivesigma.grid_inference.one_core import Use, predict_on_one_core
from fivesigma.predict import predict_study
from fivesigma.studies import load_study
from fivesigma.study import StudyResult, run_study

MODEL = "substructure-bdt"


@pytest.fixture(scope="module", name="fitted")
def _fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = load_study("w-tagging")
    bdt = study.models[MODEL].model_copy(update={"options": {"trees": 10, "leaves": 8}})
    words = study.evaluate.model_copy(update={"baseline": MODEL, "replicas": 20})
    explain = study.explain.model_copy(update={"models": (), "variables": ()})
    study = study.model_copy(
        update={"models": {MODEL: bdt}, "evaluate": words, "explain": explain, "folds": 3, "reweight": None}
    )
    return run_study(study, output=tmp_path_factory.mktemp("run"), until="evaluate").run.path


def in_this_process(source: Path, model: str | None, tree: str, file: Path, output: Path) -> Use:
    """The same scores without a process for each; 3 µs an event and 100 MB, as if it had been measured."""
    made = predict_study(source, [file], output, models=[model] if model else None, tree=tree)
    return Use(2.0 + 3e-6 * made.entries, 100_000_000)


def test_every_form_scores_every_entry_in_order(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "predict_on_one_core", in_this_process)
    study = tmp_path / "grid.yaml"
    study.write_text(
        "study: grid\ntitle: Scores on one core\nflow: grid-inference\ngrowth: 3\nrepeats: 2\n"
        f"studies: {{w-tagging: {{entries: 1000, run: {fitted}, forms: {{{MODEL}: {{c: {{}}}}}}}}}}\n"
    )
    result: StudyResult = run_study(study, output=tmp_path / "run")
    rows = {(row["model"], row["metric"]): row for row in result.metrics["results"]}
    native, c = (f"w-tagging {MODEL}, {form}" for form in ("run", "c"))
    assert {model for model, _ in rows} == {native, c}
    assert rows[c, "microseconds_per_event"]["value"] == pytest.approx(3.0)
    assert rows[native, "start_cpu_seconds"]["value"] == pytest.approx(2.0)
    assert rows[native, "events_per_cpu_second"]["value"] == pytest.approx(1 / 3e-6)
    assert rows[c, "memory_growth_mb"]["value"] == 0.0
    assert rows[c, "largest_difference"]["value"] < 1e-7  # float32 of the fitted model's probability
    assert (native, "largest_difference") not in rows
    assert result.report is not None
    assert "one core" in result.report.read_text(encoding="utf-8")
    repeated = uproot.open(tmp_path / "run" / "w-tagging-3000.root")["jets"]
    assert repeated["event_number"].array().tolist() == list(range(3000))


def test_a_process_on_one_core_says_what_it_took(fitted: Path, tmp_path: Path) -> None:
    file, _, tree = flow.repeated_samples("w-tagging", tmp_path, 300, 2)
    output = tmp_path / "scores.root"
    used = predict_on_one_core(fitted, MODEL, tree, file, output)
    assert 0.1 < used.cpu_seconds < 600
    assert 50e6 < used.peak_bytes < 4e9
    assert uproot.open(output)["scores"].num_entries == 300
    predict_study(fitted, [file], tmp_path / "again.root", models=[MODEL], tree=tree, engine=Processes(1))
    again = uproot.open(tmp_path / "again.root")
    assert json.loads(str(again["provenance"]))["scored_by"]["study"] == "w-tagging"
    branch = "substructure_bdt"
    assert again["scores"][branch].array().tolist() == uproot.open(output)["scores"][branch].array().tolist()
    with pytest.raises(WorkerError, match="ended with"):
        predict_on_one_core(fitted, "no-such-model", tree, file, output)
