"""Options that several verbs share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivesigma.core.errors import ConfigError
from fivesigma.core.progress import progress_mode

if TYPE_CHECKING:
    from fivesigma.core.engine import Engine

INTERRUPTED = 130  # the shell's exit status for Ctrl-C

Study = Annotated[str, typer.Argument(help="a study that ships with the package, or the path of a YAML file")]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", metavar="SAMPLE=FILES", help="other files for a sample; may be repeated")
]
Models = Annotated[list[str] | None, typer.Option("--models", help="only this model; may be repeated")]
Output = Annotated[Path | None, typer.Option("--output", help="the run directory [default: runs/<study>]")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="instead of the study's own seed")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="processes that work at the same time")]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", help="address of a Dask scheduler (tcp://…) instead of processes here")
]
Deadline = Annotated[float, typer.Option("--deadline", min=1, help="seconds that one entry range or file may take")]
Retries = Annotated[int, typer.Option("--retries", min=0, help="how often a crashed or late reader is tried again")]
MemoryLimit = Annotated[
    int | None, typer.Option("--memory-limit", min=256, metavar="MB", help="memory of each process [default: no limit]")
]
DEADLINE_S = 600.0
RETRIES = 2
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Json = Annotated[bool, typer.Option("--json", help="print results as JSON on standard output")]


def parse_inputs(inputs: Sequence[str] | None) -> dict[str, str]:
    """``["jets=a.root"]`` → ``{"jets": "a.root"}``."""
    pairs = {}
    for text in inputs or ():
        name, separator, files = text.partition("=")
        if not (name and separator and files):
            raise ConfigError(f"--input {text!r}: expected SAMPLE=FILES, for example --input jets=other.root")
        pairs[name] = files
    return pairs


def engine_of(
    workers: int, scheduler: str | None, deadline: float, retries: int, memory_limit: int | None = None
) -> Engine:
    """Who does the work: supervised processes here, or the workers of a Dask cluster."""
    if scheduler is not None:
        from fivesigma.core.dask_cluster import DaskCluster

        return DaskCluster(scheduler, deadline_s=deadline)
    from fivesigma.core.processes import Processes

    return Processes(workers, deadline_s=deadline, retries=retries, memory_limit_mb=memory_limit)


@contextmanager
def shown_progress(quiet: bool) -> Iterator[None]:
    """Bars on a terminal, plain lines elsewhere, nothing with ``--quiet``; Ctrl-C ends in words."""
    try:
        with progress_mode("quiet" if quiet else "auto"):
            yield
    except KeyboardInterrupt:
        print("fivesigma: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    json.dump(content, sys.stdout, indent=2, allow_nan=False)
    print()


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Rows as an aligned plain-text table on standard output."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def command_line() -> str:
    """The command as it was typed."""
    return " ".join(["fivesigma", *sys.argv[1:]])
