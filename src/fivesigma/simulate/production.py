"""Production in parts: tasks of fixed content, generated in parallel, kept on disk, resumed, read back in order."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_object
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, DatasetError, ResumeError, SimulationError
from fivesigma.core.integrity import atomic_path, write_json
from fivesigma.core.jagged import Columns, Jagged
from fivesigma.core.processes import one_thread_each
from fivesigma.core.progress import progress, say

_CONFIG_FILE = "config.json"
_SUMMARY = "summary"  # name of the JSON text inside a part
_COUNTS = "counts of "  # prefix of the lengths of a jagged column inside a part


@dataclass(frozen=True)
class Part:
    """What one task made: columns of equal length, and a JSON-like summary (seed, cross-section, counts)."""

    columns: Columns
    summary: dict[str, Any]


@dataclass(frozen=True)
class Task(ABC):
    """``n_entries`` jets or events of one ``process``; the content depends on the task, never on who runs it."""

    process: str
    index: int
    n_entries: int

    @property
    def file_name(self) -> str:
        """Name of the part's file."""
        return f"{self.process}-{self.index:05d}-{self.n_entries}.npz"

    @abstractmethod
    def generate(self) -> Part:
        """Make the part; runs in a worker process."""


def produce(
    tasks: Sequence[Task],
    folder: Path,
    config: Mapping[str, Any],
    *,
    workers: int,
    description: str,
    unit: str = "entries",
) -> int:
    """Make every part that ``folder`` does not have yet, and return how many were there already.

    Parts appear under their names only when complete, so a production may be killed at any time and started again.
    The same tasks give the same parts with any number of workers. Generators run in processes of their own, which are
    silent, have one thread each, and end with this one.

    Parameters
    ----------
    tasks
        what to make, in the order in which to start
    folder
        where the parts are kept, beside ``config.json``
    config
        all that the parts depend on, JSON-like
    workers
        number of processes
    description, unit
        what progress is shown as, and of what: ``jets`` or ``events``

    Raises
    ------
    ResumeError
        if ``folder`` holds parts of another configuration; the message says what differs.
    OutputError
        if ``folder`` cannot be written to.
    SimulationError
        if a worker process dies. What a task raises is raised here.
    """
    if workers < 1:
        raise ConfigError(f"expected at least one worker, got {workers}")
    check_config(folder, config)
    missing = [task for task in tasks if not (folder / task.file_name).exists()]
    n_found = len(tasks) - len(missing)
    if n_found:
        say(f"{description}: {n_found} of {len(tasks)} parts are already in {folder}")
    if missing:
        with progress(sum(task.n_entries for task in missing), description, unit=unit) as advance:
            for task in _in_processes(missing, folder, min(workers, len(missing))):
                advance(task.n_entries)
    return n_found


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config`` to a new folder; in an old one, compare it with what is there.

    Raises
    ------
    ResumeError
        if they differ, naming every setting that does.
    """
    path = folder / _CONFIG_FILE
    config = json.loads(json.dumps(config))
    if not path.exists():
        if folder.exists() and any(folder.glob("*.npz")):
            raise ResumeError(f"{folder} holds parts, but no {_CONFIG_FILE} that says what they are; remove the folder")
        write_json(path, config)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResumeError(f"{path} is damaged ({error}); remove {folder} to start again") from error
    if found != config:
        raise ResumeError(
            f"the parts in {folder} were made with another configuration:\n  "
            + "\n  ".join(differences(found, config))
            + "\nchoose another output, go back to those settings, or remove the folder to start again"
        )


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """What differs between two JSON-like values, one line each.

    >>> differences({"seed": 1, "cuts": {"pt": 250}}, {"seed": 2, "cuts": {"pt": 250}})
    ['seed: found 1, asked for 2']
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines: list[str] = []
        for key in dict.fromkeys([*found, *wanted]):
            lines += differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        return lines
    return [] if found == wanted else [f"{name}: found {json.dumps(found)}, asked for {json.dumps(wanted)}"]


def read_parts(tasks: Sequence[Task], folder: Path) -> Iterator[Part]:
    """The parts of the tasks, one after another, in their order.

    Raises
    ------
    DatasetError
        if a part is missing or damaged (the checksums inside are verified); delete it and run again.
    """
    for task in tasks:
        part = read_part(folder / task.file_name)
        for name, column in part.columns.items():
            if len(column) != task.n_entries:
                raise DatasetError(
                    f"{folder / task.file_name}: expected {task.n_entries} entries, column {name!r} has {len(column)}; "
                    "delete the file and run again"
                )
        yield part


def write_part(path: Path, part: Part) -> None:
    """Write a part as compressed npz, atomically; nothing in it is pickled."""
    arrays: dict[str, NDArray[Any]] = {_SUMMARY: np.array(json.dumps(part.summary))}
    for name, column in part.columns.items():
        if isinstance(column, Jagged):
            arrays[name] = column.values
            arrays[_COUNTS + name] = column.counts.astype(np.int32)
        else:
            arrays[name] = column
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_part(path: Path) -> Part:
    """Read back what ``write_part`` wrote.

    Raises
    ------
    DatasetError
        if the file is missing or damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        summary = json.loads(str(content.pop(_SUMMARY)))
        columns: dict[str, NDArray[Any] | Jagged] = {}
        for name in [n for n in content if not n.startswith(_COUNTS)]:
            counts = content.get(_COUNTS + name)
            columns[name] = content[name] if counts is None else _jagged(content[name], counts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is missing or damaged ({error}); delete it and run again") from error
    return Part(columns, summary)


def _jagged(values: NDArray[Any], counts: NDArray[Any]) -> Jagged:
    return Jagged(values, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64))


def _in_processes(tasks: Sequence[Task], folder: Path, workers: int) -> Iterator[Task]:
    """Run tasks in processes, at most ``workers`` at a time; yield each when its part is on disk."""
    context = multiprocessing.get_context("spawn")
    waiting, running = iter(tasks), set[Future[Task]]()
    with one_thread_each(), ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            while True:
                while len(running) < workers and (task := next(waiting, None)) is not None:
                    running.add(pool.submit(_run, task, folder))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise SimulationError(
                f"a generator process died (killed, or out of memory); the parts made so far are in {folder}: "
                "run the same command again to go on, perhaps with fewer workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run(task: Task, folder: Path) -> Task:
    write_part(folder / task.file_name, task.generate())
    return task


def _start_worker() -> None:
    """Silence the banners of the generators, let Ctrl-C end the process at once, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_object([parent.sentinel])
        os._exit(1)
