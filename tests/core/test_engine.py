"""Whatever happens to a reader, every task has one outcome: its value, or a named error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.core.engine_tasks import Dying, Failing, Hungry, Numbered, Stalling, WrappedMemoryError

from fivesigma.core.engine import Engine, InProcess
from fivesigma.core.errors import ConfigError, FileFormatError, WorkerError
from fivesigma.core.processes import Processes


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize("engine", [InProcess(), Processes(2)], ids=["in process", "processes"])
def test_one_outcome_each_and_errors_of_ours_are_outcomes(engine: Engine, log: Path) -> None:
    tasks = [Numbered(3, log), Failing(4, log), WrappedMemoryError(5, log), Numbered(6, log)]
    outcomes = {outcome.task: outcome for outcome in engine.run(tasks)}
    assert len(outcomes) == 4
    assert [outcomes[task].value for task in tasks] == [9, None, None, 36]
    with pytest.raises(FileFormatError, match=r"(?s)damaged.*a.root.*jets.*pt.*copy it again") as caught:
        outcomes[tasks[1]].result()
    assert (caught.value.branch, caught.value.cause) == ("pt", "damaged")
    with pytest.raises(WorkerError, match=r"(?s)entries 5 to 6: not enough memory.*a.root.*jets.*`step`"):
        outcomes[tasks[2]].result()


@pytest.mark.parametrize("engine", [InProcess(), Processes(1)], ids=["in process", "processes"])
def test_a_fault_of_ours_is_raised(engine: Engine, log: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        list(engine.run([Failing(1, log, bug=True)]))


def test_crash_stall_and_memory_end_only_the_worker(log: Path) -> None:
    """SIGSEGV once and always, a stall once and always, memory that pieces need less of, and too much in any pieces."""
    late, hungry = (Processes(2, deadline_s=s, retries=1, memory_limit_mb=1024) for s in (3, 60))
    tasks = [
        Numbered(1, log),
        Dying(2, log, deaths=1),
        Dying(3, log, deaths=99),
        Stalling(4, log, stalls=1),
        Stalling(5, log, stalls=99),
        Hungry(6, log),
        Hungry(7, log, megabytes=1 << 20),
        Dying(8, log, deaths=99, signal=signal.SIGKILL),
        Numbered(9, log),
    ]
    in_time = [task for task in tasks if isinstance(task, Hungry)]  # filling memory takes what it takes
    outcomes = [*late.run(task for task in tasks if task not in in_time), *hungry.run(in_time)]
    found = {outcome.task: outcome for outcome in outcomes}
    assert [found[task].value for task in tasks] == [1, 4, None, 16, None, 36, None, None, 81]
    for i, words in (
        (2, r"entries 3 to 4: the reader crashed \(SIGSEGV\) \(2 attempts\)"),
        (4, r"entries 5 to 6: the reader was not done after 3 s \(2 attempts\)"),
        (6, "entries 7 to 8: not enough memory, not even in the smallest pieces"),
        (7, r"entries 8 to 9: the reader was killed \(SIGKILL\), as the system does without memory"),
    ):
        with pytest.raises(WorkerError, match=rf"(?s){words}.*file: +a.root.*tree: +jets.*remedy:"):
            found[tasks[i]].result()


def test_workers_end_when_nobody_waits_for_them(log: Path) -> None:
    outcomes = Processes(1).run([Numbered(1, log), Stalling(2, log)])
    next(outcomes)
    pid = int(log.read_text().split()[1])
    outcomes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_end_with_a_killed_parent(log: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.core.engine_tasks import Stalling\n"
        "from fivesigma.core.processes import Processes\n"
        "if __name__ == '__main__':\n    list(Processes(1).run([Stalling(1, Path(sys.argv[1]))]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(log)])
    while not (log.exists() and log.read_text().endswith("\n")):
        assert parent.poll() is None, "the parent ended before its worker began"
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    pid = int(log.read_text().split()[1])
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent by ten seconds")


def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom tests.core.engine_tasks import Numbered\n"
        "from fivesigma.core.processes import Processes\nlist(Processes(1).run([Numbered(1, Path('log'))]))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.returncode == 1
    assert "a worker process could not start (ended with status 1)" in done.stderr
    assert 'needs `if __name__ == "__main__":`' in done.stderr


def test_options_that_cannot_be_meant() -> None:
    with pytest.raises(ConfigError, match="expected at least 1 worker"):
        Processes(0)
    with pytest.raises(ConfigError, match="deadline above 0 s"):
        Processes(1, deadline_s=0)
