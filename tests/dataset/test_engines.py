"""The same dataset, byte for byte, whoever converts it, in whatever pieces, and whatever happened to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from tests.dataset.test_convert import changed, folder_bytes

from fivesigma.core.engine import Engine, InProcess, Outcome, Task
from fivesigma.core.errors import ConfigError, FileFormatError, WorkerError
from fivesigma.core.processes import Processes
from fivesigma.dataset import Conversion, Dataset, Sample, convert, scan_inputs
from fivesigma.dataset.entry_range import EntryRange

JetWriter = Callable[..., Path]


@dataclass(frozen=True)
class FirstAttemptDies(Task[Any]):
    """A task whose first process gets a signal: after the work, before anybody hears of it."""

    number: int
    task: Task[Any]
    mark: Path
    again: bool = False  # also every other attempt
    signal: int = signal.SIGSEGV

    @property
    def place(self) -> Any:
        return self.task.place

    def run(self) -> Any:
        value = self.task.run()
        if self.again or not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), self.signal)
        return value


@dataclass(frozen=True)
class Killing:
    """Gives tasks to another engine in the opposite order; some conversions are killed, once or always."""

    engine: Engine
    folder: Path
    chosen: Callable[[EntryRange], bool] = lambda task: True
    always: bool = False
    signal: int = signal.SIGSEGV

    def run(self, tasks: Any) -> Any:
        given = list(tasks)
        wrapped = [
            FirstAttemptDies(i, task, self.folder / f"{i}.died", self.always, self.signal)
            if isinstance(task, EntryRange) and self.chosen(task)
            else task
            for i, task in enumerate(given)
        ]
        for outcome in self.engine.run(wrapped[::-1]):
            task = outcome.task.task if isinstance(outcome.task, FirstAttemptDies) else outcome.task
            yield Outcome(task, outcome.value, outcome.error)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(jets: Conversion, tmp_path: Path, workers: int) -> None:
    convert(jets, tmp_path / "whole")
    convert(jets, tmp_path / "out", engine=Processes(workers))
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_a_stalled_reader_is_refused_or_left_out_by_name(jets: Conversion, tmp_path: Path) -> None:
    """It stops, as one that waits for a disk that is gone; the file is in the list of what was left out."""
    late = Processes(1, deadline_s=3, retries=1)
    engine = Killing(late, tmp_path, lambda task: task.file == 1, always=True, signal=signal.SIGSTOP)
    with pytest.raises(
        WorkerError, match=r"entries 0 to 100: the reader was not done after 3 s \(2 attempts\)"
    ) as caught:
        convert(jets, tmp_path / "out", engine=engine)
    assert caught.value.file == jets.samples[0].files[1]
    engine = replace(engine, engine=replace(late, retries=0))
    dataset = convert(changed(jets, max_loss=0.4), tmp_path / "allowed", engine=engine)
    (skipped,) = dataset.ledger.skipped
    assert (skipped.file, skipped.entries) == (jets.samples[0].files[1], 100)
    assert "the reader was not done after 3 s" in skipped.reason
    assert [file.file for file in dataset.ledger.files] == [jets.samples[0].files[0], jets.samples[1].files[0]]


def test_processes_in_another_order_and_some_killed(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "whole")
    engine = Killing(Processes(2, deadline_s=60), tmp_path, lambda task: task.start == 0 and task.file != 1)
    convert(jets, tmp_path / "out", engine=engine)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")
    assert len(list(tmp_path.glob("*.died"))) == 2


@dataclass(frozen=True)
class InPieces:
    """Every entry range in pieces, as after memory ran out."""

    times: int

    def run(self, tasks: Any) -> Any:
        for task in tasks:
            form = replace(task, pieces=4**self.times) if isinstance(task, EntryRange) else task
            yield Outcome(task, form.run())


@pytest.mark.parametrize("times", [1, 3])
def test_read_in_pieces(jets: Conversion, tmp_path: Path, times: int) -> None:
    convert(jets, tmp_path / "whole")
    convert(jets, tmp_path / "out", engine=InPieces(times))
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_pieces_end_somewhere(jets: Conversion, tmp_path: Path) -> None:
    task = next(scan_inputs(changed(jets, step=200)).tasks(tmp_path))
    assert task.smaller() is None  # 200 entries are few
    large = replace(task, stop=100_000)
    sizes = []
    form = large.smaller()
    while form is not None:
        sizes.append(form.pieces)
        form = form.smaller()
    assert sizes == [4, 16, 64, 256]


def test_out_of_memory_is_survived_by_smaller_pieces(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fivesigma.read.events import Events

    convert(jets, tmp_path / "whole")
    many = changed(jets, step=10_000)
    convert(many, tmp_path / "expected")
    original, pieces = Events.read, []

    def read(self: Events, partition: Any, columns: Any) -> Any:
        pieces.append(len(partition))
        if len(partition) > 60:
            raise FileFormatError("cannot read: MemoryError", file="x") from MemoryError()
        return original(self, partition, columns)

    monkeypatch.setattr(Events, "read", read)
    monkeypatch.setattr("fivesigma.dataset.entry_range._MIN_PIECE", 10)
    convert(many, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "expected")
    assert set(pieces) == {200, 100, 50, 25}
    monkeypatch.setattr("fivesigma.dataset.entry_range._MIN_PIECE", 1000)
    with pytest.raises(WorkerError, match=r"(?s)entries 0 to 200: not enough memory.*w1.root.*tree: +jets"):
        convert(many, tmp_path / "refused")


@dataclass(frozen=True)
class Recorded(Task[Any]):
    """An entry range; in how many pieces it is tried is a line in a log."""

    task: EntryRange
    log: Path

    @property
    def place(self) -> Any:
        return self.task.place

    def smaller(self) -> Any:
        fewer = self.task.smaller()
        return None if fewer is None else replace(self, task=fewer)

    def run(self) -> Any:
        with open(self.log, "a") as log:
            log.write(f"{self.task.pieces}\n")
        return self.task.run()


@dataclass(frozen=True)
class Recording:
    """Gives recorded tasks to another engine."""

    engine: Engine
    log: Path

    def run(self, tasks: Any) -> Any:
        wrapped = (Recorded(task, self.log) if isinstance(task, EntryRange) else task for task in tasks)
        for outcome in self.engine.run(wrapped):
            task = outcome.task.task if isinstance(outcome.task, Recorded) else outcome.task
            yield Outcome(task, outcome.value, outcome.error)


@dataclass(frozen=True)
class DataInUse(Task[int]):
    """MiB that a process has allocated that is ready to convert."""

    events: Any

    @property
    def place(self) -> Any:
        return None

    def run(self) -> int:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        return int(line.split()[1]) >> 10


def test_a_process_that_the_system_gives_too_little_memory_reads_smaller_pieces(tmp_path: Path) -> None:
    """40 columns of 100,000 doubles, 32 MB; a process has room for half of them."""
    n, names = 100_000, tuple(f"x{i}" for i in range(40))
    numbers = np.arange(n, dtype=np.float64)
    with uproot.recreate(tmp_path / "a.root", compression=uproot.LZ4(1)) as file:
        tree = file.mktree("t", {"event": np.int64, **dict.fromkeys(names, np.float64)})
        for start in range(0, n, 5_000):
            some = numbers[start : start + 5_000]
            tree.extend({"event": some.astype(np.int64), **{name: some + i for i, name in enumerate(names)}})
    sample = Sample(name="a", files=(str(tmp_path / "a.root"),), label="event % 2")
    conversion = Conversion(samples=(sample,), columns=names, identity=("event",), selection={"few": "event < 100"})
    inputs = scan_inputs(conversion)
    (used,) = (outcome.result() for outcome in Processes(1).run([DataInUse(inputs)]))
    whole = convert(conversion, tmp_path / "whole", inputs)
    engine = Recording(Processes(1, memory_limit_mb=used + 18), tmp_path / "log")
    dataset = convert(conversion, tmp_path / "out", inputs, engine=engine)
    assert folder_bytes(dataset.path) == folder_bytes(whole.path)
    pieces = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert pieces == [4**i for i in range(len(pieces))]
    assert 1 < len(pieces) < 5


def test_a_crashing_file_is_named_and_kept_work_is_kept(jets: Conversion, tmp_path: Path) -> None:
    engine = Killing(Processes(1, retries=0), tmp_path, lambda task: task.file == 2 and task.start == 0, always=True)
    with pytest.raises(WorkerError, match=r"(?s)entries 0 to 120: the reader crashed \(SIGSEGV\).*qcd.root") as caught:
        convert(jets, tmp_path / "out", engine=engine)
    assert caught.value.tree == "jets"
    assert not (tmp_path / "out").exists()
    convert(jets, tmp_path / "out")
    convert(jets, tmp_path / "whole")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_workers_of_another_version_are_refused(jets: Conversion, tmp_path: Path) -> None:
    task = next(scan_inputs(jets).tasks(tmp_path))
    with pytest.raises(ConfigError, match="a worker runs another version of fivesigma"):
        replace(task, code="other").run()


@pytest.fixture(name="many_files")
def _many_files(jets: Conversion, write_jets: JetWriter) -> Conversion:
    """QCD of ten files of 100 entries."""
    files = [
        write_jets(f"qcd{i}.root", 100, seed=10 + i, event_number=np.arange(100 * i, 100 * i + 100)) for i in range(10)
    ]
    samples = (jets.samples[0], jets.samples[1].model_copy(update={"files": tuple(map(str, files))}))
    return jets.model_copy(update={"samples": samples})


def test_bad_files_are_refused_unless_asked_and_counted_and_bounded(many_files: Conversion, tmp_path: Path) -> None:
    bad = Path(many_files.samples[1].files[3])
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="truncated") as caught:
        convert(many_files, tmp_path / "out")
    assert caught.value.file == bad
    with pytest.raises(FileFormatError, match=r"sample 'QCD' would lose 1 of 10 files \(10 %\), allowed are 5 %"):
        convert(changed(many_files, max_loss=0.05), tmp_path / "out")
    dataset = convert(changed(many_files, max_loss=0.1), tmp_path / "out")
    (skipped,) = Dataset.open(tmp_path / "out").ledger.skipped
    assert (skipped.sample, skipped.file, skipped.entries) == ("QCD", str(bad), None)
    assert "truncated" in skipped.reason
    assert [f.entries for f in dataset.ledger.files] == [200, 100] + [100] * 9
    assert "left out: " + str(bad) in dataset.ledger.cut_flow()
    files = tuple(f for f in many_files.samples[1].files if f != str(bad))
    samples = [many_files.samples[0], {**many_files.samples[1].model_dump(), "files": files}]
    without = changed(many_files, samples=samples)
    np.testing.assert_array_equal(dataset.weight, convert(without, tmp_path / "without").weight)


def test_a_file_that_fails_while_it_is_read_is_left_out_as_a_whole(
    many_files: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = many_files.samples[1].files[3]
    small = changed(many_files, step=40, max_loss=0.1)
    original = EntryRange.run

    def run(self: EntryRange) -> Any:
        if self.name == bad and self.start == 40:
            raise FileFormatError("cannot read: basket", file=self.name, tree="jets")
        return original(self)

    monkeypatch.setattr(EntryRange, "run", run)
    with pytest.raises(FileFormatError, match=r"would lose 100 of 1,000 entries \(10 %\), allowed are 9 %"):
        convert(changed(small, max_loss=0.09), tmp_path / "out9")
    dataset = convert(small, tmp_path / "out", engine=InProcess())
    (skipped,) = dataset.ledger.skipped
    assert (skipped.file, skipped.entries) == (bad, 100)
    assert bad not in {f.file for f in dataset.ledger.files}
    origins = {dataset.origin(row)[0] for row in range(len(dataset))}
    assert origins == {*many_files.samples[0].files, *many_files.samples[1].files} - {bad}
    dataset.ledger.check()
