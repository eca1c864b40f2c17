"""``IntegerField`` and addresses: a table for hardware, where inputs, address and value are integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import content_hash
from fivesigma.deploy.lookup_table import BYTE_ORDER, HEADER, MAGIC, Code, steps
from fivesigma.deploy.trained_model import Float64

Packing = Literal["concatenated", "packed"]
LARGEST = 1 << 31
"""Bytes: 2 GiB."""
MOST_BITS = 31  # of a field, so that it fits an int32_t


@dataclass(frozen=True)
class IntegerField:
    """An input as hardware gives it: an integer of so many bits, that stands for ``offset + step · integer``.

    ``values`` limits it to 0 … values − 1 (or to as many around zero if signed) where hardware uses less than its bits.

    >>> IntegerField("bend", bits=4, signed=True, step=0.5).limits
    (-8, 7)
    """

    name: str
    bits: int
    signed: bool = False
    step: float = 1.0
    offset: float = 0.0
    values: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise ConfigError(f"field {self.name!r}: expected 1 to {MOST_BITS} bits, got {self.bits}")
        if self.values is not None and not 1 <= self.values <= 1 << self.bits:
            raise ConfigError(f"field {self.name!r}: expected 1 to {1 << self.bits} values, got {self.values}")
        if not (np.isfinite(self.step) and np.isfinite(self.offset) and self.step != 0.0):
            raise ConfigError(f"field {self.name!r}: expected a finite step and offset, got {self.step}, {self.offset}")

    @property
    def count(self) -> int:
        """How many values it has."""
        return self.values or 1 << self.bits

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer; what lies beyond is taken as the nearer of them."""
        low = -(self.count // 2) if self.signed else 0
        return low, low + self.count - 1


@dataclass(frozen=True)
class AddressSpace:
    """How integers make an address, the first field in the highest bits.

    "concatenated": the bits of all fields side by side, two's complement where signed, as hardware wires them; "packed": a
    number with digits of as many values as each field has, so that no address is left unused.
    """

    fields: tuple[IntegerField, ...]
    packing: Packing = "concatenated"

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each field, the number of addresses that it multiplies."""
        return tuple(field.count if self.packing == "packed" else 1 << field.bits for field in self.fields)

    @property
    def addresses(self) -> int:
        """How many there are."""
        return int(np.prod(self.widths, dtype=object))

    def address(self, integers: NDArray[Any]) -> NDArray[np.int64]:
        """Of integers (event, field), of shape (event,)."""
        found = np.zeros(len(integers), dtype=np.int64)
        for field, width, x in zip(self.fields, self.widths, np.asarray(integers, np.int64).T, strict=True):
            low, high = field.limits
            digit = np.clip(x, low, high)
            found = found * width + (digit - low if self.packing == "packed" else digit & (width - 1))
        return found

    def integers(self, address: NDArray[np.int64]) -> NDArray[np.int64]:
        """The inverse, of shape (address, field); unused codes of a field are read as its nearest value."""
        columns = []
        for field, width in zip(reversed(self.fields), reversed(self.widths), strict=True):
            digit, address = address % width, address // width
            low, high = field.limits
            if self.packing == "packed":
                digit = digit + low
            elif field.signed:
                digit = np.where(digit >= width // 2, digit - width, digit)
            columns.append(np.clip(digit, low, high))
        return np.stack(columns[::-1], axis=1)

    def values(self, integers: NDArray[np.int64]) -> Float64:
        """What the integers stand for, in the model's units."""
        return np.stack([f.offset + f.step * x for f, x in zip(self.fields, integers.T, strict=True)], axis=1)

    @property
    def unused(self) -> bool:
        """Whether some addresses belong to no integers of their own."""
        return self.addresses != int(np.prod([field.count for field in self.fields], dtype=object))

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"fields": [asdict(field) for field in self.fields], "packing": self.packing}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> AddressSpace:
        """The same addresses again."""
        return cls(tuple(IntegerField(**field) for field in content["fields"]), content["packing"])

    def identity(self, code: Code) -> int:
        """64 bits that header and table share."""
        return int(content_hash([self.to_json(), code.cell, code.low, code.step])[:16], 16)


def write_integer_table(
    path: Path, space: AddressSpace, code: Code, answer: Any, grid: Callable[[int, int], Float64] | None = None
) -> None:
    """Evaluate ``answer`` once an address and write the file, a part at a time.

    ``grid``, if there is one, answers for a range of addresses in place of ``answer`` for values.
    """
    with open(path, "wb") as file:
        file.write(HEADER.pack(MAGIC, BYTE_ORDER, code.dtype.itemsize, space.addresses, space.identity(code)))
        for begin, end in steps(space.addresses, "evaluating addresses"):
            if grid is not None:
                file.write(code.encode(grid(begin, end)).tobytes())
                continue
            values = space.values(space.integers(np.arange(begin, end, dtype=np.int64)))
            file.write(code.encode(answer(values)).tobytes())


def write_memory(path: Path, cells: NDArray[Any], bits: int) -> None:
    """For memory initialisation: ``.coe`` (Xilinx' block-memory generator) or ``.mem`` (``$readmemh``), hexadecimal."""
    digits = -(-bits // 4)
    coe = path.suffix == ".coe"
    with open(path, "w", encoding="ascii") as file:
        if coe:
            file.write("memory_initialization_radix=16;\nmemory_initialization_vector=\n")
        for begin, end in steps(len(cells), f"writing {path.suffix}"):
            words = [f"{int(x):0{digits}x}" for x in cells[begin:end]]
            last = end == len(cells)
            file.write((",\n".join(words) + (";\n" if last else ",\n")) if coe else "\n".join(words) + "\n")


def read_memory(path: Path) -> NDArray[np.int64]:
    """The words of a ``.coe`` or ``.mem`` file."""
    text = path.read_text(encoding="ascii")
    if path.suffix == ".coe":
        text = text.split("memory_initialization_vector=")[1].replace(";", "").replace(",", "\n")
    return np.array([int(word, 16) for word in text.split()], dtype=np.int64)


def fields_of(words: Mapping[str, Mapping[str, Any]], inputs: Sequence[str]) -> tuple[IntegerField, ...]:
    """One field for each input of the model, from a study's or command line's words.

    Raises
    ------
    ConfigError
        for a missing or unknown input, or words that a field does not have.
    """
    if set(words) != set(inputs):
        raise ConfigError(f"fields: expected one for each of {', '.join(inputs)}; got {', '.join(words) or 'none'}")
    try:
        return tuple(IntegerField(name, **words[name]) for name in words)
    except TypeError as error:
        raise ConfigError(f"fields: expected bits, signed, step, offset, values; {error}") from error
