"""``FixedNetwork``: a network in integers, its numbers of so many bits, rounded to nearest and saturating."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.deploy.c_source import signed_type
from fivesigma.deploy.feed_forward import (
    Activated,
    Added,
    Affine,
    FeedForward,
    Float64,
    Gated,
    Joined,
    Largest,
    Part,
    Scaled,
    Step,
    activation,
    sources,
)

Int64 = NDArray[np.int64]
FEWEST_BITS, MOST_BITS = 4, 24
"""24: every number is also a float32."""
EXACT = 2**53
"""Sums below this are the same in float64, which NumPy multiplies matrices in."""
TABLE_RANGE, TABLE_CELLS = 8, 128
"""tanh, σ and eˣ − 1 are looked up between ± this, in so many cells for each unit."""
HLS4ML_TABLES = {"tanh": (4, 12), "sigmoid": (8, 11)}
"""hls4ml looks these up between ± the first number. With the second as most fraction bits no entry comes nearer to a half
than two units in the last place of float32, in which its C++ fills the table: any C library rounds it the same way."""
HLS4ML_FRACTION = 7
"""Most fraction bits of what is looked up there: a cell for each code, as hls4ml rounds to cells otherwise than we do."""


@dataclass(frozen=True)
class FixedStep:
    """A step on integers: its source's codes × ``left`` (one factor a source), summed, over 2^``round``, saturated."""

    step: Step
    fraction: int
    """A code stands for itself × 2^−fraction."""
    round: int = 0
    wide: bool = False
    """Whether sums need 64 bits."""
    left: tuple[int, ...] = ()
    weight: Int64 | None = None  # (output, input) of affine steps, (value,) of scales, () of slopes
    bias: Int64 | None = None
    table: Int64 | None = None
    first: int = 0  # the code at which the table begins
    cell: int = 0  # log2 of the codes in one of its cells
    rounds: tuple[int, ...] = ()  # of joined values, each

    def arrays(self) -> list[tuple[str, str, Any]]:
        """Name, type in C and values of its constant arrays."""
        found: list[tuple[str, str, Any]] = []
        if isinstance(self.step, Affine | Scaled) and self.weight is not None and self.bias is not None:
            names = ("weight", "bias") if isinstance(self.step, Affine) else ("factor", "shift")
            found = [
                (names[0], signed_type(self.weight), self.weight.T.ravel()),
                (names[1], signed_type(self.bias), self.bias),
            ]
        if self.table is not None:
            found.append(("table", signed_type(self.table), self.table))
        return found

    def words(self, network: FixedNetwork) -> dict[str, Any]:
        """What the template asks beside."""
        return {
            "left": self.left,
            "rounds": self.rounds,
            "weight_type": None if self.weight is None else signed_type(self.weight),
            "slope": None if self.weight is None or self.weight.ndim else int(self.weight),
            "cells": 0 if self.table is None else len(self.table),
            "first": self.first,
            "cell": self.cell,
            "fraction": self.fraction,
            "source_fraction": network.fractions[sources(self.step)[0]],
        }  # fmt: skip


@dataclass(frozen=True)
class FixedNetwork:
    """Integers of ``bits`` bits, sign included; ``steps`` as in the ``network`` that they stand for."""

    network: FeedForward
    bits: int
    input_fraction: int
    steps: tuple[FixedStep, ...] = field(repr=False)

    @property
    def low(self) -> int:
        """The smallest code."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest code."""
        return (1 << (self.bits - 1)) - 1

    @property
    def fractions(self) -> tuple[int, ...]:
        """Fraction bits of each value, the input first."""
        return (self.input_fraction, *(step.fraction for step in self.steps))

    @property
    def needs_64_bits(self) -> bool:
        """Whether any sum does."""
        return any(step.wide for step in self.steps)

    @property
    def words(self) -> str:
        """The number format in words."""
        spread = sorted({*self.fractions})
        of = f"{spread[0]}" if len(spread) == 1 else f"{spread[0]} to {spread[-1]}"
        return f"fixed point of {self.bits} bits, {of} of them fraction"

    def codes(self, X: NDArray[np.float32]) -> Int64:
        """Integers of what the network sees (event, input)."""
        seen = self.network.values_of_input(X).astype(np.float64)
        return np.clip(np.floor(seen * 2.0**self.input_fraction + 0.5), self.low, self.high).astype(np.int64)

    def values(self, codes: Int64) -> list[Int64]:
        """All values for input codes (event, input)."""
        found = [codes]
        for step in self.steps:
            found.append(self._value(step, found))
        return found

    def score(self, X: NDArray[np.float32]) -> Float64:
        """The output as a number, (event,)."""
        return np.asarray(self.values(self.codes(X))[-1][:, 0] * 2.0 ** -self.fractions[-1], dtype=np.float64)

    def _value(self, exact: FixedStep, found: Sequence[Int64]) -> Any:
        step = exact.step
        weight: Any = exact.weight  # there where the step has one
        bias: Any = exact.bias
        x = found[sources(step)[0]]
        match step:
            case Affine():
                products = x.astype(np.float64) @ weight.T.astype(np.float64)
                return self.fit(products.astype(np.int64) + bias, exact.round)
            case Scaled():
                return self.fit(x * weight + bias, exact.round)
            case Activated(_, "relu"):
                return np.maximum(x, 0)
            case Activated(_, "prelu"):
                return np.where(x > 0, x, self.fit(x * weight, exact.round))
            case Activated(_, function):
                assert exact.table is not None
                looked_up = exact.table[np.clip((x - exact.first) >> exact.cell, 0, len(exact.table) - 1)]
                return np.where(x > 0, x, looked_up) if function == "elu" else looked_up
            case Largest(_, pieces):
                return x.reshape(len(x), -1, pieces).max(axis=2)
            case Added(source, other):
                return self.fit(found[source] * exact.left[0] + found[other] * exact.left[1], exact.round)
            case Gated(gate, new, old):
                before = found[old] * exact.left[1]
                change = found[gate] * (found[new] * exact.left[0] - before)
                return self.fit(before * exact.left[2] + change, exact.round)
            case Joined(many):
                parts = [self.fit(found[s], bits) for s, bits in zip(many, exact.rounds, strict=True)]
                return np.concatenate(parts, axis=1)
            case Part(_, begin, end):
                return x[:, begin:end]
            case _:
                raise AssertionError(step)

    def fit(self, total: Int64, bits: int) -> Int64:
        """Over 2^bits, rounded to nearest (halves up), saturated."""
        rounded = (total + (1 << (bits - 1))) >> bits if bits > 0 else total
        return np.clip(rounded, self.low, self.high)


def quantised(
    network: FeedForward,
    bits: int,
    seen: NDArray[np.floating] | None,
    fraction: int | None = None,
    *,
    as_hls4ml: bool = False,
) -> FixedNetwork:
    """The network in integers of ``bits`` bits.

    Parameters
    ----------
    seen
        what the network sees of typical events (event, input): each value has as many fraction bits as leave room for the
        largest that occurs, and 1/16 more.
    fraction
        the same number of fraction bits for all values instead.
    as_hls4ml
        whether tanh and σ are looked up in hls4ml's tables (``HLS4ML_TABLES``) instead of ours.

    Raises
    ------
    ConfigError
        if neither ``seen`` nor ``fraction`` says how large values become, or the bits cannot be.
    ModelError
        if a step has no form in integers.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ConfigError(f"fixed point: expected {FEWEST_BITS} to {MOST_BITS} bits, got {bits}")
    if fraction is not None:
        wanted = [fraction] * (len(network.steps) + 1)
    elif seen is not None and len(seen):
        wanted = [_fraction(float(np.abs(v).max()) * 17 / 16, bits) for v in network.values(seen.astype(np.float64))]
    else:
        raise ConfigError(
            "fixed point: there are no recorded events to see how large values become; load the model from its run "
            "directory, or declare the fraction bits (--set fraction=10)"
        )
    if as_hls4ml:
        _as_hls4ml(network, wanted, bits)
    fractions, steps = [wanted[0]], []
    for step, most in zip(network.steps, wanted[1:], strict=True):
        if as_hls4ml and isinstance(step, Activated) and step.function in HLS4ML_TABLES:
            steps.append(_looked_up_by_hls4ml(step, fractions[step.source], most))
        else:
            steps.append(_quantised(step, most, fractions, bits))
        fractions.append(steps[-1].fraction)
    return FixedNetwork(network, bits, wanted[0], tuple(steps))


def _as_hls4ml(network: FeedForward, wanted: list[int], bits: int) -> None:
    """Fraction bits of what hls4ml's tables take and give; what they take may saturate beyond their ends."""
    for made, step in enumerate(network.steps, 1):
        if isinstance(step, Activated) and step.function in HLS4ML_TABLES:
            end, most = HLS4ML_TABLES[step.function]
            to_the_end = bits - 1 - round(math.log2(end))
            wanted[step.source] = min(max(wanted[step.source], to_the_end), HLS4ML_FRACTION)
            wanted[made] = min(bits - 2, most)


def _fraction(largest: float, bits: int) -> int:
    """The most fraction bits with which ``largest`` still fits."""
    return bits - 1 if largest == 0 else math.floor(math.log2((2 ** (bits - 1) - 1) / largest))


def _quantised(step: Step, most: int, fractions: Sequence[int], bits: int) -> FixedStep:
    before = fractions[sources(step)[0]]
    match step:
        case Affine(_, weight, bias):
            return _linear(step, weight, bias, before, most, bits)
        case Scaled(_, factor, shift):
            return _linear(step, factor, shift, before, most, bits)
        case Activated(_, "relu") | Largest() | Part():
            return FixedStep(step, before)
        case Activated(_, "prelu", slope):
            digits = max(0, _fraction(abs(slope), bits))
            return FixedStep(step, before, digits, wide=True, weight=_codes(np.array(slope), digits))
        case Activated(_, "elu" | "tanh" | "sigmoid"):
            return _looked_up(step, before, most, bits)
        case Added(source, other):
            pair = (fractions[source], fractions[other])
            common = max(pair)
            after = min(most, common)
            left = tuple(2 ** (common - own) for own in pair)
            _refuse_spread(step, bits + max(left).bit_length())
            return FixedStep(step, after, common - after, wide=bits + abs(pair[0] - pair[1]) > 29, left=left)
        case Gated(gate, new, old):
            common = max(fractions[new], fractions[old])
            after = min(most, common)
            left = (2 ** (common - fractions[new]), 2 ** (common - fractions[old]), 2 ** fractions[gate])
            _refuse_spread(step, 2 * bits + max(left[:2]).bit_length())
            return FixedStep(step, after, common + fractions[gate] - after, wide=True, left=left)
        case Joined(many):
            after = min(fractions[source] for source in many)
            return FixedStep(step, after, rounds=tuple(min(fractions[s] - after, bits + 1) for s in many))
    word = step.function if isinstance(step, Activated) else "layer-norm"
    raise ModelError(f"{word} within a network has no form in fixed point; export it with number=float")


def _linear(step: Step, weight: Float64, bias: Float64, before: int, most: int, bits: int) -> FixedStep:
    digits = _fraction(float(np.abs(weight).max()), bits)
    after = min(most, before + digits)
    codes, shift = _codes(weight, digits), _codes(bias, before + digits)
    products = np.abs(codes).sum(axis=1) if codes.ndim == 2 else np.abs(codes)
    rounding = before + digits - after
    largest = int((products * 2 ** (bits - 1) + np.abs(shift)).max()) + 2 ** max(0, rounding - 1)
    if largest >= EXACT or rounding > 62:
        raise ConfigError(
            f"fixed point: a sum of {codes.shape[-1]} products of {bits} bits reaches {largest:.2g}, beyond 2^53; use fewer "
            "bits"
        )
    return FixedStep(step, after, rounding, wide=largest >= 2**31 or rounding > 30, weight=codes, bias=shift)


def _refuse_spread(step: Step, bits: int) -> None:
    if bits > 60:
        raise ConfigError(
            f"fixed point: the values that are {type(step).__name__.lower()} differ too much in size: their sum takes {bits} "
            "bits; use fewer bits, or declare the same fraction bits for all (--set fraction=10)"
        )


def _codes(values: Float64, fraction: int) -> Int64:
    return np.floor(np.asarray(values) * 2.0**fraction + 0.5).astype(np.int64)


def _looked_up(step: Activated, before: int, most: int, bits: int) -> FixedStep:
    """A table over the codes from −8 to 8, its values taken at the middle of each cell."""
    span = max(1, min(round(TABLE_RANGE * 2.0**before), 2 ** (bits - 1)))
    cell = max(0, before - round(math.log2(TABLE_CELLS)))
    after = before if step.function == "elu" else min(most, bits - 2)
    centres = -span + 2**cell * np.arange(max(1, 2 * span >> cell)) + (2**cell - 1) / 2
    values = activation(step.function, (centres * 2.0**-before)[None, :])[0]
    high = 2 ** (bits - 1) - 1
    return FixedStep(step, after, table=np.clip(_codes(values, after), -high - 1, high), first=-span, cell=cell)


def _looked_up_by_hls4ml(step: Activated, before: int, after: int) -> FixedStep:
    """A cell for each code; at a negative number of fraction bits there would be none left."""
    if before < 0:
        raise ConfigError(f"fixed point: {step.function} of numbers without a fraction bit; use more bits")
    end, _ = HLS4ML_TABLES[step.function]
    codes = np.arange(-end << before, end << before)
    x = (codes * 2.0**-before)[None, :]
    if step.function == "sigmoid":  # in float32, as there
        values = (1.0 / (np.float32(1) + np.exp(-x).astype(np.float32)).astype(np.float64)).astype(np.float32)[0]
    else:
        values = activation(step.function, x)[0]
    return FixedStep(step, after, table=_codes(values.astype(np.float64), after), first=int(codes[0]))
