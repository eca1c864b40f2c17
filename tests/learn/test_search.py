"""A search is the same whether or not it was killed, says what it cost, and judges the best on events it has not seen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.learn.jets import FLAT, small_jets

from fivesigma.core.errors import ConfigError, ModelError, UnknownNameError
from fivesigma.learn.search import Search, search
from fivesigma.learn.search_space import Range, parse_space, with_parameters
from fivesigma.search import search_study

SPACE = parse_space({"a": [1e-3, 10.0, "log"], "b": [0, 1], "n": [1, 8, "int"], "c": [[1], [1, 2], "choice"]})


def valley(parameters: Mapping[str, Any]) -> list[float]:
    """Best where a is 1 and b is 0.3; n does nothing."""
    if not parameters:
        return [-3.0, -2.0]
    value = -(np.log10(parameters["a"]) ** 2) - (parameters["b"] - 0.3) ** 2 + 0.01 * len(parameters["c"])
    return [value, value + 0.5]


def run(folder: Path, trials: int = 24, judge: Any = valley) -> Search:
    return search(judge, SPACE, folder, trials=trials, seed=3, key="same")


def test_the_search_finds_the_valley_and_says_what_mattered(tmp_path: Path) -> None:
    found = run(tmp_path)
    random = [0.25 + np.mean(valley({"a": 10**x, "b": y, "c": [1]})) - 0.25 for x, y in drawn(24)]
    assert found.best.value > np.quantile(random, 0.9)
    assert found.best.number > 0
    assert 10**-0.7 < found.best.parameters["a"] < 10**0.7
    assert found.importance["a"] > 0.5 > found.importance["n"]
    assert sum(found.importance.values()) == pytest.approx(1.0)
    gain, error = found.gain
    assert gain == pytest.approx(found.best.value + 2.5)
    assert error == pytest.approx(0.25)  # differences by fold are g + 1/4 and g − 1/4: s / √2
    assert found.gain_per_cpu_hour == pytest.approx(gain / found.cpu_hours)


def drawn(n: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng(1)
    return [(float(x), float(y)) for x, y in zip(rng.uniform(-3, 1, n), rng.uniform(0, 1, n), strict=True)]


def test_a_killed_search_goes_on_to_the_same_trials(tmp_path: Path) -> None:
    whole, calls = run(tmp_path / "whole"), 0

    def killed(parameters: Mapping[str, Any]) -> list[float]:
        nonlocal calls
        calls += 1
        if calls == 17:  # in the middle of trial 16, when the estimator has begun to learn from the others
            raise KeyboardInterrupt
        return valley(parameters)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", judge=killed)
    resumed = run(tmp_path / "killed", judge=killed)
    assert calls == 17 + 25 - 16
    assert [t.parameters for t in resumed.trials] == [t.parameters for t in whole.trials]
    assert [t.values for t in resumed.trials] == [t.values for t in whole.trials]
    fewer = run(tmp_path / "whole", trials=10)
    assert fewer.trials == whole.trials[:10]
    path = tmp_path / "whole" / "same" / "trials.json"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(ModelError, match="are damaged"):
        run(tmp_path / "whole")


def test_trials_that_fail_are_kept_and_counted(tmp_path: Path) -> None:
    def fails_above(parameters: Mapping[str, Any]) -> list[float]:
        if parameters.get("b", 0.0) > 0.5:
            raise ModelError("the loss is nan")
        return valley(parameters)

    found = run(tmp_path, judge=fails_above)
    failed = [trial for trial in found.trials if trial.failure]
    assert failed
    assert all(trial.parameters["b"] > 0.5 for trial in failed)
    assert failed[0].failure == "ModelError: the loss is nan"

    def fails(parameters: Mapping[str, Any]) -> list[float]:
        if parameters:
            raise ModelError("no")
        return [0.0]

    with pytest.raises(ModelError, match="all 2 trials failed, the first with: ModelError: no"):
        run(tmp_path / "all", trials=2, judge=fails)


def test_ranges_and_the_options_that_they_lead_to() -> None:
    assert Range.parse("n", [1, 8, "int", "log"]) == Range(1, 8, integer=True, log=True)
    assert SPACE["c"].value(SPACE["c"].distribution().choices[1]) == [1, 2]
    for words in ([1], [2, 1], [0, 1, "log"], [0.5, 2, "int"], [1, 2, "logg"], "choice", ["a", "b"]):
        with pytest.raises(ConfigError, match=r"search\.x: .*expected"):
            Range.parse("x", words)
    options = {"blocks": {"trunk": {"layers": [{"dense": 8}]}}}
    changed = with_parameters(options, {"blocks.trunk.layers.0.dense": 16, "epochs": 3})
    assert changed == {"blocks": {"trunk": {"layers": [{"dense": 16}]}}, "epochs": 3}
    assert options["blocks"]["trunk"]["layers"][0] == {"dense": 8}
    with pytest.raises(UnknownNameError, match=r"blocks\.trunk\.layers is a list of 1, it has no '1'"):
        with_parameters(options, {"blocks.trunk.layers.1.dense": 16})


def test_a_study_is_searched_without_its_first_fold_and_reported(tmp_path: Path) -> None:
    folder = small_jets(tmp_path, 1_200).path.parent
    study: dict[str, Any] = {
        "study": "tiny",
        "title": "Shifted Gaussians",
        "samples": {"jets": {"files": [str(folder / "jets.root")]}},
        "labels": "label",
        "identity": ["event"],
        "folds": 4,
        "inputs": {"flat": {"features": "tabular", "options": {"inputs": list(FLAT)}}},
        "models": {
            "trees": {
                "estimator": "boosted-trees",
                "inputs": "flat",
                "options": {"trees": 20, "leaves": 2, "learning_rate": 0.001},  # can only become better
                "search": {"learning_rate": [0.05, 0.3, "log"], "leaves": [3, 8, "int"]},
            }
        },
        "evaluate": {"baseline": "trees"},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    found = search_study(path, "trees", trials=5, output=tmp_path / "run")
    content = json.loads((tmp_path / "run" / "search" / "trees" / "search.json").read_text(encoding="utf-8"))
    assert content == found.content
    assert content["judged_folds"] == 3
    assert content["gain"]["value"] > 0.01
    unseen = content["gain_on_unseen_fold"]["difference"]
    assert unseen["value"] > 2 * unseen["uncertainty"] > 0
    assert set(content["importance"]) == {"learning_rate", "leaves"}
    assert found.report.read_text(encoding="utf-8").count("<figure") == 4
    assert found.rows()[0]["trial"] == str(content["best"]["number"])
    again = search_study(path, "trees", trials=5, output=tmp_path / "run")
    assert again.content["all_trials"] == content["all_trials"]  # nothing is fitted twice
    with pytest.raises(UnknownNameError, match="unknown model 'tree'; did you mean 'trees'"):
        search_study(path, "tree", output=tmp_path / "run")
    study["models"]["trees"]["search"] = {"leafs": [3, 8, "int"]}
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    with pytest.raises(UnknownNameError, match="has no option 'leafs'; did you mean 'leaves'"):
        search_study(path, "trees", output=tmp_path / "run")
