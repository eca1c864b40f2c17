"""The page of faults has a line for each of the thirty, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The test functions of a module, without importing it."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in module.body if isinstance(node, ast.FunctionDef))


def test_every_fault_has_tests_that_are_there() -> None:
    lines = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    rows = {int(row[1]): row[0] for line in lines if (row := re.match(r"\| (\d+) \|.*", line))}
    assert sorted(rows) == list(range(1, 31))
    for number, line in rows.items():
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
        assert named, number
        for path, name in named:
            assert name in functions_of(ROOT / "tests" / path), f"fault {number}: {path}::{name}"
