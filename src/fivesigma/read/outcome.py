"""Scanning many files: each has one outcome, and who looks for a bad one sees all that are bad at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from fivesigma.core.errors import InputError
from fivesigma.read.remote import FilePath, RemotePath
from fivesigma.read.schema import InputFile

Wanted: TypeAlias = tuple[FilePath, str | None]
"""A file, and the tree of it that is meant, None for its only one."""

_AT_A_TIME = 4  # remote files that are scanned at a time: their servers, not this machine, are waited for


def scan_each(files: Sequence[Wanted], scan_one: Callable[[FilePath, str | None], InputFile]) -> list[InputFile]:
    """Scan every file, also after one is refused; a few at a time if there are remote ones.

    Raises
    ------
    InputError
        of the kind of the first that is refused; if there are several files, it lists the outcome of each.
    """

    def outcome(wanted: Wanted) -> InputFile | InputError:
        try:
            return scan_one(*wanted)
        except InputError as error:
            return error

    outcomes: Iterable[InputFile | InputError]
    if any(isinstance(path, RemotePath) for path, _ in files):
        pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="scan")
        try:
            outcomes = list(pool.map(outcome, files))
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        outcomes = map(outcome, files)
    return _all_fine(files, list(outcomes))


def _all_fine(files: Sequence[Wanted], outcomes: Sequence[InputFile | InputError]) -> list[InputFile]:
    fine = [outcome for outcome in outcomes if isinstance(outcome, InputFile)]
    if len(fine) == len(outcomes):
        return fine
    first = next(outcome for outcome in outcomes if isinstance(outcome, InputError))
    if len(outcomes) == 1:
        raise first
    lines = [f"    {path}: {_words(outcome)}" for (path, _), outcome in zip(files, outcomes, strict=True)]
    raise type(first)(
        "\n".join([f"{len(outcomes) - len(fine)} of {len(outcomes)} files are refused:", *lines]),
        file=first.file,
        tree=first.tree,
        branch=first.branch,
        entry=first.entry,
        remedy=first.remedy,
    ) from first


def _words(outcome: InputFile | InputError) -> str:
    if isinstance(outcome, InputFile):
        return f"ok, {outcome.entries:,} entries"
    return f"refused: {outcome.cause}"
