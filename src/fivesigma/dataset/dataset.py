"""``Dataset``: converted events on disk, checked before they are used, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import DatasetError
from fivesigma.core.integrity import content_hash
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.dataset.ledger import Ledger
from fivesigma.dataset.samples import FORMAT_VERSION
from fivesigma.dataset.shards import Shard, fault_of, read_column
from fivesigma.dataset.stored_column import StoredColumn

DESCRIPTION = "dataset.json"
SHARDS = "shards"
Role = Literal["input", "observer", "identity"]


@dataclass(frozen=True)
class ColumnSchema:
    """Name, NumPy type of one value, whether it is a list per event, and what the column is for."""

    name: str
    dtype: str
    jagged: bool
    role: Role


class _LazyColumns(Mapping[str, Column]):
    """Columns by name, each read when it is first asked for."""

    def __init__(self, names: tuple[str, ...], read: Callable[[str], Column]) -> None:
        self._names, self._read = names, read
        self._columns: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._names:
            raise KeyError(unknown_name("column", name, self._names))
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Dataset:
    """Events of several samples with labels, weights and folds; made by `fivesigma.dataset.convert`.

    Rows stand in the order of samples, files and entries. Arrays are memory-mapped if there is one shard, otherwise
    concatenated when they are first used.

    Usage::

        dataset = Dataset.open("runs/w-tagging/dataset")
        dataset.y, dataset.weight, dataset.fold, dataset.columns["jet_pt"]
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.config_hash: str = content["config_hash"]
        self.conversion: Mapping[str, Any] = content["conversion"]
        self.inputs: list[dict[str, Any]] = content["inputs"]
        self.code: Mapping[str, str] = content["code"]
        self.n_folds: int = content["n_folds"]
        self.samples: tuple[str, ...] = tuple(content["samples"])
        self.files: tuple[str, ...] = tuple(content["files"])
        self.schema: Mapping[str, ColumnSchema] = {c["name"]: ColumnSchema(**c) for c in content["columns"]}
        self.ledger = Ledger.from_json(content["ledger"])
        self._shards = tuple(Shard.from_json(shard) for shard in content["shards"])
        self.columns: Mapping[str, Column] = _LazyColumns(tuple(self.schema), lambda name: self._read(f"column:{name}"))
        self._book = _LazyColumns(("y", "weight", "fold", "event", "sample", "file", "entry"), self._read)

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Self:
        """Open a complete dataset; ``verify`` reads every byte once and compares digests.

        Raises
        ------
        DatasetError
            if it is incomplete, of another format, or a shard is missing, truncated or damaged (each is named).
        """
        path = Path(path)
        content = _read_description(path / DESCRIPTION)
        dataset = cls(path, content)
        if verify:
            faults = [fault for shard in dataset._shards if (fault := fault_of(path / SHARDS, shard)) is not None]
            if faults:
                raise DatasetError(f"{path / SHARDS}: {'; '.join(faults)}. Delete the dataset and convert again")
        return dataset

    def _read(self, name: str) -> Column:
        parts = [read_column(self.path / SHARDS, shard, name) for shard in self._shards]
        if len(parts) == 1:
            return parts[0]
        jagged = [part for part in parts if isinstance(part, Jagged)]
        return Jagged.concatenate(jagged) if jagged else np.concatenate([p for p in parts if not isinstance(p, Jagged)])

    def _flat(self, name: str) -> NDArray[Any]:
        column = self._book[name]
        assert not isinstance(column, Jagged)
        return column

    def __len__(self) -> int:
        return sum(shard.rows for shard in self._shards)

    @property
    def content_digest(self) -> str:
        """Digest of every row and of the schema: the same for datasets of equal content, however they were made."""
        columns = [list(vars(column).values()) for column in self.schema.values()]
        return content_hash([columns, self.n_folds, [shard.xxh3 for shard in self._shards]])

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Descriptions of the shards, in the order of rows."""
        return self._shards

    def chunks(self, names: Sequence[str]) -> Iterator[dict[str, Column]]:
        """Columns by name, shard by shard, and none of it kept: for data larger than memory.

        Names are those of `columns`, and ``y``, ``weight``, ``fold``, ``event``, ``sample``, ``file``, ``entry``.

        Raises
        ------
        DatasetError
            if the dataset has no such column.
        """
        stored = {name: name if name in self._book else f"column:{name}" for name in names}
        for name in names:
            if name not in self._book and name not in self.schema:
                raise DatasetError(f"{self.path}: {unknown_name('column', name, [*self.schema, *self._book])}")
        for shard in self._shards:
            yield {name: read_column(self.path / SHARDS, shard, where) for name, where in stored.items()}

    def column(self, name: str) -> Column:
        """One column, of shape (events,) or jagged.

        Raises
        ------
        DatasetError
            if the dataset has no such column.
        """
        try:
            return self.columns[name]
        except KeyError as error:
            raise DatasetError(f"{self.path}: {error.args[0]}") from None

    def stored(self, name: str) -> StoredColumn:
        """The same column, of which only the rows that are asked for are read, each time anew; raises as `column`."""
        if name not in self.schema:
            raise DatasetError(f"{self.path}: {unknown_name('column', name, self.schema)}")
        return StoredColumn(self.path / SHARDS, self._shards, f"column:{name}")

    @property
    def y(self) -> NDArray[np.int8]:
        """Labels, 0 background and 1 signal, shape (events,)."""
        return self._flat("y")

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weights as given, signed, shape (events,)."""
        return self._flat("weight")

    @property
    def fold(self) -> NDArray[np.int8]:
        """Folds 0 … n_folds − 1, shape (events,)."""
        return self._flat("fold")

    @property
    def event(self) -> NDArray[np.uint64]:
        """Hash of the event's identity, equal for rows of the same event, shape (events,)."""
        return self._flat("event")

    @property
    def sample(self) -> NDArray[np.int16]:
        """Position in `samples` of each event's sample, shape (events,)."""
        return self._flat("sample")

    def origin(self, row: int) -> tuple[str, int]:
        """Input file and entry that a row came from."""
        for shard in self._shards:
            if row < shard.rows:
                file, entry = (read_column(self.path / SHARDS, shard, name) for name in ("file", "entry"))
                return self.files[int(np.asarray(file)[row])], int(np.asarray(entry)[row])
            row -= shard.rows
        raise IndexError(f"{self.path}: row {row} is beyond the last")

    def __repr__(self) -> str:
        return f"<Dataset {self.path}: {len(self):,} events, {len(self.schema)} columns, {len(self._shards)} shards>"


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """The description with a digest of itself, so that a damaged one is noticed."""
    return {**content, "xxh3": content_hash(content)}


def _read_description(path: Path) -> dict[str, Any]:
    remedy = "the conversion was not finished: run it again"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"no dataset: {path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}; delete the dataset and convert again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT_VERSION:
        raise DatasetError(f"{path} is not of format {FORMAT_VERSION}: delete the dataset and convert again")
    digest = content.pop("xxh3", None)
    if digest != content_hash(content):
        raise DatasetError(f"{path} is damaged: its digest differs. Delete the dataset and convert again")
    return content
