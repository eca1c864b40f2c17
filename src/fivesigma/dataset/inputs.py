"""``Inputs``: the scanned files of a conversion, those that had to be left out, and the hash of all a dataset depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fivesigma.core.engine import Engine, InProcess, Place, Task
from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    FileFormatError,
    FivesigmaError,
    RemoteError,
    WorkerError,
)
from fivesigma.core.integrity import content_hash
from fivesigma.core.progress import progress, say
from fivesigma.dataset.code import code_digests
from fivesigma.dataset.dataset import SHARDS
from fivesigma.dataset.entry_range import EntryRange, code_of_worker
from fivesigma.dataset.ledger import SkippedFile
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.read.events import Events, open_events, refuse_duplicates
from fivesigma.read.files import find_files
from fivesigma.read.manifest import Manifest, read_manifest, scan_listed
from fivesigma.read.remote import FilePath
from fivesigma.read.schema import Branch, InputFile

BAD_FILE = (FileFormatError, RemoteError, WorkerError)
"""Errors of one file alone, so that it may be left out if the study allows it."""
_SHOWN = 10  # refused files that are named


@dataclass(frozen=True)
class Inputs:
    """The scanned files of every sample, and the hash of configuration and content."""

    conversion: Conversion
    events: tuple[Events, ...]
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def config_hash(self) -> str:
        """Digest of the configuration, of the code that makes shards, and of every byte of input, not of its place."""
        return content_hash(self.configuration())

    def configuration(self) -> dict[str, Any]:
        """All that the dataset depends on: the conversion, the content of the input, the code."""
        return {"conversion": self.conversion.description(), "inputs": self.content, "code": code_digests()}

    @property
    def content(self) -> list[dict[str, Any]]:
        """What the input is: for every file in order sample, tree, entries, digest."""
        return [
            {"sample": sample.name, "tree": file.tree, "entries": file.entries, "xxh3": file.xxh3}
            for sample, events in zip(self.conversion.samples, self.events, strict=True)
            for file in events.files
        ]

    @property
    def files(self) -> list[InputFile]:
        """The files of all samples, in the order of the dataset's rows."""
        return [file for events in self.events for file in events.files]

    @property
    def entries(self) -> int:
        """Entries in all files together."""
        return sum(events.entries for events in self.events)

    def tasks(self, folder: Path) -> Iterator[EntryRange]:
        """The entry ranges in the order of the dataset's rows, each to become one shard below ``folder``."""
        config_hash, code, number, position = self.config_hash, code_of_worker(), 0, 0
        for index, (sample, events) in enumerate(zip(self.conversion.samples, self.events, strict=True)):
            branches = self.conversion.branches_of(sample)
            for file in events.files:
                needed = {name: file.branches[name] for name in branches}
                alone = replace(events, files=(replace(file, path=absolute(file.path), branches=needed),))
                for part in alone.partitions(self.conversion.step):
                    path = folder.absolute() / SHARDS / f"{number:06d}.bin"
                    yield EntryRange(
                        conversion=self.conversion,
                        sample=index,
                        file=position,
                        name=str(file.path),
                        events=alone,
                        start=part.start,
                        stop=part.stop,
                        path=path,
                        config_hash=config_hash,
                        code=code,
                    )
                    number += 1
                position += 1


def absolute(path: FilePath) -> FilePath:
    """The path as other processes, on other machines with the same disks, find it."""
    return path.absolute() if isinstance(path, Path) else path


@dataclass(frozen=True)
class ScanFile(Task[InputFile]):
    """One input file, to be scanned."""

    path: FilePath
    tree: str | None
    manifest: str | None = None

    @property
    def place(self) -> Place:
        """The file."""
        return Place("the scan", str(self.path), self.tree)

    def run(self) -> InputFile:
        """Header, branches, entries, digest; compared with the manifest."""
        known = Manifest(()) if self.manifest is None else read_manifest(self.manifest)
        return scan_listed(self.path, self.tree, known)


def scan_inputs(conversion: Conversion, engine: Engine | None = None) -> Inputs:
    """Scan all files and check that they have what the conversion needs; nothing is converted.

    Every file has one outcome: it is fine, or it is refused with a reason. One that is refused ends the conversion,
    unless ``conversion.max_loss`` allows to leave it out.

    Raises
    ------
    FileFormatError, DuplicateInputError, NoEventsError, ConfigError
        see `fivesigma.read.open_events`.
    WorkerError
        if a file crashes or stalls whoever scans it.
    MissingBranchError, BranchTypeError
        if a file lacks a branch, or has it in another type and no type is declared.
    ExpressionError
        for an expression outside the grammar.
    """
    conversion.check_names()
    for sample in conversion.samples:
        conversion.branches_of(sample)  # parses every expression before a file is opened
    found = _scan_all(conversion, engine or InProcess())
    skipped = _refused(conversion, found)

    def scanned(wanted: Sequence[tuple[FilePath, str | None]]) -> list[InputFile]:
        return [file for key in wanted if isinstance(file := found[key], InputFile)]

    short = {file.sample for file in skipped}  # the ledger says how many entries they lost
    events = tuple(
        open_events(
            s.files,
            s.tree or conversion.tree,
            scan_files=scanned,
            entries=None if s.name in short else s.entries,
            remote=conversion.remote,
        )
        for s in conversion.samples
    )
    refuse_duplicates([file for e in events for file in e.files])
    _refuse_mixed_types(conversion, events)
    return Inputs(conversion, events, skipped)


def _scan_all(conversion: Conversion, engine: Engine) -> dict[tuple[FilePath, str | None], InputFile | FivesigmaError]:
    """The outcome of every file, by path and tree as given."""
    tasks = {(t.path, t.tree): t for sample in conversion.samples for t in _scans(conversion, sample)}
    found: dict[Any, InputFile | FivesigmaError] = {}
    with progress(len(tasks), "scanning", "files") as advance:
        for outcome in engine.run(tasks.values()):
            task = outcome.task
            assert isinstance(task, ScanFile)
            found[task.path, task.tree] = outcome.result() if outcome.error is None else outcome.error
            advance(1)
    return found


def _scans(conversion: Conversion, sample: Sample) -> list[ScanFile]:
    tree = sample.tree or conversion.tree
    manifest = None if conversion.manifest is None else str(Path(conversion.manifest).absolute())
    found = find_files(sample.files, conversion.remote)
    return [ScanFile(location.path, location.tree or tree, manifest) for location in found]


def _refused(
    conversion: Conversion, found: dict[tuple[FilePath, str | None], InputFile | FivesigmaError]
) -> tuple[SkippedFile, ...]:
    """The files that are left out; raises what the first says if none may be, or if they are too many."""
    skipped: list[SkippedFile] = []
    for sample in conversion.samples:
        outcomes = [(task, found[task.path, task.tree]) for task in _scans(conversion, sample)]
        errors = [(task, error) for task, error in outcomes if isinstance(error, FivesigmaError)]
        for task, error in errors[:_SHOWN] if len(errors) > 1 else ():
            say(f"refused: {task.path}: {str(error).splitlines()[0]}")
        if len(errors) > _SHOWN:
            say(f"refused: {len(errors) - _SHOWN} more files of sample {sample.name!r}")
        for task, error in errors:
            if conversion.max_loss is None or not isinstance(error, BAD_FILE):
                raise error
            skipped.append(SkippedFile(sample.name, str(task.path), task.tree, None, str(error)))
        refuse_loss(conversion, sample, [file for _, file in outcomes if isinstance(file, InputFile)], skipped)
    return tuple(skipped)


def refuse_loss(
    conversion: Conversion, sample: Sample, files: Sequence[InputFile], skipped: Sequence[SkippedFile]
) -> None:
    """Refuse to leave out more of a sample than the study allows.

    ``files`` are those that were scanned, ``skipped`` those left out at the scan (of unknown entries) or later.

    Raises
    ------
    FileFormatError
        with the loss, the limit, and the reason of the first file.
    """
    lost = [file for file in skipped if file.sample == sample.name]
    if not lost:
        return
    known = [file.entries for file in lost if file.entries is not None]
    at_scan = len(lost) - len(known)
    if at_scan:
        loss, what = len(lost) / (len(files) + at_scan), f"{len(lost)} of {len(files) + at_scan} files"
    else:
        entries = sum(file.entries for file in files)
        loss, what = sum(known) / entries, f"{sum(known):,} of {entries:,} entries"
    if conversion.max_loss is None or loss > conversion.max_loss:
        raise FileFormatError(
            f"sample {sample.name!r} would lose {what} ({100 * loss:.3g} %), allowed are "
            f"{100 * (conversion.max_loss or 0):.3g} %; the first: {lost[0].reason.splitlines()[0]}",
            file=lost[0].file,
            tree=lost[0].tree,
            remedy="repair or replace the files; `fivesigma inspect` says what is wrong with each",
        )


def _refuse_mixed_types(conversion: Conversion, events: Sequence[Events]) -> None:
    first: dict[str, tuple[Branch, str]] = {}
    for sample, found in zip(conversion.samples, events, strict=True):
        _refuse_shadowing(conversion, found)
        for name, branch in found.require(conversion.branches_of(sample), declared=conversion.dtypes).items():
            other, where = first.setdefault(name, (branch, sample.name))
            same = branch.jagged == other.jagged if name in conversion.dtypes else branch == other
            if not same and name in conversion.kept:
                raise BranchTypeError(
                    f"{branch} in sample {sample.name!r}, but {other} in sample {where!r}",
                    file=found.files[0].path,
                    tree=found.files[0].tree,
                    branch=name,
                    remedy="a list and a single value never mix; for different numbers, declare the type in `dtypes`",
                )


def _refuse_shadowing(conversion: Conversion, events: Events) -> None:
    for file in events.files:
        for name in conversion.new_variables:
            if name in file.branches:
                raise ConfigError(
                    f"the new variable {name!r} is already a branch of {file.path} ({file.tree}): rename it"
                )
