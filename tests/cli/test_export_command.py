"""``fivesigma export`` and ``verify``: two commands from a saved model to proved C, and what they refuse."""

import json
from pathlib import Path

import pytest
from tests.cli.test_command import call
from tests.deploy.models import INPUTS, boosted
from typer.testing import CliRunner

from fivesigma.cli.command import app

FEATURES = [word for name in INPUTS for word in ("--feature", name)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "bdt"
    boosted(None, trees=5).estimator.save(folder)
    return folder


def test_a_saved_model_becomes_c_and_a_table_and_is_verified(saved: Path, tmp_path: Path) -> None:
    bins = "bins={jet_mass: thresholds, tau21: [0.2, 0.4], subjet_dr: thresholds:3}"
    for target, more in (("c", ["--set", "layout=nested"]), ("table", ["--set", bins, "--set", "cell=uint16"])):
        output = str(tmp_path / target)
        answer = CliRunner().invoke(
            app, ["export", str(saved), target, "--output", output, *FEATURES, *more, "--quiet"]
        )
        assert answer.exit_code == 0, answer.output
        assert "2,000 random" in answer.output
        answer = CliRunner().invoke(app, ["verify", output, "--against", str(saved), *FEATURES, "--json"])
        assert answer.exit_code == 0, answer.output
        assert all(found["worst"] <= found["tolerance"] for found in json.loads(answer.output)["outputs"].values())


def test_refusals_are_words_and_a_status(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "c")
    assert call(monkeypatch, "export", str(saved), "cc", "--output", output, *FEATURES) == 1
    assert "unknown target 'cc'; did you mean 'c'" in capsys.readouterr().err
    assert call(monkeypatch, "export", str(saved), "c", "--output", output, *FEATURES, "--set", "lay=1") == 1
    assert "unknown option of the target 'c' 'lay'" in capsys.readouterr().err
    assert call(monkeypatch, "export", str(saved), "c", "--output", output, *FEATURES, "--set", "layout") == 1
    assert "expected OPTION=VALUE" in capsys.readouterr().err
    assert call(monkeypatch, "export", str(saved), "c", "--output", output, *FEATURES, "--quiet") == 0
    header = next(Path(output).glob("*.h"))
    header.write_text(header.read_text(encoding="utf-8").replace("sum", "Sum", 1), encoding="utf-8")
    capsys.readouterr()
    assert call(monkeypatch, "verify", output) == 1
    err = capsys.readouterr().err
    assert "bdt.h was changed: its sha256" in err
    assert "Traceback" not in err
