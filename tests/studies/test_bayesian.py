"""The study `bayesian` in reduced form, from its YAML to its report; and the truths of its toys."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.evaluate import calibration
from fivesigma.flows.known_truth import at_distance, draw_classes, draw_responses, resolution, response
from fivesigma.study import run_study

STUDY = yaml.safe_load((resources.files("fivesigma.studies") / "bayesian.yaml").read_text(encoding="utf-8"))


def reduced(folder: Path, **changes: object) -> Path:
    """Two methods of each kind, few events, short trainings."""
    content = STUDY | {"experiments": 3, "train_events": 300, "test_events": 500, "distances": [0.5, 6]}
    for kind in ("classifiers", "regressors"):
        content[kind] = {name: content[kind][name] for name in ("plain", "bootstrap-ensemble")}
        for words in content[kind].values():
            words["options"] |= {"nodes": [8], "epochs": 8, "learning_rate": 0.03}
    path = folder / "bayesian.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("bayesian")
    result = run_study(reduced(folder), output=folder / "run", workers=1)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert all(text in page for text in ("bootstrap-ensemble", "Error bars", "gain per CPU s"))
    written: dict[str, object] = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    return written


def test_every_number_has_the_spread_of_experiments(metrics: dict[str, list[dict[str, object]]]) -> None:
    found = {(row["model"], row["metric"]): row for row in metrics["results"]}
    assert all(row["how"] == "mean of 3 experiments; standard deviation / √3" for row in found.values())
    plain = found["plain (classification)", "coverage_68"]
    assert (plain["value"], plain["uncertainty"]) == (0.0, 0.0)  # no error bar
    assert 0.1 < found["bootstrap-ensemble (classification)", "coverage_68"]["value"] <= 1  # type: ignore[operator]
    assert 0.5 < found["bootstrap-ensemble (regression)", "coverage_68"]["value"] < 0.9  # type: ignore[operator]


def test_differences_are_paired_with_the_baseline(metrics: dict[str, list[dict[str, object]]]) -> None:
    values = {(row["model"], row["metric"]): row["value"] for row in metrics["results"]}
    for row in metrics["differences"]:
        difference = values[row["first"], row["metric"]] - values[row["second"], row["metric"]]  # type: ignore[operator]
        assert row["value"] == pytest.approx(difference, abs=1e-9)
        assert row["second"] in {"plain (classification)", "plain (regression)"}


def test_words_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown classifier 'plane'; did you mean 'plain'"):
        run_study(reduced(tmp_path, baseline="plane"), output=tmp_path / "run")
    methods = {"plain": {"estimator": "deep-ensemble", "options": {"member": 1}}}
    with pytest.raises(UnknownNameError, match="no option 'member'; did you mean 'members'"):
        run_study(reduced(tmp_path, classifiers=methods), output=tmp_path / "run")


def test_the_toys_are_what_they_say() -> None:
    classes = draw_classes(40_000, seed=1)
    found = calibration(classes.truth, classes.y)
    assert found.expected_calibration_error.value < 2 * found.error_if_calibrated
    responses = draw_responses(40_000, seed=2)
    pull = (responses.y - response(responses.X)) / resolution(responses.X)
    assert abs(pull.mean()) < 3 / 200
    assert abs(pull.std() - 1) < 3 / 283
    # Groom's response of pions and the resolution, by hand, at 100 GeV away from the crack
    X = np.array([[2.0, 0.0]])
    assert response(X)[0] == pytest.approx(1 - 0.4 * 100**-0.15, rel=1e-6)
    assert resolution(X)[0] == pytest.approx(np.sqrt(0.06**2 + 0.05**2 + 0.005**2))


def test_points_are_as_far_away_as_asked() -> None:
    X = draw_classes(1000, seed=3).X
    scaled = (at_distance(X, 4.0, 50, seed=1) - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 4.0)


def test_the_page_prints_the_kept_results() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    kept = json.loads((docs / "results" / "bayesian.json").read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_file_location("bayesian_tables", docs / "results" / "bayesian.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.tables(kept) in (docs / "studies" / "bayesian.md").read_text(encoding="utf-8")
