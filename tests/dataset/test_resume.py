"""Killed anywhere, a conversion goes on and gives the same bytes; and only one writes at a time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.test_convert import changed, folder_bytes

from fivesigma.core.errors import FileFormatError, OutputError, ResumeError
from fivesigma.dataset import Conversion, Dataset, convert, scan_inputs
from fivesigma.dataset.entry_range import EntryRange

CHILD = """
import json, os, signal, sys
from fivesigma.dataset import Conversion, convert

left, original = int(sys.argv[1]), os.replace

def replace(source, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    original(source, target)

os.replace = replace
convert(Conversion.model_validate_json(sys.argv[2]), sys.argv[3])
"""


class Killed(BaseException):
    """Like a signal: nothing catches it."""


def killing(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The function, until it is called for the time ``after``."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Killed
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_interrupted_at_every_step_it_resumes_to_the_same_bytes(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    convert(jets, tmp_path / "whole")
    expected = folder_bytes(tmp_path / "whole")
    interrupted = 0
    for after in range(1, 100, 3 if name == "fsync" else 1):
        output = tmp_path / f"out{after}"
        with monkeypatch.context() as patch:
            patch.setattr(os, name, killing(getattr(os, name), after))
            try:
                convert(jets, output)
                finished = True
            except Killed:
                finished = False
                interrupted += 1
        assert finished or not output.exists()
        if not finished:
            convert(jets, output)
        assert folder_bytes(output) == expected
        if finished:
            break
    assert interrupted >= 8
    assert list(tmp_path.glob(".out*")) == []


@pytest.mark.parametrize("after", [3, 12])
def test_sigkill(jets: Conversion, tmp_path: Path, after: int) -> None:
    """A process really killed, with its temporary files and its lock left behind."""
    convert(jets, tmp_path / "whole")
    output = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(after), jets.model_dump_json(), str(output)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not output.exists()
    assert len(list(tmp_path.glob(".out.partial/**/.*.partial"))) == 1  # what the process was writing
    convert(jets, output)
    assert folder_bytes(output) == folder_bytes(tmp_path / "whole")


def test_finished_shards_are_not_made_again(jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = sys.modules[EntryRange.__module__]
    monkeypatch.setattr(module, "write_done", killing(module.write_done, 4))
    with pytest.raises(Killed):
        convert(jets, tmp_path / "out")
    made: list[str] = []
    original = module.write_shard

    def write_shard(path: Path, rows: Any) -> Any:
        made.append(path.name)
        return original(path, rows)

    monkeypatch.setattr(module, "write_shard", write_shard)
    convert(jets, tmp_path / "out")
    assert made == ["000003.bin", "000004.bin"]


def test_a_shard_damaged_while_we_were_away_is_made_again(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(jets, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killing(os.replace, 8))
        with pytest.raises(Killed):
            convert(jets, tmp_path / "out")
    shard = tmp_path / ".out.partial" / "shards" / "000001.bin"
    content = bytearray(shard.read_bytes())
    content[100] ^= 4
    shard.write_bytes(bytes(content))
    convert(jets, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_a_changed_configuration_does_not_resume(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killing(os.replace, 5))
        with pytest.raises(Killed):
            convert(jets, tmp_path / "out")
    with pytest.raises(ResumeError, match=r"(?s)conversion.salt: '' there, 'x' now.*Delete it"):
        convert(changed(jets, salt="x"), tmp_path / "out")
    convert(jets, tmp_path / "out")


def test_a_second_writer_is_refused(jets: Conversion, tmp_path: Path) -> None:
    with open(tmp_path / ".out.partial.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is converting"):
            convert(jets, tmp_path / "out")
    convert(jets, tmp_path / "out")


def test_a_file_gone_for_a_while_costs_nothing(jets: Conversion, tmp_path: Path) -> None:
    inputs = scan_inputs(jets)
    away = tmp_path / "away"
    background = Path(jets.samples[1].files[0])
    background.rename(away)
    with pytest.raises(FileFormatError, match="is gone"):
        convert(jets, tmp_path / "out", inputs)
    assert len(list(tmp_path.glob(".out.partial/shards/*.bin"))) == 3
    away.rename(background)
    assert len(convert(jets, tmp_path / "out", inputs)) > 150


def test_a_full_disk_leaves_what_is_done(jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device"):
            convert(jets, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert json.loads((convert(jets, tmp_path / "out").path / "dataset.json").read_text())["samples"] == ["W", "QCD"]
    Dataset.open(tmp_path / "out")
