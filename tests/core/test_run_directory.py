"""A run directory is made, written to by one run at a time, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fivesigma.core.errors import OutputError
from fivesigma.core.run_directory import RunDirectory


def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    with run.lock(), pytest.raises(OutputError, match="another run is using"), RunDirectory(tmp_path).lock():
        pass


def test_an_unwritable_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot make the run directory .*file/run"):
        RunDirectory.create(tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is not writable"):
        RunDirectory.create(tmp_path / "other")
