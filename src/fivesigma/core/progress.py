"""Progress of long work: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO

Mode = Literal["auto", "bar", "plain", "quiet"]
_MODE: ContextVar[Mode] = ContextVar("progress_mode", default="quiet")
_PLAIN_INTERVAL = 5.0  # seconds between plain lines

Advance = Callable[[int], None]


@contextmanager
def progress_mode(mode: Mode) -> Iterator[None]:
    """Choose how progress is shown inside this context; the library itself is quiet by default."""
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() else "plain"
    token = _MODE.set(mode)
    try:
        yield
    finally:
        _MODE.reset(token)


def say(message: str) -> None:
    """One line for the person at the keyboard, on stderr, unless quiet."""
    if _MODE.get() != "quiet":
        print(message, file=sys.stderr, flush=True)


@contextmanager
def progress(total: int, description: str, unit: str = "events") -> Iterator[Advance]:
    """Show the progress of ``total`` units of work: done, rate and time left.

    >>> with progress(10, "reading") as advance:
    ...     advance(10)
    """
    mode = _MODE.get()
    if mode == "bar":
        with _bar(total, description, unit) as advance:
            yield advance
    elif mode == "plain":
        with _plain(total, description, unit, sys.stderr) as advance:
            yield advance
    else:
        yield lambda _: None


@contextmanager
def _bar(total: int, description: str, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, rate="")

        def advance(n: int) -> None:
            bar.update(task, advance=n)
            speed = bar.tasks[task].finished_speed or bar.tasks[task].speed
            bar.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance


@contextmanager
def _plain(total: int, description: str, unit: str, stream: TextIO) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0

    def line() -> None:
        elapsed = max(time.monotonic() - start, 1e-9)
        rate = done / elapsed
        left = f", {(total - done) / rate:,.0f} s left" if 0 < done < total else ""
        print(f"{description}: {done:,} of {total:,} {unit}, {rate:,.0f}/s{left}", file=stream, flush=True)

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        if time.monotonic() - last >= _PLAIN_INTERVAL and done < total:
            last = time.monotonic()
            line()

    yield advance
    line()
