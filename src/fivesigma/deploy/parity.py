"""The proof that an export is its model: many inputs, chosen to find a difference, and the worst that was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ParityError
from fivesigma.deploy.trained_model import LARGEST, Float64, TrainedModel

RANDOM = 2_000
"""Random inputs that a proof takes, and the most recorded ones."""
ADVERSARIAL = 100_000
"""The most cuts whose neighbourhoods are tried, three inputs each; of more, as many evenly spread ones."""
SPECIAL = (
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    2.2250738585072014e-308,
    LARGEST,
    -LARGEST,
    1e-35,
    -1e-35,
)
"""Not a number, infinities, zeros, the smallest and largest numbers, and the width of LightGBM's zero."""


@dataclass(frozen=True)
class Proof:
    """Inputs (event, input) and what the model answers there, by the name of the output, each of shape (event,)."""

    inputs: Any  # (event, input), or `EventColumns`
    expected: Mapping[str, NDArray[Any]]
    kinds: Mapping[str, int]  # how many inputs of which kind, in this order


@dataclass(frozen=True)
class Difference:
    """The worst difference of one output, and where."""

    output: str
    tolerance: float
    worst: float
    at: int
    expected: float
    got: float
    different: int

    @property
    def within(self) -> bool:
        """Whether the proof holds."""
        return self.worst <= self.tolerance

    def sentence(self, names: Sequence[str], inputs: Any) -> str:
        """What differs, and at which input."""
        where = ", ".join(f"{name} = {value!r}" for name, value in zip(names, inputs[self.at].tolist(), strict=True))
        return (
            f"{self.output} differs at {self.different:,} of {len(inputs):,} inputs by up to {self.worst:.3g} "
            f"(tolerance {self.tolerance:.3g}); at {where}: expected {self.expected!r}, got {self.got!r}"
        )

    def to_json(self, names: Sequence[str], inputs: Any) -> dict[str, Any]:
        """For the manifest; numbers that JSON cannot hold are written as text."""
        at = {name: _json(value) for name, value in zip(names, inputs[self.at].tolist(), strict=True)}
        return {
            "tolerance": self.tolerance,
            "worst": _json(self.worst),
            "inputs_that_differ": self.different,
            "at": at,
            "expected": _json(self.expected),
            "got": _json(self.got),
        }


def proof_inputs(
    model: TrainedModel,
    cuts: Sequence[Float64],
    *,
    seed: int,
    random: int = RANDOM,
    at_cuts: Callable[[Float64, Float64], Float64] | None = None,
) -> tuple[Float64, dict[str, int]]:
    """Inputs of a proof, of shape (event, input), and how many of each kind.

    Recorded events; random ones between and beyond the cuts; adversarial ones: each cut of each input and its two
    neighbours among the floating-point numbers, and ``SPECIAL`` values, each in an otherwise random event; last, events
    that are special in every input. ``at_cuts`` gives more for the ranges (lowest, highest) of the random ones.
    """
    rng = np.random.default_rng(seed)
    n = len(model.inputs)
    ranges = [_range(values, model.recorded[:, i] if len(model.recorded) else None) for i, values in enumerate(cuts)]
    low, high = np.array(ranges).T

    def events(count: int) -> Float64:
        return rng.uniform(low, high, (count, n))

    recorded = model.recorded[:: max(1, len(model.recorded) // random)] if len(model.recorded) else np.empty((0, n))
    adversarial = []
    share = max(1, ADVERSARIAL // max(1, n))
    for i, values in enumerate(cuts):
        finite = np.unique(values[np.isfinite(values)])
        if len(finite) > share:
            finite = finite[np.unique(np.linspace(0, len(finite) - 1, share).astype(np.int64))]
        tried = np.concatenate([np.nextafter(finite, -np.inf), finite, np.nextafter(finite, np.inf), SPECIAL])
        block = events(len(tried))
        block[:, i] = tried
        adversarial.append(block)
    corners = rng.choice(SPECIAL, (100, n))
    corners[: len(SPECIAL)] = np.array(SPECIAL)[:, None]
    parts = {"recorded": recorded, "random": events(random), "adversarial": np.concatenate([*adversarial, corners])}
    if at_cuts is not None:
        parts["at every cut"] = at_cuts(low, high)
    return np.concatenate(list(parts.values())), {kind: len(part) for kind, part in parts.items()}


def _range(cuts: Float64, recorded: Float64 | None) -> tuple[float, float]:
    values = cuts[np.isfinite(cuts)]
    if recorded is not None:
        values = np.concatenate([values, recorded])
    if len(values) == 0:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def compare(
    expected: Mapping[str, NDArray[Any]], got: Mapping[str, Any], tolerances: Mapping[str, float]
) -> list[Difference]:
    """The worst absolute difference of each output; a NaN equals only a NaN, tolerance 0 is every bit but zero's sign."""
    found = []
    for output, tolerance in tolerances.items():
        want, have = np.asarray(expected[output], np.float64), np.asarray(got[output], np.float64)
        if want.shape != have.shape:
            raise ParityError(f"{output}: expected {want.shape} values, got {have.shape}")
        same = (want == have) | (np.isnan(want) & np.isnan(have))
        with np.errstate(invalid="ignore"):
            difference = np.where(same, 0.0, np.abs(want - have))
        difference = np.where(np.isnan(difference), np.inf, difference)
        at = int(np.argmax(difference)) if len(difference) else 0
        worst = float(difference[at]) if len(difference) else 0.0
        found.append(
            Difference(
                output, tolerance, worst, at, float(want[at]), float(have[at]), int((difference > tolerance).sum())
            )
        )
    return found


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(number) for number in value]
    return value if np.isfinite(value) else repr(value)
