"""A study's words are checked one by one; an unknown one is answered with the nearest."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.flows import find_flow
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.studies import load_study, packaged_studies, parse_study, parse_words, read_study, resolve_study


@pytest.fixture(name="words")
def _words() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(packaged_studies()["w-tagging"].read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("name", sorted(packaged_studies()))
def test_every_packaged_study_is_valid(name: str) -> None:
    content, path = read_study(name)
    if "flow" in content:
        assert parse_words(find_flow(content["flow"]).words, content, str(path)).study == name
    else:
        assert resolve_study(name).study == name


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (["selectoin"], "unknown word 'selectoin'; did you mean 'selection'"),
        (["models", "cnn", "estimatr"], "unknown word 'models.cnn.estimatr'; did you mean 'models.cnn.estimator'"),
        (["evaluate", "replica"], "unknown word 'evaluate.replica'; did you mean 'evaluate.replicas'"),
        (["samples", "jets", "file"], "did you mean 'samples.jets.files'"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(words: dict[str, Any], path: list[str], said: str) -> None:
    place = words
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = "x"
    with pytest.raises(ConfigError) as caught:
        parse_study(words)
    assert said in str(caught.value)


def test_names_that_lead_nowhere_are_refused(words: dict[str, Any]) -> None:
    changes: list[tuple[str, Any]] = [("inputs", "imags"), ("scores", ["cn"]), ("scores", ["cnn+tau21"])]
    for key, value in changes:
        changed = copy.deepcopy(words)
        changed["models"]["cnn+mass"][key] = value
        with pytest.raises(ConfigError, match="unknown"):
            parse_study(changed)
    words["evaluate"]["baseline"] = "mass+tau12"
    with pytest.raises(ConfigError, match="did you mean 'mass\\+tau21'"):
        parse_study(words)


def test_an_unknown_option_of_an_estimator_is_refused(words: dict[str, Any]) -> None:
    words["models"]["cnn"]["options"] = {"epoch": 3}
    with pytest.raises(UnknownNameError, match="model 'cnn' has no option 'epoch'; did you mean 'epochs'"):
        resolve_study(parse_study(words))


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'w-tagging'"):
        load_study("w-taging")
    (tmp_path / "study.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_study(tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_study(tmp_path / "study.yaml")


def test_how_to_reach_remote_inputs(words: dict[str, Any]) -> None:
    words["remote"] = {"retries": 5, "digest": "ends"}
    remote = parse_study(words).remote
    assert remote is not None
    assert RemoteOptions(**remote.model_dump()) == RemoteOptions(retries=5, digest="ends"), "the same defaults"
    words["remote"] = {"retrys": 5}
    with pytest.raises(ConfigError, match=r"unknown word 'remote\.retrys'; did you mean 'remote\.retries'"):
        parse_study(words)


def test_samples_can_be_replaced_by_name_only() -> None:
    assert resolve_study("w-tagging", {"jets": "other.root"}).samples["jets"].files == ("other.root",)
    with pytest.raises(UnknownNameError, match="unknown sample 'jet'; did you mean 'jets'"):
        resolve_study("w-tagging", {"jet": "other.root"})


def test_a_seed_replaces_the_studys_own() -> None:
    own = resolve_study("w-tagging")
    assert resolve_study("w-tagging", seed=own.seed + 1) == own.model_copy(update={"seed": own.seed + 1})
