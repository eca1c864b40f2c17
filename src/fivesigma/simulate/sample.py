"""A sample from its plan: parts made in parallel, added up, written into one ROOT file with its metadata beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from fivesigma.core.errors import ConfigError, OutputError
from fivesigma.core.integrity import file_digest, write_json
from fivesigma.core.jagged import Columns, Jagged
from fivesigma.core.progress import say
from fivesigma.core.provenance import provenance
from fivesigma.core.registry import unknown_name
from fivesigma.simulate.production import Task, produce, read_parts
from fivesigma.simulate.pythia import CrossSection
from fivesigma.simulate.root_file import FileFormat, write_root
from fivesigma.simulate.simulation import SimulatedClass, SimulationResult

EVENTS_PER_TASK = 10_000_000
"""``event_number`` = (10,000 label + task) · 10,000,000 + event: unique in a sample, shared by the jets of an event."""
TASKS_PER_CLASS = 10_000
ENTRIES_PER_BASKET = 5_000
MAX_SEED = 2**31 - 1
"""The seed is stored as ``run_number``, int32, so that events of samples with different seeds stay different."""

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class SamplePlan:
    """What a sample will be.

    ``entry`` is what one entry of ``tree`` is, ``jets`` or ``events``; ``labels`` gives the classes in the order of the
    file, ``entries`` their sizes; ``config`` is all that the parts depend on, JSON-like.
    """

    simulation: str
    tree: str
    entry: str
    labels: Mapping[str, int]
    entries: Mapping[str, int]
    tasks: Sequence[Task]
    config: Mapping[str, Any]
    seed: int
    file_format: FileFormat

    @property
    def request(self) -> dict[str, Any]:
        """What tells whether a finished file is this very sample."""
        return {"configuration": dict(self.config), self.entry: dict(self.entries), "format": self.file_format}


def make_sample(
    plan: SamplePlan, output: Path, *, command: str, workers: int | None, keep_parts: bool = False
) -> SimulationResult:
    """Make the sample that ``plan`` describes, or find it made.

    Finished parts are kept in ``<output>.parts``, so a killed run continues; when the file is complete they are removed
    (unless ``keep_parts``). A finished sample of the same plan is left as it is.

    Raises
    ------
    ResumeError
        if ``<output>.parts`` holds parts of another configuration.
    OutputError
        if ``output`` exists and is not this very sample, or cannot be written.
    """
    folder, metadata_path = output.with_name(output.name + ".parts"), output.with_suffix(".json")
    if (finished := _finished(output, metadata_path, folder, plan.request)) is not None:
        say(f"{output} is complete already")
        return SimulationResult(plan.simulation, output, metadata_path, finished, len(plan.tasks), len(plan.tasks))

    workers = processors() if workers is None else workers
    description = f"simulate {plan.simulation}"
    resumed = produce(plan.tasks, folder, plan.config, workers=workers, description=description, unit=plan.entry)
    say(f"writing {output}")
    order = list(plan.labels)
    tasks = sorted(plan.tasks, key=lambda task: (order.index(task.process), task.index))
    classes = _classes(tasks, folder, plan.labels)
    write_root(output, plan.tree, _blocks(tasks, folder, classes, plan.seed), plan.file_format)
    write_json(metadata_path, _metadata(plan, output, command, classes))
    if not keep_parts:
        shutil.rmtree(folder)
    return SimulationResult(plan.simulation, output, metadata_path, tuple(classes.values()), len(tasks), resumed)


def cut_into_tasks(entries: Mapping[str, int], per_task: int, make: Callable[[str, int, int], T]) -> list[T]:
    """The tasks of a sample, all classes advancing in proportion; a larger sample has the same full parts.

    ``make`` takes the class, the index of the part in its class, and the number of entries of the part.
    """
    tasks = [
        (start / number, make(name, index, min(per_task, number - start)))
        for name, number in entries.items()
        for index, start in enumerate(range(0, number, per_task))
    ]
    return [task for _, task in sorted(tasks, key=lambda pair: pair[0])]


def check_request(output: Path, entries: Mapping[str, int], per_task: int, seed: int, file_format: str) -> None:
    """Refuse numbers that cannot be meant.

    Raises
    ------
    ConfigError
        naming the one that is wrong and what is expected.
    """
    if output.suffix != ".root":
        raise ConfigError(f"expected an output that ends in .root, got {output}")
    if file_format not in get_args(FileFormat):
        raise ConfigError(unknown_name("file format", file_format, get_args(FileFormat)))
    limit = TASKS_PER_CLASS * per_task
    for name, number in entries.items():
        if not 0 <= number <= limit:
            raise ConfigError(f"expected n_{name} from 0 to {limit:,}, got {number:,}")
    if sum(entries.values()) == 0:
        raise ConfigError(f"asked for nothing at all: give {' or '.join('n_' + name for name in entries)}")
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"expected a seed from 0 to {MAX_SEED}, got {seed}")


def default_command(plan: SamplePlan, output: Path, multiparton: bool, *more: str) -> str:
    """The command line that makes a sample; ``more`` are the options of one simulation alone."""
    words = [f"fivesigma simulate {plan.simulation}", f"--output {output.name}"]
    words += [f"--n-{name} {number}" for name, number in plan.entries.items()]
    words += [f"--seed {plan.seed}", *more]
    words += [] if plan.file_format == "ttree" else [f"--format {plan.file_format}"]
    words += [] if multiparton else ["--no-multiparton"]
    return " ".join(words)


def part_summary(seed: int, sigma: CrossSection, ledger: Any) -> dict[str, Any]:
    """The summary of a part that ``make_sample`` adds up; ``ledger`` is a dataclass with ``events`` and ``accepted``."""
    return {
        "pythia_seed": seed,
        "cross_section_pb": sigma.value,
        "cross_section_error_pb": sigma.error,
        "cross_section_events": sigma.n_events,
        "ledger": asdict(ledger),
    }


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def join(columns: Sequence[Any]) -> Any:
    """One column from the pieces of several batches, flat or jagged."""
    return Jagged.concatenate(columns) if isinstance(columns[0], Jagged) else np.concatenate(columns)


def _finished(
    output: Path, metadata_path: Path, folder: Path, request: dict[str, Any]
) -> tuple[SimulatedClass, ...] | None:
    """The classes of a sample that an earlier run completed, or None; an error if another file is in the way."""
    if not output.exists() or (not metadata_path.exists() and folder.exists()):
        return None
    try:
        metadata = json.loads(metadata_path.read_text(encoding="utf-8"))
        classes = tuple(SimulatedClass(**entry) for entry in metadata["classes"])
        same = metadata["request"] == request and metadata["file"]["xxh3"] == file_digest(output)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise OutputError(f"{output} exists and is not the sample asked for; choose another output, or remove it")
    return classes


def _classes(tasks: Sequence[Task], folder: Path, labels: Mapping[str, int]) -> dict[str, SimulatedClass]:
    """Add up the summaries of all parts: cross-sections weighted by the events that estimated them, and ledgers."""
    summaries: dict[str, list[dict[str, Any]]] = {}
    entries: dict[str, int] = {}
    for task, part in zip(tasks, read_parts(tasks, folder), strict=True):
        summaries.setdefault(task.process, []).append(part.summary)
        entries[task.process] = entries.get(task.process, 0) + task.n_entries
    classes = {}
    for name, parts in summaries.items():
        events = np.array([part["cross_section_events"] for part in parts], dtype=np.float64)
        values = np.array([part["cross_section_pb"] for part in parts])
        errors = np.array([part["cross_section_error_pb"] for part in parts])
        ledger = {key: sum(part["ledger"][key] for part in parts) for key in parts[0]["ledger"]}
        sigma = float(np.sum(events * values) / events.sum())
        classes[name] = SimulatedClass(
            name=name,
            label=labels[name],
            entries=entries[name],
            cross_section=sigma,
            cross_section_error=float(sqrt(np.sum((events * errors) ** 2)) / events.sum()),
            accepted_cross_section=sigma * ledger["accepted"] / ledger["events"],
            ledger=ledger,
        )
    return classes


def _blocks(tasks: Sequence[Task], folder: Path, classes: dict[str, SimulatedClass], seed: int) -> Iterator[Columns]:
    """The parts' columns with those that only the whole sample knows, a basket at a time."""
    pending: list[Columns] = []
    for task, part in zip(tasks, read_parts(tasks, folder), strict=True):
        known = dict(part.columns)
        first = {"run_number": np.full(task.n_entries, seed, dtype=np.int32)}
        cross = {"cross_section": np.full(task.n_entries, classes[task.process].cross_section)}
        pending.append(first | known | cross)
        if sum(len(block["label"]) for block in pending) >= ENTRIES_PER_BASKET:
            yield {name: join([block[name] for block in pending]) for name in pending[0]}
            pending = []
    if pending:
        yield {name: join([block[name] for block in pending]) for name in pending[0]}


def _metadata(plan: SamplePlan, output: Path, command: str, classes: dict[str, SimulatedClass]) -> dict[str, Any]:
    return {
        "file": {
            "name": output.name,
            "tree": plan.tree,
            "entries": sum(c.entries for c in classes.values()),
            "bytes": output.stat().st_size,
            "xxh3": file_digest(output),
        },
        **provenance(plan.seed, command),
        "classes": [asdict(c) for c in classes.values()],
        "request": plan.request,
    }
