"""A study under systematics, from ROOT files to the report: nuisance, weights, shifted columns, other samples, data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

from fivesigma import RunDirectory
from fivesigma.core.errors import ConfigError, FeatureError, InputError, MissingBranchError
from fivesigma.dataset import Dataset
from fivesigma.evaluate import Assessment, DataComparison, Expectation
from fivesigma.report import Section, Table, file_stem
from fivesigma.report.robustness import data_blocks, robustness_blocks, significance_blocks
from fivesigma.results import metrics_of
from fivesigma.studies import parse_study
from fivesigma.study import Fits, compare_study_with_data, convert_study, evaluate_study, fit_study, open_run

EVENTS = 2400

STUDY: dict[str, Any] = {
    "study": "toy-systematics",
    "title": "A toy under systematics",
    "labels": "label == 1",
    "weights": "weight",
    "new_variables": {"sum": "x + y"},
    "identity": ["event_number"],
    "folds": 3,
    "inputs": {
        "both": {"features": "tabular", "options": {"inputs": ["x", "sum"]}},
        "x": {"features": "tabular", "options": {"inputs": ["x"], "scaling": "none"}},
    },
    "models": {
        "trees": {"estimator": "boosted-trees", "inputs": "both", "options": {"trees": 20, "leaves": 4}},
        "x": {"estimator": "single-variable", "inputs": "x"},
    },
    "evaluate": {
        "baseline": "x",
        "replicas": 20,
        "nuisances": ["z"],
        "flatness": ["z"],
        "sculpting": ["mass"],
        "working_points": [0.5],
        "calibrate": "platt",
        "variations": {
            "scale": {"up": {"columns": {"x": "x + 0.2"}}, "down": {"columns": {"x": "x - 0.2"}}},
            "tilt": {"up": {"weight": "exp(0.1 * y)"}},
        },
        "data": {"samples": {}, "variables": {"x": [-3.0, -1.0, 0.0, 1.0, 2.0, 4.0]}},
    },
}


def write(path: Path, columns: dict[str, NDArray[Any]]) -> Path:
    with uproot.recreate(path) as file:
        file.mktree("events", {name: values.dtype for name, values in columns.items()}).extend(columns)
    return path


def toy(seed: int, first: int = 0) -> dict[str, NDArray[Any]]:
    """Signal is shifted in x and y; in the background y grows with the nuisance z; the mass is that of x."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, EVENTS)
    z = rng.normal(size=EVENTS)
    x, y = rng.normal(label * 1.0, 1.0), rng.normal(label * 1.0, 1.0) + 0.8 * z * (1 - label)
    return {
        "event_number": np.arange(first, first + EVENTS, dtype=np.int64),
        "label": label.astype(np.int32),
        "weight": np.where(rng.random(EVENTS) < 0.05, -1.0, 1.0),
        "z": z,
        "x": x,
        "y": y,
        "mass": 80 + 10 * x + rng.normal(size=EVENTS),
    }


@pytest.fixture(scope="module", name="files")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    nominal, data = toy(1), toy(2, first=10**6)
    write(folder / "nominal.root", nominal)
    smeared = {**nominal, "x": nominal["x"] + 0.2, "y": nominal["y"]}
    write(folder / "smeared.root", smeared)
    write(folder / "fewer.root", {name: values[: EVENTS // 2] for name, values in nominal.items()})
    data.pop("label")
    data.pop("weight")
    write(folder / "data.root", data)
    return folder


def study(files: Path, **evaluate: Any) -> Any:
    words = {**STUDY["evaluate"], "data": None, **evaluate}
    return parse_study({**STUDY, "samples": {"toy": {"files": [str(files / "nominal.root")]}}, "evaluate": words})


@dataclass(frozen=True)
class Done:
    """A run up to its metrics, stage by stage."""

    run: RunDirectory
    dataset: Dataset
    fits: Fits
    assessment: Assessment
    compared: DataComparison | None
    metrics: dict[str, Any]

    @property
    def nominal(self) -> tuple[RunDirectory, Dataset, Fits]:
        return self.run, self.dataset, self.fits


@pytest.fixture(scope="module", name="result")
def _result(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    smeared = {"samples": {"toy": {"files": [str(files / "smeared.root")]}}, "paired": True}
    variations = {**STUDY["evaluate"]["variations"], "smearing": {"up": smeared}}
    data = {**STUDY["evaluate"]["data"], "samples": {"data": {"files": [str(files / "data.root")]}}}
    with open_run(study(files, variations=variations, data=data), output=tmp_path_factory.mktemp("run")) as (
        words,
        run,
    ):
        dataset = convert_study(words, run)
        fits = fit_study(words, run, dataset, workers=1)
        assessment = evaluate_study(words, run, dataset, fits)
        compared = compare_study_with_data(words, run, dataset, fits)
        metrics = metrics_of(words, dataset, fits.scores, assessment, compared, cpu_seconds=0.0, command=None)
    return Done(run, dataset, fits, assessment, compared, metrics)


def value(result: Done, model: str, metric: str) -> tuple[float, float]:
    (row,) = (r for r in result.metrics["results"] if (r["model"], r["metric"]) == (model, metric))
    return row["value"], row["uncertainty"]


def test_a_shifted_column_is_the_same_as_files_that_were_shifted(result: Done) -> None:
    """The features, and the new variable that depends on the column, are made again."""
    for metric in ("auc_shift_{}", "signal_efficiency_shift_at_0.5_{}", "background_efficiency_ratio_at_0.5_{}"):
        for model in ("trees", "x"):
            column = value(result, model, metric.format("scale_up"))
            assert column == pytest.approx(value(result, model, metric.format("smearing_up")), abs=1e-9)
    up, down = (value(result, "x", f"signal_efficiency_shift_at_0.5_scale_{d}")[0] for d in ("up", "down"))
    assert up == pytest.approx(0.08, abs=0.03)  # φ(0) × 0.2
    assert down == pytest.approx(-0.08, abs=0.03)


def test_a_shift_of_a_monotone_score_leaves_its_auc(result: Done) -> None:
    assert abs(value(result, "x", "auc_shift_scale_up")[0]) < 0.01


def test_a_dependence_is_found_where_it_is(result: Done) -> None:
    p_trees, _ = value(result, "trees", "distance_correlation_p_value_of_z_in_background")
    p_x, _ = value(result, "x", "distance_correlation_p_value_of_z_in_background")
    assert p_trees == pytest.approx(1 / 201)
    assert p_x > 0.01
    assert (
        value(result, "trees", "flatness_cvm_in_background")[0]
        > 3 * value(result, "x", "flatness_cvm_in_background")[0]
    )
    # the mass is that of x: the cut on x sculpts it more
    at = "jensen_shannon_of_mass_at_0.5"
    assert value(result, "x", at)[0] > value(result, "trees", at)[0]


def test_significance_is_compared_on_the_same_replicas(result: Done) -> None:
    found = [d for d in result.metrics["differences"] if d["metric"] == "asimov_significance"]
    assert {(d["first"], d["second"]) for d in found} == {("trees", "x")}
    each = [value(result, model, "asimov_significance") for model in ("trees", "x")]
    assert found[0]["value"] == pytest.approx(each[0][0] - each[1][0])
    assert found[0]["uncertainty"] < 1.5 * np.hypot(each[0][1], each[1][1])


def test_data_like_the_simulation_pass_the_tests(result: Done) -> None:
    data = result.metrics["data"]
    assert set(data["histograms"]) == {"x", "score of trees", "score of x"}
    assert data["histograms"]["x"]["chi2_p_value"] > 1e-3
    assert data["two_sample"]["p_value"] > 1e-3
    assert abs(data["two_sample"]["auc"]["value"] - 0.5) < 0.1
    json.dumps(result.metrics, allow_nan=False)


def test_the_report_shows_what_was_asked(result: Done) -> None:
    shown = ["trees", "x"]
    blocks = [
        *significance_blocks(Expectation(100.0, 1000.0, 0.1), result.assessment, shown),
        *robustness_blocks(result.assessment, shown, lambda name: (name, None)),
        *data_blocks(result.compared, lambda name: (name, None)),
    ]
    section = Section("All", "all", tuple(blocks))
    assert {plot.name for plot in section.plots} == {
        "significance-scan", "shifted-roc-trees", "shifted-roc-x", "nuisance-z", "flatness", "sculpting-mass",
        "data-x", *(f"data-{file_stem(f'score of {model}')}" for model in shown),
    }  # fmt: skip
    tables = {block.caption: block for block in blocks if isinstance(block, Table)}
    varied = tables["What variations change"]
    assert {row[1] for row in varied.rows} == {"scale up", "scale down", "tilt up", "smearing up"}


def test_a_file_of_other_events_is_refused_where_pairing_is_asked(files: Path, result: Done) -> None:
    other = {"samples": {"toy": {"files": [str(files / "fewer.root")]}}, "paired": True}
    with pytest.raises(InputError, match=r"variation smearing up: 1,200 of 2,400 nominal events are not in it"):
        evaluate_study(study(files, variations={"smearing": {"up": other}}), *result.nominal)


def test_a_nuisance_missing_for_some_events_is_named(tmp_path: Path, result: Done) -> None:
    columns = toy(1)
    columns["z"][5] = -999.0
    write(tmp_path / "nominal.root", columns)
    definition = study(tmp_path, variations={})
    dataset = convert_study(definition, RunDirectory.create(tmp_path / "run"))
    with pytest.raises(FeatureError, match=r"nuisance 'z': -999, declared as missing, in entry 5"):
        evaluate_study(definition, result.run, dataset, result.fits)


def test_what_cannot_be_varied_is_named(files: Path, tmp_path: Path, result: Done) -> None:
    unseen = {"m": {"up": {"columns": {"mass": "1.1 * mass"}}}}
    with pytest.raises(ConfigError, match="variation m up: no model sees what mass changes"):
        evaluate_study(study(files, variations=unseen), *result.nominal)
    other = {"g": {"up": {"samples": {"ttbar": {"files": ["a.root"]}}}}}
    with pytest.raises(ConfigError, match="variation g up: no sample 'ttbar' to stand in for; the study's: toy"):
        evaluate_study(study(files, variations=other), *result.nominal)
    missing = {"w": {"up": {"weight": "zz"}}}
    with pytest.raises(MissingBranchError, match="zz"):
        convert_study(study(files, variations=missing), RunDirectory.create(tmp_path / "run"))


def test_words_that_contradict_each_other_are_refused(files: Path) -> None:
    for words, complaint in (
        ({}, "a variation needs `weight`, `columns` or `samples`"),
        ({"weight": "w", "paired": True}, "`paired` is said of `samples`"),
        ({"weight": "w", "samples": {"toy": {"files": ["a.root"]}}}, "`samples` have weights and columns of their own"),
        ({"wieght": "w"}, "did you mean 'evaluate.variations.w.up.weight'"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            study(files, variations={"w": {"up": words}})
