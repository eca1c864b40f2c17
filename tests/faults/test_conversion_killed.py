"""Fault 21 and 22: killed at every write, fsync and rename; several writers; always the same bytes in the end."""

# ruff: noqa: F811  fixtures of another folder are imported by name
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.dataset.conftest import jets, write_jets  # noqa: F401
from tests.dataset.test_convert import changed, folder_bytes

from fivesigma.dataset import Conversion, convert, scan_inputs

WRITER = """
import sys
from pathlib import Path
from fivesigma.dataset import Conversion, convert
from fivesigma.core.errors import OutputError

conversion, output = Conversion.model_validate_json(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
try:
    convert(conversion, output)
except OutputError as error:
    print("refused:", error)
else:
    print("done")
"""


def test_sigkill_at_every_write_fsync_and_rename(jets: Conversion, tmp_path: Path) -> None:
    """In the middle of every write, and before every fsync and rename."""
    samples = [sample.model_copy(update={"files": sample.files[:1]}) for sample in jets.samples]
    jets = changed(jets, samples=samples, step=10_000, columns=("jet_mass", "constituent_pt"), observers=())
    convert(jets, tmp_path / "whole")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "tests.faults.conversion_killed", jets.model_dump_json()]
    done = subprocess.run(
        [*command, str(tmp_path / "whole"), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    killed = counts_in(done.stdout)
    assert killed["write"] >= 30  # arrays of two shards and what fills them up, markers, configuration, description
    assert killed["fsync"] == 2 * killed["replace"] - 2  # a file and its folder, but of the dataset's own name
    assert killed["replace"] == 7  # shards, markers, configuration, description, the dataset's own name


def counts_in(text: str) -> dict[str, int]:
    """``{'write': 96, …}``."""
    return {name: int(n) for name, n in (pair.split(": ") for pair in text.strip(" {}\n").replace("'", "").split(", "))}


def test_two_writers_at_once_have_one_winner(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "whole")
    command = [sys.executable, "-c", WRITER, jets.model_dump_json(), str(tmp_path / "out")]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    answers = [writer.communicate()[0] for writer in writers]
    assert "done\n" in answers
    assert all(a == "done\n" or a.startswith("refused: another process is converting") for a in answers)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_a_task_run_twice_at_once_gives_the_same_bytes(jets: Conversion, tmp_path: Path) -> None:
    """As on a cluster where a worker was cut off and its task given to another."""
    tasks = list(scan_inputs(jets).tasks(tmp_path))
    first = [task.run() for task in tasks]
    before = folder_bytes(tmp_path / "shards")
    for task in tasks:
        task.path.with_suffix(".json").unlink()
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = int([task.run() for task in tasks] != first)
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert folder_bytes(tmp_path / "shards") == before
