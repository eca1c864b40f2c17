"""Provenance names the versions that can change a result."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from fivesigma.core.provenance import git_commit, provenance


def test_versions_and_machine_are_stated() -> None:
    made = provenance(seed=3, command="fivesigma run w-tagging")
    assert made["versions"]["numpy"] == np.__version__
    assert made["versions"]["python"] == platform.python_version()
    assert made["seed"] == 3
    assert "×" in made["machine"]["processor"] or made["machine"]["processor"]


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
