"""``FeedForward``: a network without loops as a list of steps on plain arrays, and what it answers in float32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Function = Literal["relu", "prelu", "elu", "tanh", "sigmoid", "softmax"]


@dataclass(frozen=True)
class Affine:
    """Wx + b."""

    source: int
    weight: Float64  # (output, input)
    bias: Float64  # (output,)


@dataclass(frozen=True)
class Scaled:
    """Each value times its factor, plus its shift."""

    source: int
    factor: Float64  # (value,)
    shift: Float64  # (value,)


@dataclass(frozen=True)
class Activated:
    """A function of each value (softmax: of all); ``slope`` below zero is of "prelu"."""

    source: int
    function: Function
    slope: float = 0.0


@dataclass(frozen=True)
class Largest:
    """The largest of each ``pieces`` neighbours: (node · piece,) → (node,)."""

    source: int
    pieces: int


@dataclass(frozen=True)
class Normalised:
    """Mean 0 and variance 1 over the event's values, then scale and shift."""

    source: int
    factor: Float64
    shift: Float64
    epsilon: float


@dataclass(frozen=True)
class Added:
    """The sum of two values."""

    source: int
    other: int


@dataclass(frozen=True)
class Gated:
    """gate · new + (1 − gate) · old."""

    gate: int
    new: int
    old: int


@dataclass(frozen=True)
class Joined:
    """Values one after another."""

    sources: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Some neighbouring values."""

    source: int
    begin: int
    end: int


Step = Affine | Scaled | Activated | Largest | Normalised | Added | Gated | Joined | Part


@dataclass(frozen=True)
class FeedForward:
    """Value 0 is (x − shift) / scale, step k makes value k + 1, and the last value, of one number, is the output.

    ``link``: "logistic" if the output is the logit of signal, otherwise the output is the answer itself.
    """

    shift: Float64  # (input,)
    scale: Float64  # (input,)
    steps: tuple[Step, ...]
    link: Literal["logistic", "identity"]
    is_probability: bool

    @property
    def widths(self) -> tuple[int, ...]:
        """How many numbers each value has."""
        widths = [len(self.shift)]
        for step in self.steps:
            widths.append(width_of(step, widths))
        return tuple(widths)

    @property
    def multiplications(self) -> int:
        """Of one event, in its affine steps."""
        return sum(step.weight.size for step in self.steps if isinstance(step, Affine))

    def values_of_input(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Value 0, in the precision of X."""
        return (X - self.shift.astype(X.dtype)) / self.scale.astype(X.dtype)

    def values(self, X: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """All values for X, (event, input), in the precision of X: the reference of what is generated.

        Sums run over the inputs in order, each product and each sum rounded, as the generated C does it: in float32 the
        same bits, but for tanh, exp and their kind.
        """
        found = [self.values_of_input(X)]
        for step in self.steps:
            found.append(_value(step, found))
        return found

    def score(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """The output, (event,), in the precision of X."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.values(X)[-1][:, 0]

    def probability(self, score: NDArray[np.floating]) -> Float64:
        """What is wanted of the output, (event,)."""
        wide: Float64 = score.astype(np.float64)
        if self.link == "identity":
            return wide
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-wide)))


def sources(step: Step) -> tuple[int, ...]:
    """The values that a step reads."""
    match step:
        case Added(source, other):
            return (source, other)
        case Gated(gate, new, old):
            return (gate, new, old)
        case Joined(many):
            return many
        case _:
            return (step.source,)


def width_of(step: Step, widths: Sequence[int]) -> int:
    """How many numbers a step makes."""
    match step:
        case Affine():
            return len(step.weight)
        case Largest(source, pieces):
            return widths[source] // pieces
        case Joined(many):
            return sum(widths[source] for source in many)
        case Part(_, begin, end):
            return end - begin
        case _:
            return widths[sources(step)[0]]


def _value(step: Step, found: Sequence[NDArray[Any]]) -> Any:
    x = found[sources(step)[0]]
    kind = x.dtype
    match step:
        case Affine(_, weight, bias):
            total = np.broadcast_to(bias.astype(kind), (len(x), len(bias))).copy()
            for i, column in enumerate(weight.astype(kind).T):
                total += x[:, i, None] * column
            return total
        case Scaled(_, factor, shift):
            return x * factor.astype(kind) + shift.astype(kind)
        case Activated(_, function, slope):
            return activation(function, x, slope)
        case Largest(_, pieces):
            return x.reshape(len(x), -1, pieces).max(axis=2)
        case Normalised(_, factor, shift, epsilon):
            centred = x - x.mean(axis=1, keepdims=True)
            deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + kind.type(epsilon))
            return centred / deviation * factor.astype(kind) + shift.astype(kind)
        case Added(_, other):
            return x + found[other]
        case Gated(_, new, old):
            return x * found[new] + (kind.type(1) - x) * found[old]
        case Joined(many):
            return np.concatenate([found[source] for source in many], axis=1)
        case Part(_, begin, end):
            return x[:, begin:end]


def activation(function: Function, x: NDArray[Any], slope: float = 0.0) -> Any:
    """A function of ``ACTIVATIONS``, in the precision of x; (event, value) → the same."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    with np.errstate(over="ignore"):
        match function:
            case "relu":
                return np.maximum(x, zero)
            case "prelu":
                return np.where(x > zero, x, x * x.dtype.type(slope))
            case "elu":
                return np.where(x > zero, x, np.expm1(np.minimum(x, zero)))
            case "tanh":
                return np.tanh(x)
            case "sigmoid":
                return one / (one + np.exp(-x))
            case "softmax":
                e = np.exp(x - x.max(axis=1, keepdims=True))
                return e / e.sum(axis=1, keepdims=True)


def simplified(steps: Mapping[int, Step], output: int) -> tuple[Step, ...]:
    """Steps by the number of the value they make (0 is the input), those that lead to ``output`` and as few as can be.

    Scales are multiplied into the affine steps before them, or, if all that read them are affine, after them.
    """
    todo = _reaching(steps, output)
    while (folded := _fold_one(todo, output)) is not None:
        todo = _reaching(folded, output)
    numbers = {0: 0} | {value: place for place, value in enumerate(sorted(todo), 1)}
    return tuple(_renumbered(todo[value], numbers) for value in sorted(todo))


def _reaching(steps: Mapping[int, Step], output: int) -> dict[int, Step]:
    kept, todo = set(), [output]
    while todo:
        if (value := todo.pop()) in steps and value not in kept:
            kept.add(value)
            todo.extend(sources(steps[value]))
    return {value: steps[value] for value in sorted(kept)}


def _fold_one(steps: dict[int, Step], output: int) -> dict[int, Step] | None:
    readers = Counter(source for step in steps.values() for source in sources(step))
    for value, step in steps.items():
        if not isinstance(step, Scaled):
            continue
        before = steps.get(step.source)
        if isinstance(before, Affine) and readers[step.source] == 1:
            weight, bias = step.factor[:, None] * before.weight, step.factor * before.bias + step.shift
            return steps | {value: Affine(before.source, weight, bias)}
        after = {v: s for v, s in steps.items() if value in sources(s)}
        if value != output and all(isinstance(s, Affine) for s in after.values()):
            return steps | {
                v: Affine(step.source, s.weight * step.factor, s.bias + s.weight @ step.shift)
                for v, s in after.items()
                if isinstance(s, Affine)
            }
    return None


def _renumbered(step: Step, numbers: Mapping[int, int]) -> Step:
    match step:
        case Added(source, other):
            return Added(numbers[source], numbers[other])
        case Gated(gate, new, old):
            return Gated(numbers[gate], numbers[new], numbers[old])
        case Joined(many):
            return Joined(tuple(numbers[source] for source in many))
        case _:
            return replace(step, source=numbers[step.source])
