"""Write a dataset for other tools, read it back, and refuse to call it written unless both are equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivesigma.core.errors import DatasetError, OutputError
from fivesigma.core.integrity import atomic_path
from fivesigma.core.jagged import Column, Jagged
from fivesigma.core.progress import progress
from fivesigma.core.registry import Registry, unknown_name
from fivesigma.dataset.dataset import SHARDS, Dataset
from fivesigma.dataset.exchange.hdf5 import Hdf5Exchange
from fivesigma.dataset.exchange.lmdb_file import LmdbExchange
from fivesigma.dataset.exchange.numpy_archive import NumpyExchange
from fivesigma.dataset.exchange.parquet import ParquetExchange
from fivesigma.dataset.exchange.table import ColumnType, Digests, ExchangeFormat, Table
from fivesigma.dataset.shards import read_column

EXCHANGE_FORMATS: Registry[type[ExchangeFormat]] = Registry("exchange format")
"""By name, as in ``fivesigma convert --exchange NAME``."""
EXCHANGE_FORMATS.register("parquet")(ParquetExchange)
EXCHANGE_FORMATS.register("hdf5")(Hdf5Exchange)
EXCHANGE_FORMATS.register("lmdb")(LmdbExchange)
EXCHANGE_FORMATS.register("numpy")(NumpyExchange)

BOOKKEEPING = {"label": "y", "weight": "weight", "fold": "fold", "event": "event", "sample": "sample"}
"""Columns that every exchanged file has besides the dataset's own, and what they are called in a shard; with a prefix
``fivesigma_`` if the dataset has a column of that name."""
_VERSION = 1


@dataclass(frozen=True)
class ExchangeFile:
    """A dataset in another format: where, in which, rows, and the digest of every column, equal to the dataset's."""

    path: Path
    format: str
    rows: int
    digests: dict[str, str]


def write_exchange(dataset: Dataset, path: str | Path, format_name: str | None = None) -> ExchangeFile:
    """Write all rows and columns of a dataset into one file of another format, and read it back.

    Memory holds one shard at a time, for "numpy" one column. Labels, signed weights, folds, hashes of the events'
    identity and numbers of samples are columns of their own; the ledger is in the file's description.

    Parameters
    ----------
    dataset, path
        what and where; the file appears under its name when it was read back equal
    format_name
        a name in `EXCHANGE_FORMATS`; by the path's suffix if left out

    Raises
    ------
    UnknownNameError
        for a format that is not known.
    OutputError
        if the file cannot be written, or what is read back differs (the columns are named).
    """
    path = Path(path)
    name = format_name or _format_of(path)
    chosen = EXCHANGE_FORMATS[name]()
    names = _names(dataset)
    written, table = Digests(), _table(dataset, names)

    def finish() -> dict[str, Any]:
        for part in table.parts():
            written.add(part)
        return {**table.description, "digests": written.by_column()}

    with atomic_path(path) as temporary, progress(2 * table.rows, f"writing {path.name}") as advance:
        chosen.write(temporary, table, finish)
        advance(table.rows)
        again = Digests()
        for part in chosen.read(temporary, table.types):
            again.add(part)
        advance(table.rows)
        before, after = written.by_column(), again.by_column()
        different = [column for column in before if before[column] != after.get(column)]
        if different or again.rows != table.rows:
            raise OutputError(f"{path} reads back with other values in {', '.join(different)}: is the disk failing?")
    return ExchangeFile(path, name, table.rows, written.by_column())


def read_exchange(path: str | Path, format_name: str | None = None) -> Iterator[dict[str, Column]]:
    """The rows of a file that `write_exchange` wrote, in parts; at the end every column's digest is verified.

    Raises
    ------
    DatasetError
        if the file is damaged or was not written by fivesigma.
    """
    path = Path(path)
    chosen = EXCHANGE_FORMATS[format_name or _format_of(path)]()
    found = Digests()
    try:
        description = chosen.read_description(path)
        types = {name: ColumnType(**kind) for name, kind in description["types"].items()}
        for part in chosen.read(path, types):
            found.add(part)
            yield part
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(f"cannot read {path}: {type(error).__name__}: {error}; write it again") from error
    stated = description.get("digests", {})  # the description may be damaged, too
    different = [name for name, digest in found.by_column().items() if stated.get(name) != digest]
    if different or found.rows != description.get("rows"):
        raise DatasetError(f"{path} is damaged: the digests of {', '.join(different)} differ; write it again")


def _format_of(path: Path) -> str:
    known = {chosen.suffix: name for name, chosen in EXCHANGE_FORMATS.items()} | {".hdf5": "hdf5"}
    if path.suffix not in known:
        raise OutputError(unknown_name("suffix of an exchange format", path.suffix, known))
    return known[path.suffix]


def _names(dataset: Dataset) -> dict[str, str]:
    """Names in the file → names in a shard."""
    own = {name: f"column:{name}" for name in dataset.schema}
    return own | {(name if name not in own else f"fivesigma_{name}"): kept for name, kept in BOOKKEEPING.items()}


def _table(dataset: Dataset, names: dict[str, str]) -> Table:
    folder = dataset.path / SHARDS

    def parts() -> Iterator[dict[str, Column]]:
        for shard in dataset.shards:
            yield {name: read_column(folder, shard, kept) for name, kept in names.items()}

    types: dict[str, ColumnType] = {}
    longest: dict[str, int] = {}
    lengths = Digests()
    for part in parts():
        types = {name: ColumnType(c.dtype.name, isinstance(c, Jagged)) for name, c in part.items()}
        counts = {name: column.counts for name, column in part.items() if isinstance(column, Jagged)}
        longest |= {name: max(longest.get(name, 0), int(n.max(initial=0))) for name, n in counts.items()}
        if counts:
            lengths.add(counts)
    first: dict[str, str] = {}
    collection = {name: first.setdefault(digest, name) for name, digest in lengths.by_column().items()}
    description = {
        "version": _VERSION,
        "rows": len(dataset),
        "types": {name: {"dtype": kind.dtype, "jagged": kind.jagged} for name, kind in types.items()},
        "config_hash": dataset.config_hash,
        "samples": list(dataset.samples),
        "n_folds": dataset.n_folds,
        "ledger": dataset.ledger.to_json(),
    }
    return Table(types, len(dataset), parts, longest, collection, description)
