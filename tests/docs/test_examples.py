"""The examples of the README and of the documentation run as written, each page from top to bottom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```python" in path.read_text("utf-8")
]
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


REPEATED = ROOT / "docs" / "start.md"  # one call, which the README's example makes too


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page == REPEATED else page for page in PAGES],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_examples_of_a_page_run_as_written(page: Path, tmp_path: Path) -> None:
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
    (tmp_path / "example.py").write_text(f"if __name__ == '__main__':\n{indented(code)}", encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-W", "error", "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def indented(code: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in code.splitlines())


def test_there_are_examples() -> None:
    assert ROOT / "README.md" in PAGES
