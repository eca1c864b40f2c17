"""``fivesigma convert``: what it would do, what it writes for others, weaver's cards, and damaged files left out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fivesigma.cli import main
from fivesigma.cli.command import app
from fivesigma.dataset.exchange import read_exchange

CARD = """\
treename: jets
selection: (jet_pt > 260)
new_variables: {is_qcd: label == 0, is_w: label == 1}
inputs:
  substructure: {length: null, vars: [jet_mass, tau21]}
labels: {type: simple, value: [is_qcd, is_w]}
"""


def convert(*words: str) -> Result:
    return CliRunner().invoke(app, ["convert", *words, "--quiet", "--workers", "1"])


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["fivesigma", "convert", *words, "--quiet", "--workers", "1"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    return capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(few_jets: Path, tmp_path: Path) -> None:
    words = ["w-tagging", "--input", f"jets={few_jets}", "--output", str(tmp_path / "run"), "--dry-run"]
    plan = json.loads(convert(*words, "--json").output)
    assert "1250" in json.dumps(plan)
    assert "nothing was written" in convert(*words).output
    assert not list(tmp_path.iterdir())


def test_files_for_other_tools_hold_the_same_rows(few_jets: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"jets{suffix}" for suffix in (".parquet", ".h5", ".npz")]
    words = [word for file in files for word in ("--exchange", str(file))]
    answer = convert("w-tagging", "--input", f"jets={few_jets}", "--output", str(tmp_path / "run"), "--json", *words)
    assert answer.exit_code == 0, answer.output
    content: dict[str, Any] = json.loads(answer.output)
    assert [file["rows"] for file in content["exchange"]] == 3 * [content["events"]]
    masses = [np.concatenate([np.asarray(part["jet_mass"]) for part in read_exchange(file)]) for file in files]
    assert all(mass.tobytes() == masses[0].tobytes() for mass in masses)


def test_a_weaver_card_is_converted(few_jets: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text(CARD)
    words = ["--weaver", str(card), "--input", f"jets={few_jets}", "--output", str(tmp_path / "out"), "--json"]
    answer = convert(*words, "--identity", "label,event_number,jet_index", "--signal", "is_w")
    assert answer.exit_code == 0, answer.output
    content = json.loads(answer.output)
    (file,) = content["ledger"]["files"]
    assert 0 < content["events"] < 1250 == file["read"]["events"]
    assert json.loads((tmp_path / "out.weaver.json").read_text())


def test_damaged_files_are_left_out_only_when_asked_and_within_the_limit(
    few_jets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "jets"
    folder.mkdir()
    shutil.copy(few_jets, folder / "good.root")
    (folder / "short.root").write_bytes(few_jets.read_bytes()[:20_000])
    words = ["w-tagging", "--input", f"jets={folder}", "--output", str(tmp_path / "run")]
    assert "short.root" in refused(monkeypatch, capsys, *words)
    assert "short.root" in refused(monkeypatch, capsys, *words, "--skip-bad-files", "--max-loss", "0.2")
    answer = convert(*words, "--skip-bad-files", "--max-loss", "0.6", "--json")
    assert answer.exit_code == 0, answer.output
    assert "short.root" in json.dumps(json.loads(answer.output)["ledger"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a study, or a card"),
        (["w-tagging", "--weaver", "card.yaml"], "give a study, or a card"),
        (["w-tagging", "--identity", "event"], "are for --weaver"),
        (["w-tagging", "--max-loss", "0.1"], "give both, or neither"),
        (["--weaver", "card.yaml"], "name the branches that do with --identity"),
        (["--weaver", "card.yaml", "--identity", "event"], "give them as --input SAMPLE=FILES"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(monkeypatch, capsys, *words)
