"""The example in docs/report.md runs as written."""

import re
import runpy
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.md"


def test_the_documented_page_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    (tmp_path / "example.py").write_text(example.group(1), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    assert "A toy" in (tmp_path / "runs/toy/report.html").read_text(encoding="utf-8")
