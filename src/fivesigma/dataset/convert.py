"""From input files to a dataset on disk: selection, variables, weights, folds, ledger, shards.

Each entry range of each input file becomes one shard, under its final name only when complete, with a marker beside it.
A killed conversion goes on where it stopped, and gives the same bytes. All of it happens in ``.<name>.partial``, which
takes the output's name last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fivesigma.core.engine import Engine, InProcess
from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    FivesigmaError,
    MissingDependencyError,
    NoEventsError,
    OutputError,
    ResumeError,
)
from fivesigma.core.integrity import write_json
from fivesigma.core.progress import progress, say
from fivesigma.dataset.dataset import DESCRIPTION, SHARDS, ColumnSchema, Dataset, Role, seal
from fivesigma.dataset.duplicates import refuse_repeated_content, refuse_repeated_rows
from fivesigma.dataset.entry_range import EntryRange, Marker, ledger_of
from fivesigma.dataset.inputs import BAD_FILE, Inputs, refuse_loss, scan_inputs
from fivesigma.dataset.ledger import Count, FileLedger, Ledger, SkippedFile, Stage, merge_ranges, merge_stages, total
from fivesigma.dataset.samples import FORMAT_VERSION, Conversion
from fivesigma.dataset.shards import Shard

CONFIGURATION = "conversion.json"
_MAX_DIFFERENCES = 10  # lines of a changed configuration that are shown
# The same command may succeed later, when the disk has room, the file is back, the cluster up: what is done is kept.
_MAY_GO_ON = (ResumeError, OutputError, *BAD_FILE, ConfigError, MissingDependencyError)


def convert(
    conversion: Conversion, output: str | Path, inputs: Inputs | None = None, *, engine: Engine | None = None
) -> Dataset:
    """Convert, or open what is already converted of the same configuration and input.

    Parameters
    ----------
    conversion
        see `fivesigma.dataset.Conversion`.
    output
        the dataset's folder; it appears when it is complete.
    inputs
        what `scan_inputs` gave for this conversion, if it was called before.
    engine
        who does the work: `InProcess` (the default), `Processes`, `DaskCluster`. The dataset is the same, byte for byte.

    Raises
    ------
    FivesigmaError
        what `scan_inputs` raises; `NoEventsError` (with the cut-flow) if nothing passes or a class is missing;
        `InputError` for values or weights that are not finite; `WorkerError` if a file crashes or stalls its reader;
        `SplitError` for repeated events; `LedgerError`.
    ResumeError
        if ``output`` holds, or a killed conversion into it was of, another configuration: the difference is shown.
    OutputError
        if ``output`` cannot be written, or another process is converting into it.
    """
    output, engine = Path(output), engine or InProcess()
    inputs = scan_inputs(conversion, engine) if inputs is None else inputs
    if output.exists():
        return _open_finished(output, inputs)
    partial = output.with_name(f".{output.name}.partial")
    with _only_writer(partial):
        if output.exists():  # another writer finished while we waited for the lock
            return _open_finished(output, inputs)
        try:
            _start_or_resume(partial, inputs)
            _finish(partial, inputs, *_convert_all(partial, inputs, engine))
        except _MAY_GO_ON:
            raise
        except FivesigmaError:
            # The input or the configuration is at fault, so the next run will be another one: leave nothing behind.
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _give_final_name(partial, output)
    return Dataset.open(output)


@contextmanager
def _only_writer(partial: Path) -> Iterator[None]:
    """Lock the folder; the operating system gives the lock back whatever happens to us."""
    lock = partial.with_name(f"{partial.name}.lock")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w")  # noqa: SIM115  closed by the `with` below
    except OSError as error:
        raise OutputError(f"cannot write {lock}: {error.strerror or error}; choose another output folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _other_writer(partial) from error
        if not _still_there(lock, file):  # whoever had the lock removed it after we opened it
            raise _other_writer(partial)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _other_writer(partial: Path) -> OutputError:
    return OutputError(f"another process is converting into {partial}; wait for it, or choose another folder")


def _still_there(lock: Path, file: TextIO) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.stat(), os.fstat(file.fileno()))
    return False


def _configuration(inputs: Inputs) -> dict[str, Any]:
    return {"config_hash": inputs.config_hash, **inputs.configuration()}


def _open_finished(output: Path, inputs: Inputs) -> Dataset:
    dataset = Dataset.open(output)
    if dataset.config_hash != inputs.config_hash:
        stored = {"conversion": dataset.conversion, "inputs": dataset.inputs, "code": dataset.code}
        raise ResumeError(_changed(output, stored, _configuration(inputs)))
    return dataset


def _start_or_resume(partial: Path, inputs: Inputs) -> None:
    path = partial / CONFIGURATION
    if not path.exists():
        write_json(path, _configuration(inputs))
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResumeError(f"cannot read {path}: {error}; delete {partial} to start again") from error
    if stored["config_hash"] != inputs.config_hash:
        raise ResumeError(_changed(partial, stored, _configuration(inputs)))


def _changed(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = _flattened(stored), _flattened(now)
    keys = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k) and k != "config_hash"]
    lines = [f"  {k}: {before.get(k, 'absent')!r} there, {after.get(k, 'absent')!r} now" for k in keys]
    more = [f"  and {len(lines) - _MAX_DIFFERENCES} more"] if len(lines) > _MAX_DIFFERENCES else []
    shown = "\n".join([*lines[:_MAX_DIFFERENCES], *more])
    return f"{folder} was made with another configuration, input or code:\n{shown}\nDelete it, or choose another output folder"


def _flattened(content: Any, key: str = "") -> dict[str, Any]:
    if isinstance(content, Mapping):
        items = [(f"{key}.{name}" if key else str(name), value) for name, value in content.items()]
    elif isinstance(content, list | tuple):
        items = [(f"{key}[{i}]", value) for i, value in enumerate(content)]
    else:
        return {key: content}
    return {k: v for name, value in items for k, v in _flattened(value, name).items()}


def _convert_all(
    partial: Path, inputs: Inputs, engine: Engine
) -> tuple[dict[int, list[Marker]], tuple[SkippedFile, ...]]:
    """Make every shard that is not there; markers of each input file in the order of entries, and files left out."""
    for leftover in partial.rglob(".*.partial"):  # of a process that was killed while it wrote
        leftover.unlink(missing_ok=True)
    done: dict[int, dict[int, Marker]] = {}
    bad: dict[int, SkippedFile] = {}
    with progress(inputs.entries, "converting") as advance, closing(engine.run(inputs.tasks(partial))) as outcomes:
        for outcome in outcomes:
            task = outcome.task
            assert isinstance(task, EntryRange)
            if outcome.error is None:
                done.setdefault(task.file, {})[task.start] = outcome.result()
            elif inputs.conversion.max_loss is None or not isinstance(outcome.error, BAD_FILE):
                raise outcome.error
            elif task.file not in bad:
                bad[task.file] = _skip(inputs, task, outcome.error)
                sample = inputs.conversion.samples[task.sample]
                refuse_loss(
                    inputs.conversion, sample, inputs.events[task.sample].files, (*inputs.skipped, *bad.values())
                )
            advance(len(task))
    markers = {file: [ranges[start] for start in sorted(ranges)] for file, ranges in done.items() if file not in bad}
    return dict(sorted(markers.items())), (*inputs.skipped, *(bad[file] for file in sorted(bad)))


def _skip(inputs: Inputs, task: EntryRange, error: FivesigmaError) -> SkippedFile:
    file, sample = task.events.files[0], inputs.conversion.samples[task.sample].name
    say(f"left out: {task.name}: {str(error).splitlines()[0]}")
    return SkippedFile(sample, task.name, file.tree, file.entries, str(error))


def _finish(
    partial: Path, inputs: Inputs, by_file: Mapping[int, Sequence[Marker]], skipped: tuple[SkippedFile, ...]
) -> None:
    """Put the shards together, check everything, write the description. Only markers and descriptions are in memory."""
    conversion = inputs.conversion
    markers = [marker for ranges in by_file.values() for marker in ranges]
    shards = [Shard.from_json(marker["shard"]) for marker in markers]
    ledger = Ledger(_file_ledgers(inputs, markers, skipped), skipped=skipped)
    if not any(file.selected.events for file in ledger.files):
        raise NoEventsError(f"no events are left after the cuts:\n{ledger.cut_flow()}", remedy="loosen the cuts")
    stages = [[Stage.from_json(stage) for stage in marker["stages"]] for marker in markers]
    merged = tuple(merge_stages(stage) for stage in zip(*stages, strict=True))
    ledger = Ledger(ledger.files, merged, skipped)
    _refuse_missing_class(ledger, conversion)
    ledger.check()
    content = {
        "format": FORMAT_VERSION,
        **_configuration(inputs),
        "n_folds": conversion.n_folds,
        "samples": [sample.name for sample in conversion.samples],
        "files": [str(file.path) for file in inputs.files],
        "columns": [vars(column) for column in _schema(conversion, shards)],
        "ledger": ledger.to_json(),
        "shards": [shard.to_json() for shard in shards if shard.rows],
    }
    dataset = Dataset(partial, content)
    row = conversion.row or conversion.identity
    refuse_repeated_rows(dataset, row, hashed=row == conversion.identity)
    if conversion.duplicates == "error":
        refuse_repeated_content(dataset)
    write_json(partial / DESCRIPTION, seal(content))


def _file_ledgers(inputs: Inputs, markers: Sequence[Marker], skipped: Sequence[SkippedFile]) -> tuple[FileLedger, ...]:
    """Ledgers of all files in order, but those left out; those without entries have one of zeros."""
    empty = []
    left_out = {(file.sample, file.file, file.tree) for file in skipped}
    for sample, events in zip(inputs.conversion.samples, inputs.events, strict=True):
        zero = {name: Count() for name in inputs.conversion.cuts_of(sample)}
        for file in events.files:
            if (sample.name, str(file.path), file.tree) not in left_out:
                where = (str(file.path), file.tree, sample.name, file.xxh3, file.entries)
                empty.append(FileLedger(*where, Count(), zero, Count(), Count()))
    found = {(f.sample, f.file, f.tree): f for f in merge_ranges([ledger_of(marker) for marker in markers])}
    return tuple(found.get((f.sample, f.file, f.tree), f) for f in empty)


def _schema(conversion: Conversion, shards: Sequence[Shard]) -> list[ColumnSchema]:
    columns = []
    for name in conversion.kept:
        kinds = {_kind(shard, name): shard.name for shard in shards}
        if len(kinds) > 1:
            found = ", ".join(
                f"{'jagged ' if jagged else ''}{dtype} in {where}" for (dtype, jagged), where in kinds.items()
            )
            raise BranchTypeError(
                f"the column has several types: {found}", branch=name, remedy="declare its type in `dtypes`"
            )
        ((dtype, jagged),) = kinds
        role: Role = "input" if name in conversion.columns else "observer"
        if role == "observer" and name not in conversion.observers:
            role = "identity"
        columns.append(ColumnSchema(name, dtype, jagged, role))
    return columns


def _kind(shard: Shard, name: str) -> tuple[str, bool]:
    """Type of a column in a shard, and whether it is jagged."""
    flat = shard.arrays.get(f"column:{name}")
    place = flat or shard.arrays[f"column:{name}/values"]
    return np.dtype(place.dtype).name, flat is None


def _refuse_missing_class(ledger: Ledger, conversion: Conversion) -> None:
    if conversion.unlabelled:
        return
    samples = ", ".join(sample.name for sample in conversion.samples)
    for label, name in ((0, "background"), (1, "signal")):
        if not total(part.count for part in ledger.stages[0].parts if part.label == label).events:
            raise NoEventsError(
                f"no event has label {label} ({name}); samples: {samples}\n{ledger.cut_flow()}",
                remedy="add a sample of this label, or loosen the cuts on it",
            )


def _give_final_name(partial: Path, output: Path) -> None:
    listed = {shard["name"] for shard in json.loads((partial / DESCRIPTION).read_text(encoding="utf-8"))["shards"]}
    for file in (partial / SHARDS).iterdir():
        if file.name not in listed:  # markers, and shards without rows
            file.unlink()
    (partial / CONFIGURATION).unlink()
    try:
        os.replace(partial, output)
    except OSError as error:
        raise OutputError(f"cannot rename {partial} to {output}: {error.strerror or error}") from error
