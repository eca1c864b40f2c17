"""The command: errors in words, exit status non-zero, results as JSON, and a light start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fivesigma.cli import main
from fivesigma.cli.command import app
from fivesigma.cli.options import parse_inputs
from fivesigma.core.errors import ConfigError

VERBS = {
    "simulate",
    "inspect",
    "convert",
    "fit",
    "evaluate",
    "explain",
    "report",
    "export",
    "verify",
    "run",
    "predict",
    "studies",
}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fivesigma", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_help_names_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from fivesigma.cli.command import app;"
        "print(CliRunner().invoke(app, ['--help']).output);"
        "heavy = {'torch', 'numpy', 'uproot', 'awkward', 'matplotlib', 'sklearn', 'lightgbm', 'numba'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert all(verb in answer.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str) -> None:
    answer = CliRunner().invoke(app, [verb, "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_an_unknown_study_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "run", "w-taging", "--output", str(tmp_path)) == 1
    err = capsys.readouterr().err
    assert "did you mean 'w-tagging'" in err
    assert "Traceback" not in err


def test_an_unwritable_output_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert call(monkeypatch, "run", "w-tagging", "--output", str(tmp_path / "file" / "run")) == 1
    assert "cannot make the run directory" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["inspect", "convert", "fit", "run"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-9], "truncated"),
        (lambda content: b"<html>", "not a ROOT file: an HTML page"),
        (lambda content: content[:16] + bytes(4) + content[20:], "was not closed"),
        (None, "no such file"),
    ],
    ids=["short", "HTML", "not closed", "gone"],
)
def test_a_file_that_cannot_be_trusted_ends_every_verb_with_its_name(
    few_jets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    damage: Callable[[bytes], bytes] | None,
    said: str,
) -> None:
    path = tmp_path / "a.root"
    if damage is not None:
        path.write_bytes(damage(few_jets.read_bytes()))
    words = ["w-tagging", "--input", f"jets={path}", "--output", str(tmp_path / "run"), "--quiet", "--workers", "1"]
    assert call(monkeypatch, verb, *([str(path)] if verb == "inspect" else words)) == 1
    answer = capsys.readouterr().err
    assert said in answer
    assert f"file:   {path}" in answer
    assert not list(tmp_path.glob("run/dataset/*"))


def test_an_unknown_simulation_lists_the_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "simulate", "w-taging", "--output", str(tmp_path / "x.root")) == 1
    assert "did you mean 'w-tagging'" in capsys.readouterr().err


def test_an_option_of_another_simulation_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "simulate", "higgs", "--output", str(tmp_path / "x.root"), "--pile-up", "5") == 1
    assert "simulate higgs has no option --pile-up" in capsys.readouterr().err


def test_inspect_shows_branches_and_first_values(w_tagging_file: Path) -> None:
    answer = CliRunner().invoke(app, ["inspect", str(w_tagging_file), "--json"])
    assert answer.exit_code == 0
    text = json.dumps(json.loads(answer.output))
    assert "constituent_pt" in text
    assert "20000" in text


def test_convert_prints_a_ledger_that_balances(few_jets: Path, tmp_path: Path) -> None:
    words = [
        "convert",
        "w-tagging",
        "--input",
        f"jets={few_jets}",
        "--output",
        str(tmp_path / "run"),
        "--quiet",
        "--json",
    ]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    content = json.loads(answer.output)
    (file,) = content["ledger"]["files"]
    rejected = sum(count["events"] for count in file["rejected"].values())
    assert file["read"]["events"] == rejected + file["dropped"]["events"] + file["selected"]["events"] == 1250
    assert content["events"] == file["selected"]["events"]


def test_studies_lists_shows_and_gives_the_schema() -> None:
    runner = CliRunner()
    assert "arXiv:1511.05190" in runner.invoke(app, ["studies"]).output
    assert runner.invoke(app, ["studies", "show", "w-tagging"]).output.startswith("# Hadronic W bosons")
    schema = json.loads(runner.invoke(app, ["studies", "schema"]).output)
    assert {"samples", "selection", "models"} <= set(schema["properties"])
    assert "locally-connected" in runner.invoke(app, ["studies", "estimators"]).output


def test_inputs_are_pairs() -> None:
    assert parse_inputs(["jets=a=b.root"]) == {"jets": "a=b.root"}
    with pytest.raises(ConfigError, match="expected SAMPLE=FILES"):
        parse_inputs(["a.root"])
