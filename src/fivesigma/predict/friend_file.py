"""ROOT files of scores: a tree with an entry for every entry of the input, and what made it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Column, Jagged

TREE = "scores"
PROVENANCE = "provenance"
"""Name of the JSON text (a ``TObjString``) beside the tree."""
ZLIB_LEVEL = 1
"""ZLIB: readers notice a flipped bit, which they do not in ZSTD or LZ4."""


class FriendFile:
    """The tree ``scores`` as it grows; its types are those of the first rows."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.tree: Any = None
        self.entries = 0

    def extend(self, rows: Mapping[str, Column]) -> None:
        """Append rows, all columns of equal length."""
        if self.tree is None:
            self.tree = self.file.mktree(TREE, {name: _type(column) for name, column in rows.items()})
        if n := len(next(iter(rows.values()))):
            self.tree.extend({name: _array(column) for name, column in rows.items()})
            self.entries += n


@contextmanager
def friend_file(path: Path, provenance: Mapping[str, Any]) -> Iterator[FriendFile]:
    """A file that takes its name when it is complete.

    Raises
    ------
    OutputError
        if it cannot be written.
    """
    import uproot

    with atomic_path(path) as temporary, uproot.recreate(temporary, compression=uproot.ZLIB(ZLIB_LEVEL)) as file:
        friend = FriendFile(file)
        yield friend
        file[PROVENANCE] = json.dumps(provenance, indent=1)


def branch_names(models: Sequence[str]) -> dict[str, str]:
    """Branches of models: ``cnn+mass`` becomes ``cnn_mass``.

    Raises
    ------
    ConfigError
        if two would be the same.
    """
    names = {name: re.sub(r"\W", "_", name) for name in models}
    if len(set(names.values())) < len(names):
        raise ConfigError(
            f"two models have the same branch name among {', '.join(names.values())}; choose with --model"
        )
    return names


def _type(column: Column) -> Any:
    return f"var * {column.values.dtype.name}" if isinstance(column, Jagged) else np.asarray(column).dtype


def _array(column: Column) -> Any:
    import awkward as ak

    return ak.unflatten(column.values, column.counts) if isinstance(column, Jagged) else column
