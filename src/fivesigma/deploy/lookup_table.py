"""``Table``: a model evaluated once a cell, flat on disk, memory-mapped and shared (bonsai BDT, arXiv:1210.6861)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, ConfigError
from fivesigma.core.integrity import content_hash
from fivesigma.core.progress import progress
from fivesigma.deploy.binning import Axis
from fivesigma.deploy.trained_model import Float64

CellType = Literal["uint8", "uint16", "uint32", "float32", "float64"]
HEADER = struct.Struct("<8sIIQQ32x")
"""Magic, byte order, bytes a cell, cells, identity of axes and code, zeros; 64 bytes, so that cells are aligned."""
MAGIC, BYTE_ORDER = b"5SIGTAB1", 0x01020304
STEP = 1 << 17
"""Cells evaluated at a time: the memory that building takes does not grow with the table."""


@dataclass(frozen=True)
class Code:
    """How a score becomes the number in a cell: as it is (floating point), or ``low + step · code`` (integers).

    An integer code keeps the working points: a cell's decoded score is at least w if, and only if, its score is.
    """

    cell: CellType
    low: float = 0.0
    step: float = 1.0
    working_points: tuple[float, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian on disk."""
        return np.dtype(self.cell).newbyteorder("<")

    @property
    def is_integer(self) -> bool:
        """Whether codes are decoded."""
        return self.cell.startswith("uint")

    def encode(self, score: Float64) -> NDArray[Any]:
        """Numbers to store; integers are the nearest, or the next one on the right side of a working point."""
        if not self.is_integer:
            return score.astype(self.dtype)
        largest = int(np.iinfo(self.cell).max)
        code = np.clip(np.rint((score - self.low) / self.step), 0, largest)
        for point in self.working_points:
            first = self.first_passing(point)
            code = np.where((score >= point) & (code < first), first, code)
            code = np.where((score < point) & (code >= first), first - 1, code)
        return code.astype(self.dtype)

    def decode(self, code: NDArray[Any]) -> Float64:
        """Scores again."""
        return self.low + self.step * code.astype(np.float64) if self.is_integer else code.astype(np.float64)

    def first_passing(self, point: float) -> int:
        """The smallest code whose score is at least the working point."""
        first = int(np.ceil((point - self.low) / self.step))
        while self.low + self.step * first < point:
            first += 1
        while self.low + self.step * (first - 1) >= point:
            first -= 1
        return first


def choose_code(
    cell: CellType | Literal["auto"], working_points: Sequence[float], limits: tuple[float, float], precision: float
) -> Code:
    """The smallest type that tells all working points apart and keeps scores within ``precision``, or the given one.

    Raises
    ------
    ConfigError
        if the given type cannot.
    """
    points = tuple(sorted(float(point) for point in working_points))
    low, high = limits
    if not low < high or not all(low < point <= high for point in points):
        raise ConfigError(f"working points {points}: expected them within the scores' range, {low} … {high}")
    if cell not in ("auto", *get_args(CellType)):
        raise ConfigError(f"cell {cell!r}: expected auto, {', '.join(get_args(CellType))}")
    why = ""
    for candidate in get_args(CellType) if cell == "auto" else (cell,):
        if not candidate.startswith("uint"):
            return Code(candidate, working_points=points)
        step = (high - low) / float(np.iinfo(candidate).max)
        code = Code(candidate, low, step, points)
        first = [code.first_passing(point) for point in points]
        apart = len(set(first)) == len(first) and all(0 < code <= np.iinfo(candidate).max for code in first)
        if apart and 1.5 * step <= precision:
            return code
        why = f"steps of {step:.3g}" + ("" if apart else " do not tell the working points apart")
    raise ConfigError(f"cell {cell!r} cannot keep scores within {precision:.3g}: {why}; take more bits")


@dataclass(frozen=True)
class Table:
    """Axes and cells; the last axis varies fastest."""

    axes: tuple[Axis, ...]
    code: Code
    cells: NDArray[Any]  # (cell,), memory-mapped

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(axis.name for axis in self.axes)

    def cell(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The cell of each event, of shape (event,)."""
        place = np.zeros(len(values), dtype=np.int64)
        for axis, stride, x in zip(self.axes, strides(self.axes), np.asarray(values, np.float64).T, strict=True):
            place += stride * axis.bin(x)
        return place

    def codes(self, values: NDArray[Any]) -> NDArray[Any]:
        """What is stored for each event."""
        return np.asarray(self.cells[self.cell(values)])

    def predict(self, values: NDArray[Any]) -> Float64:
        """Scores of events (event, input), of shape (event,)."""
        return self.code.decode(self.codes(values))


def n_cells(axes: Sequence[Axis]) -> int:
    """Of the whole table."""
    return int(np.prod([axis.bins for axis in axes], dtype=object))


def strides(axes: Sequence[Axis]) -> list[int]:
    """How far apart, in cells, neighbours on each axis are."""
    found, stride = [], 1
    for axis in reversed(axes):
        found.append(stride)
        stride *= axis.bins
    return found[::-1]


def points_of(axes: Sequence[Axis], begin: int, end: int) -> Float64:
    """Where the cells ``begin`` … ``end − 1`` are evaluated, of shape (cell, input)."""
    place = np.arange(begin, end, dtype=np.int64)
    columns = [axis.points[(place // stride) % axis.bins] for axis, stride in zip(axes, strides(axes), strict=True)]
    return np.stack(columns, axis=1)


def steps(cells: int, what: str) -> Iterator[tuple[int, int]]:
    """Ranges of cells, with progress."""
    with progress(cells, what, unit="cells") as advance:
        for begin in range(0, cells, STEP):
            end = min(begin + STEP, cells)
            yield begin, end
            advance(end - begin)


def identity(axes: Sequence[Axis], code: Code) -> int:
    """A number of 64 bits that header, table and manifest share, so that no table is read with another's axes."""
    content = [[axis.to_json() for axis in axes], code.cell, code.low, code.step]
    return int(content_hash(content)[:16], 16)


def write_table(path: Path, axes: Sequence[Axis], code: Code, score: Callable[[Float64], Float64]) -> None:
    """Evaluate ``score`` once a cell and write the file, a part at a time."""
    cells = n_cells(axes)
    with open(path, "wb") as file:
        file.write(HEADER.pack(MAGIC, BYTE_ORDER, code.dtype.itemsize, cells, identity(axes, code)))
        for begin, end in steps(cells, "evaluating cells"):
            file.write(code.encode(score(points_of(axes, begin, end))).tobytes())


def open_table(path: Path, axes: tuple[Axis, ...], code: Code) -> Table:
    """Map the file of a table; see ``map_cells``."""
    return Table(axes, code, map_cells(path, code, n_cells(axes), identity(axes, code)))


def map_cells(path: Path, code: Code, expected: int, made_for: int) -> NDArray[Any]:
    """Map the cells of a file, of shape (cell,): processes that read it share one copy in memory.

    Raises
    ------
    ArtifactError
        if it is no table, cut short, or of other axes.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEADER.size)
        magic, order, size, cells, identity_found = HEADER.unpack(head)
    except (OSError, struct.error) as error:
        raise ArtifactError(f"cannot read the table {path}: {error}") from error
    if magic != MAGIC or order != BYTE_ORDER:
        raise ArtifactError(f"{path} is no table: it begins with {magic!r}")
    if (size, cells) != (code.dtype.itemsize, expected) or identity_found != made_for:
        raise ArtifactError(
            f"{path} is another table: {cells:,} cells of {size} bytes, expected {expected:,} of {code.dtype.itemsize} bytes, "
            "with these axes"
        )
    if path.stat().st_size != HEADER.size + size * cells:
        raise ArtifactError(f"{path} has {path.stat().st_size:,} bytes, expected {HEADER.size + size * cells:,}")
    return np.memmap(path, code.dtype, "r", HEADER.size, (cells,))
