"""Parquet: ZSTD after a split of bytes, lists for jagged columns, a CRC in every page; read by arrow, awkward, polars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fivesigma.core.jagged import Column, Columns, Jagged
from fivesigma.dataset.exchange.table import ColumnType, ExchangeFormat, Table

_KEY = b"fivesigma"


class ParquetExchange(ExchangeFormat):
    """One row group a shard."""

    suffix = ".parquet"

    def write(self, path: Path, table: Table, finish: Callable[[], Mapping[str, Any]]) -> None:
        """Write all parts; the description is key-value metadata."""
        schema = pa.schema([(name, _arrow_type(kind)) for name, kind in table.types.items()])
        with pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=False, use_byte_stream_split=True, write_page_checksum=True
        ) as writer:
            for part in table.parts():
                writer.write_table(_arrow_table(part, schema))
            writer.add_key_value_metadata({_KEY: json.dumps(finish())})

    def read_description(self, path: Path) -> Mapping[str, Any]:
        """What the metadata says."""
        with pq.ParquetFile(path) as file:
            content: dict[str, Any] = json.loads(file.metadata.metadata[_KEY])
        return content

    def read(self, path: Path, types: Mapping[str, ColumnType]) -> Iterator[dict[str, Column]]:
        """One row group after another; page checksums are verified."""
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                yield {name: _column(table.column(name).combine_chunks(), kind) for name, kind in types.items()}


def _arrow_type(kind: ColumnType) -> Any:
    value = pa.from_numpy_dtype(np.dtype(kind.dtype))
    return pa.large_list(pa.field("element", value, nullable=False)) if kind.jagged else value


def _arrow_table(part: Columns, schema: Any) -> Any:
    arrays = []
    for kind, column in zip(schema, part.values(), strict=True):
        if isinstance(column, Jagged):
            values = pa.array(np.ascontiguousarray(column.values))
            arrays.append(pa.LargeListArray.from_arrays(pa.array(column.offsets), values, type=kind.type))
        else:
            arrays.append(pa.array(np.ascontiguousarray(column)))
    return pa.Table.from_arrays(arrays, schema=schema)


def _column(array: Any, kind: ColumnType) -> Column:
    if not kind.jagged:
        return np.asarray(array.to_numpy(zero_copy_only=False), dtype=kind.dtype)
    offsets = array.offsets.to_numpy().astype(np.int64)
    values = array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_numpy(zero_copy_only=False)
    return Jagged(np.asarray(values, dtype=kind.dtype), offsets - offsets[0])
