"""A study of another flow: its words are its own, its results stand in the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.core.run_directory import RunDirectory
from fivesigma.evaluate import Measurement
from fivesigma.evaluate.results import results_rows
from fivesigma.flows import FlowResult, FlowWords, flow
from fivesigma.studies import load_study
from fivesigma.study import run_study


class CoinWords(FlowWords):
    throws: int


class CoinFlow:
    words: ClassVar[type[FlowWords]] = CoinWords

    def run(self, words: CoinWords, run: RunDirectory, *, workers: int) -> FlowResult:
        rows = results_rows("coin", {"heads": Measurement(0.5, 0.5 / words.throws**0.5, "binomial")})
        return FlowResult({"throws": words.throws}, rows, more={"seed_seen": words.seed})


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(flow, "FLOWS", {"coins": "coins:CoinFlow"})
    monkeypatch.setattr(flow, "import_module", lambda _: type("module", (), {"CoinFlow": CoinFlow}))
    path = tmp_path / "coin.yaml"
    path.write_text("study: coin\ntitle: Throws of a coin\nflow: coins\nthrows: 100\n")
    return path


def test_a_flow_writes_the_files_that_every_study_writes(study: Path, tmp_path: Path) -> None:
    result = run_study(study, output=tmp_path / "run", seed=7, keep=tmp_path / "kept.json")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written == json.loads((tmp_path / "kept.json").read_text())
    assert (written["flow"], written["sample"], written["seed_seen"]) == ("coins", {"throws": 100}, 7)
    assert result.rows() == [{"model": "coin", "heads": "0.500 ± 0.050"}]
    assert json.loads((tmp_path / "run" / "study.json").read_text())["throws"] == 100
    assert "commit" in json.loads((tmp_path / "run" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ("throw: 100", {}, "did you mean 'throws'"),
        ("throws: 100", {"models": ["cnn"]}, "no models to choose"),
        ("throws: 100", {"inputs": {"jets": "a.root"}}, "no inputs to choose"),
    ],
)
def test_words_and_options_that_a_flow_does_not_know_are_refused(
    study: Path, words: str, options: dict[str, Any], message: str
) -> None:
    study.write_text(study.read_text().replace("throws: 100", words))
    with pytest.raises(ConfigError, match=message):
        run_study(study, output=study.parent / "run", **options)


def test_an_unknown_flow_names_the_nearest(study: Path) -> None:
    study.write_text(study.read_text().replace("flow: coins", "flow: coin"))
    with pytest.raises(UnknownNameError, match="did you mean 'coins'"):
        run_study(study, output=study.parent / "run")


def test_the_stages_of_the_classification_flow_refuse_it(study: Path) -> None:
    with pytest.raises(ConfigError, match="only `fivesigma run` takes it"):
        load_study(study)
