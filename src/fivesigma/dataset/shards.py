"""A shard: the columns of a range of events, one after another in one file, little-endian, to be memory-mapped.

Jagged columns of one collection (equal offsets and type, such as pt, eta and phi of constituents) are interleaved: one
block of shape (values, columns), so that whoever gathers an event reads one run of bytes, and one array of offsets.
Every block begins at a multiple of 64 bytes. What is where stands in the shard's description, which goes into
`dataset.json`; the file itself is nothing but numbers, and its xxh3 digest covers every byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import DatasetError
from fivesigma.core.integrity import CACHED, atomic_path, file_digest, write_json
from fivesigma.core.jagged import Column, Jagged

_ROWS_AT_A_TIME = 1 << 13
ALIGNMENT = 64  # bytes: a cache line, and what vector instructions like


@dataclass(frozen=True)
class ArrayPlace:
    """Where an array stands in a shard: NumPy's type string, number of values, first byte.

    ``stride`` is the distance from one value to the next in values: more than 1 in an interleaved block.
    """

    dtype: str
    size: int
    offset: int
    stride: int = 1


@dataclass(frozen=True)
class Shard:
    """Description of one shard file: number of rows, bytes, digest, and the place of each array.

    A flat column is the array of its name; a jagged one is ``<name>/values`` and ``<name>/offsets``, the latter in the
    same place for all columns of a block.
    """

    name: str
    rows: int
    size: int
    xxh3: str
    arrays: Mapping[str, ArrayPlace]

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        arrays = {name: ArrayPlace(**place) for name, place in content["arrays"].items()}
        return cls(content["name"], content["rows"], content["size"], content["xxh3"], arrays)


def write_shard(path: Path, columns: Mapping[str, Column]) -> Shard:
    """Write columns of equal numbers of events; the file appears under its name when it is complete.

    Raises
    ------
    OutputError
        if it cannot be written.
    """
    digest = xxhash.xxh3_128()
    places: dict[str, ArrayPlace] = {}
    position = 0
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for names, block in _blocks(columns):
            padding = b"\0" * (-position % ALIGNMENT)
            begin, width = position + len(padding), block.dtype.itemsize
            stride = block.shape[1] if block.ndim == 2 else 1
            for i, name in enumerate(names):
                first = begin + (i * width if stride > 1 else 0)
                places[name] = ArrayPlace(block.dtype.str, len(block), first, stride)
            _write(file, digest, padding)
            if block.size:
                _write(file, digest, block.data.cast("B"))
            position = begin + block.nbytes
    rows = len(next(iter(columns.values())))
    return Shard(path.name, rows, position, digest.hexdigest(), places)


def _write(file: IO[bytes], digest: xxhash.xxh3_128, content: Any) -> None:
    """Some bytes at a time, which the processor still has at hand when they are digested."""
    for begin in range(0, len(content), CACHED):
        some = content[begin : begin + CACHED]
        file.write(some)
        _digest(digest, some)


def _digest(digest: xxhash.xxh3_128, content: Any) -> None:
    digest.update(content)


def _blocks(columns: Mapping[str, Column]) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """What is written, in order: names of arrays, and their bytes; of one column, or interleaved, or shared."""
    for names in _collections(columns):
        first = columns[names[0]]
        if not isinstance(first, Jagged):
            yield names, _little_endian(first)
            continue
        values = [column.values for name in names if isinstance(column := columns[name], Jagged)]
        block = values[0] if len(values) == 1 else side_by_side(values)
        yield [f"{name}/values" for name in names], _little_endian(block)
        yield [f"{name}/offsets" for name in names], _little_endian(first.offsets)


def _collections(columns: Mapping[str, Column]) -> list[list[str]]:
    """Names of columns that are stored together: jagged ones of equal type and offsets; in the order of the first."""
    found: list[list[str]] = []
    for name, column in columns.items():
        for names in found:
            if _interleave(columns[names[0]], column):
                names.append(name)
                break
        else:
            found.append([name])
    return found


def _interleave(first: Column, second: Column) -> bool:
    return (
        isinstance(first, Jagged)
        and isinstance(second, Jagged)
        and first.dtype == second.dtype
        and np.array_equal(first.offsets, second.offsets)
    )


def side_by_side(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What ``np.stack(columns, axis=1)`` gives, in half of the time: some rows at a time, which stay in the cache."""
    made = np.empty((len(columns[0]), len(columns)), dtype=columns[0].dtype)
    for begin in range(0, len(made), _ROWS_AT_A_TIME):
        some = slice(begin, begin + _ROWS_AT_A_TIME)
        for i, column in enumerate(columns):
            made[some, i] = column[some]
    return made


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def read_array(folder: Path, shard: Shard, name: str) -> NDArray[Any]:
    """One array of a shard, memory-mapped, read only."""
    place = shard.arrays[name]
    if place.size == 0:
        return np.empty(0, dtype=place.dtype)
    span = (place.size - 1) * place.stride + 1
    mapped = np.memmap(folder / shard.name, dtype=place.dtype, mode="r", offset=place.offset, shape=(span,))
    return mapped if place.stride == 1 else mapped[:: place.stride]


def read_column(folder: Path, shard: Shard, name: str) -> Column:
    """One column of a shard, memory-mapped, read only."""
    if name in shard.arrays:
        return read_array(folder, shard, name)
    return Jagged(read_array(folder, shard, f"{name}/values"), read_array(folder, shard, f"{name}/offsets"))


def fault_of(folder: Path, shard: Shard) -> str | None:
    """What is wrong with a shard on disk: missing, of another size, damaged; None if every byte is as written."""
    path = folder / shard.name
    if not path.is_file():
        return f"{shard.name} is missing"
    size = path.stat().st_size
    if size != shard.size:
        return f"{shard.name} has {size:,} bytes, expected {shard.size:,}"
    if file_digest(path) != shard.xxh3:
        return f"{shard.name} is damaged: its xxh3 digest differs"
    return None


def write_done(path: Path, shard: Shard, config_hash: str, extra: Mapping[str, Any]) -> None:
    """The marker that a shard is complete, with the configuration that it belongs to."""
    write_json(path, {"config_hash": config_hash, "shard": shard.to_json(), **extra})


def read_done(path: Path, config_hash: str) -> dict[str, Any] | None:
    """The content of a marker of this configuration, None if there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise DatasetError(f"cannot read {path}: {error}; delete it to convert this part again") from error
    return content if content.get("config_hash") == config_hash else None
