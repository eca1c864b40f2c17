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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    FileFormatError,
    FivesigmaError,
    NoEventsError,
    OutputError,
    ResumeError,
)
from fivesigma.core.integrity import write_json
from fivesigma.core.progress import progress
from fivesigma.dataset.dataset import DESCRIPTION, SHARDS, ColumnSchema, Dataset, Role, seal
from fivesigma.dataset.duplicates import identity_columns, refuse_repeated_content, refuse_repeated_rows
from fivesigma.dataset.ledger import Count, FileLedger, Ledger, merge_ranges
from fivesigma.dataset.rows import select_rows
from fivesigma.dataset.samples import FORMAT_VERSION, Conversion, Sample, hash_of
from fivesigma.dataset.shards import Shard, fault_of, read_done, write_done, write_shard
from fivesigma.read.events import Events, Partition, open_events, refuse_duplicates
from fivesigma.read.schema import Branch

CONFIGURATION = "conversion.json"
_MAX_DIFFERENCES = 10  # lines of a changed configuration that are shown


@dataclass(frozen=True)
class Inputs:
    """The scanned files of every sample, and the hash of configuration and content."""

    conversion: Conversion
    events: tuple[Events, ...]

    @property
    def config_hash(self) -> str:
        """Digest of the configuration and of every byte of input, not of where the files are."""
        return hash_of(self.conversion, self.content)

    @property
    def content(self) -> list[dict[str, Any]]:
        """What the input is: for every file in order sample, tree, entries, digest."""
        return [
            {"sample": sample.name, "tree": file.tree, "entries": file.entries, "xxh3": file.xxh3}
            for sample, events in zip(self.conversion.samples, self.events, strict=True)
            for file in events.files
        ]

    def partitions(self) -> Iterator[tuple[int, Sample, Partition]]:
        """Entry ranges in the order of the dataset's rows."""
        for index, (sample, events) in enumerate(zip(self.conversion.samples, self.events, strict=True)):
            for partition in events.partitions(self.conversion.step):
                yield index, sample, partition


def scan_inputs(conversion: Conversion) -> Inputs:
    """Scan all files and check that they have what the conversion needs; nothing is converted.

    Raises
    ------
    FileFormatError, DuplicateInputError, NoEventsError, ConfigError
        see `fivesigma.read.open_events`.
    MissingBranchError, BranchTypeError
        if a file lacks a branch, or has it in another type.
    ExpressionError
        for an expression outside the grammar.
    """
    conversion.check_names()
    for sample in conversion.samples:
        conversion.branches_of(sample)  # parses every expression before a file is opened
    events = tuple(open_events(sample.files, sample.tree or conversion.tree) for sample in conversion.samples)
    refuse_duplicates([file for e in events for file in e.files])
    first: dict[str, tuple[Branch, str]] = {}
    for sample, found in zip(conversion.samples, events, strict=True):
        _refuse_shadowing(conversion, found)
        for name, branch in found.require(conversion.branches_of(sample)).items():
            other, where = first.setdefault(name, (branch, sample.name))
            if branch != other and name in conversion.kept:
                raise BranchTypeError(
                    f"{branch} in sample {sample.name!r}, but {other} in sample {where!r}",
                    file=found.files[0].path,
                    tree=found.files[0].tree,
                    branch=name,
                    remedy="write them with one type, or keep a new variable made of it (always 64 bits) instead",
                )
    return Inputs(conversion, events)


def _refuse_shadowing(conversion: Conversion, events: Events) -> None:
    for file in events.files:
        for name in conversion.new_variables:
            if name in file.branches:
                raise ConfigError(
                    f"the new variable {name!r} is already a branch of {file.path} ({file.tree}): rename it"
                )


def convert(conversion: Conversion, output: str | Path, inputs: Inputs | None = None) -> Dataset:
    """Convert, or open what is already converted of the same configuration and input.

    Parameters
    ----------
    conversion
        see `fivesigma.dataset.Conversion`.
    output
        the dataset's folder; it appears when it is complete.
    inputs
        what `scan_inputs` gave for this conversion, if it was called before.

    Raises
    ------
    FivesigmaError
        what `scan_inputs` raises; `NoEventsError` (with the cut-flow) if nothing passes or a class is missing;
        `InputError` for values or weights that are not finite; `SplitError` for repeated events; `LedgerError`.
    ResumeError
        if ``output`` holds, or a killed conversion into it was of, another configuration: the difference is shown.
    OutputError
        if ``output`` cannot be written, or another process is converting into it.
    """
    output = Path(output)
    inputs = scan_inputs(conversion) if inputs is None else inputs
    if output.exists():
        return _open_finished(output, inputs)
    partial = output.with_name(f".{output.name}.partial")
    with _only_writer(partial):
        if output.exists():  # another writer finished while we waited for the lock
            return _open_finished(output, inputs)
        try:
            _start_or_resume(partial, inputs)
            _convert_all(partial, inputs)
            _finish(partial, inputs)
        except (ResumeError, OutputError, FileFormatError):
            raise  # the disk may have room, the file be back, when the next run goes on from here
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
            raise OutputError(
                f"another process is converting into {partial}; wait for it, or choose another folder"
            ) from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _configuration(inputs: Inputs) -> dict[str, Any]:
    return {
        "config_hash": inputs.config_hash,
        "conversion": inputs.conversion.description(),
        "inputs": inputs.content,
    }


def _open_finished(output: Path, inputs: Inputs) -> Dataset:
    dataset = Dataset.open(output)
    if dataset.config_hash != inputs.config_hash:
        stored = {"conversion": dataset.conversion, "inputs": dataset.inputs}
        raise ResumeError(_changed(output, stored, _configuration(inputs)))
    return dataset


def _start_or_resume(partial: Path, inputs: Inputs) -> None:
    path = partial / CONFIGURATION
    if not path.exists():
        write_json(path, _configuration(inputs))
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["config_hash"] != inputs.config_hash:
        raise ResumeError(_changed(partial, stored, _configuration(inputs)))


def _changed(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = _flattened(stored), _flattened(now)
    keys = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k) and k != "config_hash"]
    lines = [f"  {k}: {before.get(k, 'absent')!r} there, {after.get(k, 'absent')!r} now" for k in keys]
    more = [f"  and {len(lines) - _MAX_DIFFERENCES} more"] if len(lines) > _MAX_DIFFERENCES else []
    shown = "\n".join([*lines[:_MAX_DIFFERENCES], *more])
    return (
        f"{folder} was made with another configuration or input:\n{shown}\nDelete it, or choose another output folder"
    )


def _flattened(content: Any, key: str = "") -> dict[str, Any]:
    if isinstance(content, Mapping):
        items = [(f"{key}.{name}" if key else str(name), value) for name, value in content.items()]
    elif isinstance(content, list | tuple):
        items = [(f"{key}[{i}]", value) for i, value in enumerate(content)]
    else:
        return {key: content}
    return {k: v for name, value in items for k, v in _flattened(value, name).items()}


def _convert_all(partial: Path, inputs: Inputs) -> None:
    for leftover in partial.rglob(".*.partial"):  # of a process that was killed while it wrote
        leftover.unlink()
    with progress(sum(e.entries for e in inputs.events), "converting") as advance:
        for number, (index, sample, partition) in enumerate(inputs.partitions()):
            if _finished_shard(partial, number, inputs.config_hash) is None:
                _convert_one(partial, number, inputs, index, sample, partition)
            advance(len(partition))


def _shard_path(partial: Path, number: int) -> Path:
    return partial / SHARDS / f"{number:06d}.bin"


def _finished_shard(partial: Path, number: int, config_hash: str) -> dict[str, Any] | None:
    """The marker of a shard that is complete, and whose bytes are as they were written."""
    path = _shard_path(partial, number)
    done = read_done(path.with_suffix(".json"), config_hash)
    if done is None or fault_of(path.parent, Shard.from_json(done["shard"])) is not None:
        return None
    return done


def _convert_one(partial: Path, number: int, inputs: Inputs, index: int, sample: Sample, partition: Partition) -> None:
    branches = inputs.conversion.branches_of(sample)
    columns = inputs.events[index].read(partition, branches)
    files = [file.path for events in inputs.events for file in events.files]
    rows, ledger = select_rows(inputs.conversion, sample, partition, columns)
    n = len(rows["y"])
    rows["sample"] = np.full(n, index, dtype=np.int16)
    rows["file"] = np.full(n, files.index(partition.file.path), dtype=np.int32)
    path = _shard_path(partial, number)
    shard = write_shard(path, rows)
    write_done(path.with_suffix(".json"), shard, inputs.config_hash, {"ledger": ledger.to_json()})


def _finish(partial: Path, inputs: Inputs) -> None:
    """Put the shards together, check everything, write the description."""
    done = [
        marker
        for number, _ in enumerate(inputs.partitions())
        if (marker := _finished_shard(partial, number, inputs.config_hash)) is not None
    ]
    conversion = inputs.conversion
    ledger = Ledger(_file_ledgers(inputs, [FileLedger.from_json(marker["ledger"]) for marker in done]))
    if not any(file.selected.events for file in ledger.files):
        raise NoEventsError(f"no events are left after the cuts:\n{ledger.cut_flow()}", remedy="loosen the cuts")
    shards = [Shard.from_json(marker["shard"]) for marker in done]
    content = {
        "format": FORMAT_VERSION,
        **_configuration(inputs),
        "n_folds": conversion.n_folds,
        "samples": [sample.name for sample in conversion.samples],
        "files": [str(file.path) for events in inputs.events for file in events.files],
        "columns": [vars(column) for column in _schema(conversion, shards[0])],
        "ledger": ledger.to_json(),
        "shards": [shard.to_json() for shard in shards if shard.rows],
    }
    dataset = Dataset(partial, content)
    _refuse_missing_class(dataset)
    _refuse_duplicates(dataset, conversion)
    y, weight = dataset.y, dataset.weight
    samples = {name: dataset.sample == i for i, name in enumerate(dataset.samples)}
    ledger = ledger.with_stage("sample", samples, y, weight)
    ledger = ledger.with_stage("fold", {f"fold {k}": dataset.fold == k for k in range(dataset.n_folds)}, y, weight)
    ledger.check()
    write_json(partial / DESCRIPTION, seal({**content, "ledger": ledger.to_json()}))


def _file_ledgers(inputs: Inputs, ranges: Sequence[FileLedger]) -> tuple[FileLedger, ...]:
    """Ledgers of all files in order; those without entries have one of zeros."""
    empty = []
    for sample, events in zip(inputs.conversion.samples, inputs.events, strict=True):
        cuts = inputs.conversion.cuts_of(sample)
        for file in events.files:
            zero = {name: Count() for name in cuts}
            empty.append(
                FileLedger(
                    str(file.path), file.tree, sample.name, file.xxh3, file.entries, Count(), zero, Count(), Count(), {}
                )
            )
    found = {(f.sample, f.file, f.tree): f for f in merge_ranges(ranges)}
    return tuple(found.get((f.sample, f.file, f.tree), f) for f in empty)


def _schema(conversion: Conversion, shard: Shard) -> list[ColumnSchema]:
    columns = []
    for name in conversion.kept:
        flat = shard.arrays.get(f"column:{name}")
        place = flat or shard.arrays[f"column:{name}/values"]
        role: Role = "input" if name in conversion.columns else "observer"
        if role == "observer" and name not in conversion.observers:
            role = "identity"
        columns.append(ColumnSchema(name, np.dtype(place.dtype).name, flat is None, role))
    return columns


def _refuse_missing_class(dataset: Dataset) -> None:
    samples = ", ".join(dataset.samples)
    for label, name in ((0, "background"), (1, "signal")):
        if not np.any(dataset.y == label):
            raise NoEventsError(
                f"no event has label {label} ({name}); samples: {samples}\n{dataset.ledger.cut_flow()}",
                remedy="add a sample of this label, or loosen the cuts on it",
            )


def _refuse_duplicates(dataset: Dataset, conversion: Conversion) -> None:
    names = conversion.row or conversion.identity
    refuse_repeated_rows(dataset, identity_columns(names, dataset.columns, dataset.y, dataset.sample), names)
    if conversion.duplicates == "error":
        refuse_repeated_content(dataset)


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
