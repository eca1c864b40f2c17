"""Which code makes a shard: a digest of each of its modules, so that a conversion never goes on with another one."""

from __future__ import annotations

import functools
from pathlib import Path

import xxhash

_FOLDERS = ("read",)
_MODULES = (
    "core/jagged.py",
    *(f"dataset/{name}.py" for name in ("column_types", "entry_range", "ledger", "rows", "shards", "split")),
)
_WITHOUT_EFFECT = ("read/__init__.py", "read/inspect.py")


@functools.cache
def code_digests() -> dict[str, str]:
    """Digest of each module between an input file and a shard, by its path in the package; see `digest_of_source`."""
    package = Path(__file__).resolve().parents[1]
    found = [path.relative_to(package).as_posix() for folder in _FOLDERS for path in (package / folder).glob("*.py")]
    names = sorted({*found, *_MODULES} - set(_WITHOUT_EFFECT))
    return {name: digest_of_source((package / name).read_text(encoding="utf-8")) for name in names}


def digest_of_source(text: str) -> str:
    r"""Digest of a module's text without blank lines, and without lines that are comments.

    >>> digest_of_source("x = 1") == digest_of_source("# One of them.\n\nx = 1\n")
    True
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return xxhash.xxh3_64_hexdigest("\n".join(lines).encode())
