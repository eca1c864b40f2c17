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
from tests.dataset.test_convert import changed, folder_bytes

from fivesigma.core.engine import Engine, InProcess, Outcome, Task
from fivesigma.core.errors import ConfigError, FileFormatError, WorkerError
from fivesigma.core.processes import Processes
from fivesigma.dataset import Conversion, Dataset, convert, scan_inputs
from fivesigma.dataset.entry_range import EntryRange

JetWriter = Callable[..., Path]


@dataclass(frozen=True)
class FirstAttemptDies(Task[Any]):
    """A task whose first process is killed: after the work, before anybody hears of it."""

    number: int
    task: Task[Any]
    mark: Path
    again: bool = False  # also every other attempt

    @property
    def place(self) -> Any:
        return self.task.place

    def run(self) -> Any:
        value = self.task.run()
        if self.again or not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return value


@dataclass(frozen=True)
class Killing:
    """Gives tasks to another engine in the opposite order; some conversions are killed, once or always."""

    engine: Engine
    folder: Path
    chosen: Callable[[EntryRange], bool] = lambda task: True
    always: bool = False

    def run(self, tasks: Any) -> Any:
        given = list(tasks)
        wrapped = [
            FirstAttemptDies(i, task, self.folder / f"{i}.died", self.always)
            if isinstance(task, EntryRange) and self.chosen(task)
            else task
            for i, task in enumerate(given)
        ]
        for outcome in self.engine.run(wrapped[::-1]):
            task = outcome.task.task if isinstance(outcome.task, FirstAttemptDies) else outcome.task
            yield Outcome(task, outcome.value, outcome.error)


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
