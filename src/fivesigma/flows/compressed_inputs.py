"""Fewer bits for each input of a table: which integer becomes which code, and the fields of the address.

Small bends, those of large momenta, keep single strips; large ones share a code, as their relative error is smaller:
``code = ⌊L ln(1 + m/s) / ln(1 + M/s)⌋`` for magnitudes m below M in L levels. In hardware such a map is a small table of
integers, before the large one; `Compression.maps` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.simulate.muons import INPUT_BITS

KNEE = 16.0
"""s: up to about so many strips, codes are narrow."""
LINEAR = ("eta_bin", "pattern")
"""Inputs that lose their lowest bits instead."""


@dataclass(frozen=True)
class Compression:
    """Bits of each input; 0 leaves it out."""

    bits: Mapping[str, int]

    def __post_init__(self) -> None:
        if unknown := set(self.bits) ^ set(INPUT_BITS):
            raise ConfigError(
                f"bits: expected one number for each of {', '.join(INPUT_BITS)}; wrong: {sorted(unknown)}"
            )
        for name, bits in self.bits.items():
            if not 0 <= bits <= INPUT_BITS[name][0]:
                raise ConfigError(f"bits of {name}: expected 0 to {INPUT_BITS[name][0]}, got {bits}")
            if name == "pattern" and bits not in (0, INPUT_BITS[name][0]):
                raise ConfigError(f"bits of pattern: expected 0 or {INPUT_BITS[name][0]}, got {bits}: it has no order")

    @property
    def total(self) -> int:
        """Bits of the address."""
        return sum(self.bits.values())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those that are left."""
        return tuple(name for name, bits in self.bits.items() if bits)

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        """Words of the target ``integer-table``."""
        return {name: {"bits": self.bits[name], "signed": INPUT_BITS[name][1]} for name in self.inputs}

    def map_of(self, name: str) -> tuple[int, NDArray[np.int64]]:
        """The smallest integer of an input, and the codes of it and its followers."""
        full, signed = INPUT_BITS[name]
        bits = self.bits[name]
        if name in LINEAR:
            return 0, np.arange(1 << full) >> (full - bits)
        count, levels = (1 << (full - 1), 1 << (bits - 1)) if signed else (1 << full, 1 << bits)
        magnitude = _levels(count, levels)
        if not signed:
            return 0, magnitude
        return -count, np.concatenate([-1 - magnitude[::-1], magnitude])

    @property
    def maps(self) -> dict[str, Any]:
        """All of them, JSON-like."""
        return {name: {"first": self.map_of(name)[0], "codes": self.map_of(name)[1].tolist()} for name in self.inputs}

    def codes(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Codes of muons, (muon, input)."""
        columns = []
        for name in self.inputs:
            first, codes = self.map_of(name)
            columns.append(codes[np.asarray(inputs[name], np.int64) - first])
        return np.stack(columns, axis=1).astype(np.float64)


def _levels(count: int, levels: int) -> NDArray[np.int64]:
    """The level of each magnitude 0 … count − 1."""
    magnitude = np.arange(count)
    if levels >= count:
        return np.asarray(magnitude, dtype=np.int64)
    scaled = np.log1p(magnitude / KNEE) / np.log1p(count / KNEE) * levels
    return np.asarray(np.minimum(np.floor(scaled + 1e-9), levels - 1), dtype=np.int64)
