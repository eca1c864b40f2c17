"""A number with its uncertainty, and how the uncertainty was found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.6826894921370859
"""Content of the central interval behind every quoted uncertainty: one Gaussian standard deviation each side."""


@dataclass(frozen=True)
class Measurement:
    """A value, its uncertainty (half of the central 68.27 % interval), how it was found, and the interval itself.

    A value that the sample cannot give (no background is left above the cut) is not finite: infinity or NaN, with the
    reason in ``how``; JSON then holds ``null``.

    >>> print(Measurement(0.87413, 0.0021, "bootstrap, 200 replicas"))
    0.8741 ± 0.0021
    >>> print(Measurement(1298.0, 46.0, "bootstrap, 200 replicas"))
    1298 ± 46
    """

    value: float
    uncertainty: float
    how: str
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "∞" if self.value == math.inf else "undefined"
        if not math.isfinite(self.uncertainty):
            return f"{self.value:.4g} ± undefined"
        decimals = _decimals(self.uncertainty)
        return f"{self.value:.{decimals}f} ± {self.uncertainty:.{decimals}f}"

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON; numbers that are not finite become ``None``."""
        return {
            "value": finite_or_none(self.value),
            "uncertainty": finite_or_none(self.uncertainty),
            "how": self.how,
            "interval": None if self.interval is None else [finite_or_none(limit) for limit in self.interval],
        }


def _decimals(uncertainty: float) -> int:
    """Decimals that leave two significant digits of the uncertainty (four decimals where it is exactly zero)."""
    if uncertainty == 0:
        return 4
    return max(0, 1 - math.floor(math.log10(float(f"{uncertainty:.1e}"))))


def finite_or_none(value: float) -> float | None:
    """JSON has neither NaN nor infinity: they become ``None``."""
    return float(value) if math.isfinite(value) else None


def json_list(values: Iterable[float]) -> list[float | None]:
    """A list of numbers for JSON, those that are not finite as ``None``."""
    return [finite_or_none(float(value)) for value in values]
