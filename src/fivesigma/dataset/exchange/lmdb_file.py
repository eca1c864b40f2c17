"""LMDB: one record an event, for random access by loaders; the key is the row as 8 bytes, big-endian.

A record is, little-endian and without gaps: the flat columns in order, then for each jagged column the number of values
(uint32) and the values, then the xxh3-64 of all that. The key ``description`` has the types as JSON.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import xxhash

from fivesigma.core.errors import DatasetError, OutputError
from fivesigma.core.jagged import Column, Columns, Jagged
from fivesigma.dataset.exchange.table import ColumnType, ExchangeFormat, Table

_DESCRIPTION = b"description"
_MAP_SIZE = 1 << 42  # bytes of address space, not of disk
_KEY, _COUNT, _DIGEST = struct.Struct(">Q"), struct.Struct("<I"), struct.Struct("<Q")
_ROWS = 20_000  # records a transaction when writing, rows a part when reading


class LmdbExchange(ExchangeFormat):
    """A single file, opened with ``subdir=False, lock=False, readonly=True``."""

    suffix = ".lmdb"

    def write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        """Write all records, then the description."""
        try:
            self._write(path, table, finish)
        except lmdb.Error as error:
            raise OutputError(f"cannot write {path}: {error}; choose another output folder") from error

    def _write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        with lmdb.open(str(path), map_size=_MAP_SIZE, subdir=False, lock=False, sync=False) as environment:
            row = 0
            for part in table.parts():
                records = _records(part, table.types)
                n = len(next(iter(part.values())))
                for start in range(0, n, _ROWS):
                    with environment.begin(write=True) as transaction:
                        for _ in range(min(_ROWS, n - start)):
                            transaction.put(_KEY.pack(row), next(records), append=True)
                            row += 1
            with environment.begin(write=True) as transaction:
                transaction.put(_DESCRIPTION, json.dumps(finish()).encode())
            environment.sync(True)
            needed = _bytes_needed(environment)
        if path.stat().st_size < needed:  # pages at the end that were given up again
            os.truncate(path, needed)

    def read_description(self, path: Path) -> Mapping[str, Any]:
        """What the record ``description`` says."""
        with _open(path) as environment, environment.begin() as transaction:
            content: dict[str, Any] = json.loads(transaction.get(_DESCRIPTION))
        return content

    def read(self, path: Path, types: Mapping[str, ColumnType]) -> Iterator[dict[str, Column]]:
        """Some rows after another; the digest of every record is verified."""
        rows = self.read_description(path)["rows"]
        with _open(path) as environment, environment.begin() as transaction:
            for start in range(0, rows, _ROWS):
                keys = range(start, min(start + _ROWS, rows))
                yield _columns([_verified(path, row, transaction.get(_KEY.pack(row))) for row in keys], types)


def _open(path: Path) -> Any:
    """The file for reading, if it is as long as it says: LMDB maps it, and a page that is not there ends the process."""
    environment = lmdb.open(str(path), subdir=False, lock=False, readonly=True)
    size, needed = path.stat().st_size, _bytes_needed(environment)
    if size < needed:
        environment.close()
        raise DatasetError(f"{path} is truncated: it has {size:,} bytes, expected {needed:,}; write it again")
    return environment


def _bytes_needed(environment: Any) -> int:
    return int((environment.info()["last_pgno"] + 1) * environment.stat()["psize"])


def _records(part: Columns, types: Mapping[str, ColumnType]) -> Iterator[bytes]:
    flat = [name for name, kind in types.items() if not kind.jagged]
    rows = np.zeros(len(next(iter(part.values()))), dtype=_flat_type(types))
    for name in flat:
        rows[name] = part[name]
    jagged = [column for column in part.values() if isinstance(column, Jagged)]
    values = [np.ascontiguousarray(c.values, dtype=c.dtype.newbyteorder("<")) for c in jagged]
    offsets = [column.offsets.tolist() for column in jagged]
    for i in range(len(rows)):
        pieces = [rows[i].tobytes()]
        for array, bounds in zip(values, offsets, strict=True):
            pieces += [_COUNT.pack(bounds[i + 1] - bounds[i]), array[bounds[i] : bounds[i + 1]].tobytes()]
        payload = b"".join(pieces)
        yield payload + _DIGEST.pack(xxhash.xxh3_64_intdigest(payload))


def _flat_type(types: Mapping[str, ColumnType]) -> np.dtype[Any]:
    return np.dtype([(name, np.dtype(k.dtype).newbyteorder("<")) for name, k in types.items() if not k.jagged])


def _verified(path: Path, row: int, record: bytes | None) -> bytes:
    if record is None:
        raise DatasetError(f"{path}: row {row:,} is missing; write the file again")
    payload = record[: -_DIGEST.size]
    if _DIGEST.pack(xxhash.xxh3_64_intdigest(payload)) != record[-_DIGEST.size :]:
        raise DatasetError(f"{path}: row {row:,} is damaged: its xxh3 digest differs; write the file again")
    return payload


def _columns(payloads: list[bytes], types: Mapping[str, ColumnType]) -> dict[str, Column]:
    dtype = _flat_type(types)
    flat = np.frombuffer(b"".join(p[: dtype.itemsize] for p in payloads), dtype=dtype)
    places = [dtype.itemsize] * len(payloads)
    found: dict[str, Column] = {}
    for name, kind in types.items():
        if not kind.jagged:
            found[name] = flat[name]
            continue
        size = np.dtype(kind.dtype).itemsize
        counts, pieces = np.zeros(len(payloads), dtype=np.int64), []
        for i, payload in enumerate(payloads):
            (counts[i],) = _COUNT.unpack_from(payload, places[i])
            begin = places[i] + _COUNT.size
            places[i] = begin + int(counts[i]) * size
            pieces.append(payload[begin : places[i]])
        values = np.frombuffer(b"".join(pieces), dtype=np.dtype(kind.dtype).newbyteorder("<"))
        found[name] = Jagged(values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return found
