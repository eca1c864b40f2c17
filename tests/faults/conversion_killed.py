"""Convert in a process that kills itself at a chosen write, fsync or rename; forked, so that it costs no start.

Usage: ``python -m tests.faults.conversion_killed CONVERSION WHOLE FOLDER``: for every operation in turn a conversion into
``FOLDER/<operation><number>`` is killed there, finished by another process, and compared with the dataset ``WHOLE``.
Prints how often it killed; fails with a message at the first difference.
"""

from __future__ import annotations

import builtins
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fivesigma.dataset import Conversion, convert, shards

MOST = 500  # operations of a kind that the small conversion surely stays below


def kill_at(number: int, function: Callable[..., Any], before: Callable[..., Any] = lambda *_: None) -> Any:
    """The function, but the ``number``-th call is not reached: ``before`` is, and then the process dies."""
    calls = 0

    def call(*words: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            before(*words)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*words, **options)

    return call


def arm(operation: str, number: int) -> None:
    """Let this process die at the ``number``-th such operation; a write gets half of its bytes to the disk."""
    if operation != "write":
        setattr(os, operation, kill_at(number, getattr(os, operation)))
        return

    def half(path: Path | int, content: Any, *_: Any) -> None:
        content = content.encode() if isinstance(content, str) else bytes(content)
        if isinstance(path, int):
            os.write(path, content[: len(content) // 2])
        else:
            path.write_bytes(content[: len(content) // 2])

    strike = kill_at(number, lambda *_: None, half)  # of shards and of descriptions, whatever comes first
    write_text = Path.write_text

    def write_description(path: Path, text: str, *words: Any, **options: Any) -> int:
        strike(path, text)
        return write_text(path, text, *words, **options)

    def opened(path: Any, mode: str = "r") -> Any:
        file = builtins.open(path, mode, buffering=0)  # noqa: SIM115  whoever asked for it closes it

        def write(content: Any) -> int:
            strike(file.fileno(), content)
            return int(file.write(content))

        return _File(file, write) if "w" in mode else file

    Path.write_text = write_description  # type: ignore[method-assign, assignment]
    shards.open = opened  # type: ignore[attr-defined]  # hides the builtin in that module


class _File:
    """A file whose writes go through a function."""

    def __init__(self, file: Any, write: Callable[[Any], int]) -> None:
        self.file, self.write = file, write

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def forked(work: Callable[[], Any]) -> int:
    """Exit status of the work, done in a copy of this process, which says what stopped it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  nobody is above to tell it to
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def main(conversion: Conversion, whole: Path, folder: Path) -> dict[str, int]:
    """How many operations of each kind there are; each was the last of one process."""
    expected, killed = folder_bytes(whole), {}
    for operation in ("write", "fsync", "replace"):
        for number in range(1, MOST):
            output = folder / f"{operation}{number}"

            def finish(output: Path = output) -> None:
                convert(conversion, output)

            def die(operation: str = operation, number: int = number, finish: Callable[[], None] = finish) -> None:
                arm(operation, number)
                finish()

            status = forked(die)
            if status == 0:
                killed[operation] = number - 1
                break
            if status != -signal.SIGKILL:
                raise SystemExit(f"{operation} {number}: ended with status {status}")
            if output.exists() and folder_bytes(output) != expected:
                raise SystemExit(f"{operation} {number}: an output under its final name is not complete")
            if forked(finish) or folder_bytes(output) != expected:
                raise SystemExit(f"{operation} {number}: resumed to another dataset")
    if left := list(folder.glob(".*")):
        raise SystemExit(f"left behind: {left}")
    return killed


if __name__ == "__main__":
    text, whole, folder = sys.argv[1:]
    print(main(Conversion.model_validate_json(text), Path(whole), Path(folder)))
