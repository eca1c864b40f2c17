"""Take a difference in spectra out of a comparison, by weights.

As in "Jet-images: deep learning edition" (arXiv:1511.05190): events are weighted such that the jet pt
spectra of signal and background agree, so that a network cannot tell them apart by pt. Here in any number of variables,
by the ratio of their binned densities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.dataset.closure_test import Separation, separation
from fivesigma.dataset.weight_policy import effective_sample_size

Mode = Literal["match", "flatten"]
ToClass = Literal["signal", "background", 0, 1]
Variables: TypeAlias = Mapping[str, NDArray[Any]] | NDArray[Any]
Bins: TypeAlias = int | Sequence[int | ArrayLike]
FloatArray: TypeAlias = NDArray[np.float64]

CLOSURE_BINS = 30  # of equal width, in each variable
_CLASSES = ("background", "signal")
_LABELS: tuple[Literal[0], Literal[1]] = (0, 1)


@dataclass(frozen=True)
class Spectrum:
    """Normalised spectrum of one class in one variable: fraction of its weight in each bin, and the error √Σw²."""

    content: FloatArray  # (bin,)
    error: FloatArray  # (bin,)

    @classmethod
    def of(cls, values: FloatArray, weight: FloatArray, edges: FloatArray) -> Spectrum:
        """Values outside the edges count in the outermost bins."""
        inside = np.clip(values, edges[0], edges[-1])
        content = np.histogram(inside, edges, weights=weight)[0]
        error = np.sqrt(np.histogram(inside, edges, weights=np.square(weight))[0])
        norm = weight.sum()
        return cls(content / norm, error / abs(norm))

    def to_json(self) -> dict[str, list[float]]:
        """Contents and errors."""
        return {"content": self.content.tolist(), "error": self.error.tolist()}


@dataclass(frozen=True)
class VariableClosure:
    """One variable before and after: spectra of (background, signal), and χ² of their difference with its ndf."""

    name: str
    edges: FloatArray  # (bin + 1,)
    before: tuple[Spectrum, Spectrum]
    after: tuple[Spectrum, Spectrum]
    chi2_before: float
    chi2_after: float
    ndf: int

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        return {
            "name": self.name,
            "edges": self.edges.tolist(),
            "before": {c: s.to_json() for c, s in zip(_CLASSES, self.before, strict=True)},
            "after": {c: s.to_json() for c, s in zip(_CLASSES, self.after, strict=True)},
            "chi2_before": self.chi2_before,
            "chi2_after": self.chi2_after,
            "ndf": self.ndf,
        }


@dataclass(frozen=True)
class Closure:
    """How well it worked, and what it cost.

    ``effective_before`` and ``effective_after`` are (Σw)²/Σw² of (background, signal). ``without_counterpart`` is the
    fraction of a class's weight in bins where the target has nothing (these events got weight 0), ``uncovered`` the
    fraction of the target in bins where the class has no events (it cannot be matched there); both are zero for the
    class that is not changed.
    """

    variables: tuple[VariableClosure, ...]
    effective_before: tuple[float, float]
    effective_after: tuple[float, float]
    without_counterpart: tuple[float, float]
    uncovered: tuple[float, float]
    separation: tuple[Separation, Separation] | None = None  # before and after, if it was asked for

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        pairs = ("effective_before", "effective_after", "without_counterpart", "uncovered")
        return {
            "variables": [variable.to_json() for variable in self.variables],
            **{name: dict(zip(_CLASSES, getattr(self, name), strict=True)) for name in pairs},
            "separation": None if self.separation is None else [s.to_json() for s in self.separation],
        }


@dataclass(frozen=True)
class Reweighting:
    """Weights after, the factor of each bin by class, and the closure.

    ``weight`` has shape (events,), ``factors`` shape (2, bins of all variables): background, signal.
    """

    weight: FloatArray
    edges: tuple[FloatArray, ...]
    factors: FloatArray
    closure: Closure

    def factor_of(self, variables: Variables, y: NDArray[Any]) -> FloatArray:
        """The factors for other events, with variables as in `reweight` and labels 0 and 1."""
        factors: FloatArray = self.factors[
            np.asarray(y, dtype=np.intp), _bin_of(table_of(variables, len(y)), self.edges)
        ]
        return factors


def reweight(
    variables: Variables,
    y: NDArray[Any],
    weight: NDArray[Any],
    *,
    bins: Bins = 40,
    mode: Mode = "match",
    to_class: ToClass = "signal",
    fold: NDArray[Any] | None = None,
) -> Reweighting:
    """Weights with which the spectra of both classes agree in the given variables.

    Parameters
    ----------
    variables
        of shape (events,) each, by name; or one array of shape (events, variable) or (events,).
    y, weight
        labels 0 and 1, signed weights; shape (events,).
    bins
        for each variable a number of bins or their edges; one number for all. Numbers give bins of equal population
        ("match") or of equal width ("flatten"). Values outside given edges count in the outermost bins.
    mode
        "match" changes the other class to have the spectrum of ``to_class``; "flatten" gives both a constant density.
    to_class
        the class that keeps its spectrum, "signal" or "background" (or its label 1 or 0).
    fold
        (event,): if given, an event's factor is computed from the events of all other folds, in the same bins. Spectra
        then agree within their uncertainties, not exactly. ``factors``, for other events, are those of all folds.

    Each class keeps its sum of weights. Where the target has nothing, events get weight 0; where the class has no
    events, the target cannot be reached: both are stated in the closure.

    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 5000)
    >>> pt = np.where(y == 1, rng.normal(275, 10, 10000), rng.normal(270, 12, 10000))
    >>> result = reweight({"pt": pt}, y, np.ones(10000), bins=30)
    >>> variable = result.closure.variables[0]
    >>> bool(variable.chi2_before / variable.ndf > 10), bool(variable.chi2_after / variable.ndf < 1.5)
    (True, True)

    Raises
    ------
    WeightError
        if a bin with events has a sum of weights that is not positive (use fewer bins), or a class has.
    ConfigError
        for bins or a mode that cannot be meant.
    """
    table, w, label = table_of(variables, len(y)), np.asarray(weight, dtype=np.float64), np.asarray(y).astype(np.intp)
    target_class = class_of(to_class)
    check_reweighting(table, label, w, mode)
    names = variable_names(variables, table.shape[1])
    edges = _edges(table, bins, mode)
    cell = _bin_of(table, edges)
    n_cells = int(np.prod([len(e) - 1 for e in edges]))
    density = [_density(cell[label == c], w[label == c], n_cells, c) for c in (0, 1)]
    volume = _volume(edges)
    factors = np.ones((2, n_cells))
    lost, uncovered = [0.0, 0.0], [0.0, 0.0]
    for c in (0, 1):
        if mode == "match" and c == target_class:
            continue
        target = density[target_class] if mode == "match" else volume
        factors[c], lost[c], uncovered[c] = _factors(density[c], target)
    after = w * factors[label, cell]
    if fold is not None:
        after = _out_of_fold(table, label, w, np.asarray(fold), edges, mode, target_class)
    closure = Closure(
        tuple(variable_closure(n, x, label, w, after, e) for n, x, e in zip(names, table.T, edges, strict=True)),
        class_sizes(label, w),
        class_sizes(label, after),
        (lost[0], lost[1]),
        (uncovered[0], uncovered[1]),
    )
    return Reweighting(after, edges, factors, closure)


R = TypeVar("R", bound=Reweighting)


def with_separation(reweighting: R, variables: Variables, y: NDArray[Any], weight: NDArray[Any]) -> R:
    """The same, its closure tested by Kolmogorov–Smirnov and by a classifier, before and after; ``weight`` is before."""
    table = table_of(variables, len(y))
    names, before = variable_names(variables, table.shape[1]), np.asarray(weight, dtype=np.float64)
    tested = (separation(table, names, y, before), separation(table, names, y, reweighting.weight))
    return replace(reweighting, closure=replace(reweighting.closure, separation=tested))


def variable_names(variables: Variables, n: int) -> list[str]:
    """As given, or numbered."""
    return list(variables) if isinstance(variables, Mapping) else [f"variable {i}" for i in range(n)]


def _out_of_fold(
    table: FloatArray,
    label: NDArray[np.intp],
    weight: FloatArray,
    fold: NDArray[Any],
    edges: tuple[FloatArray, ...],
    mode: Mode,
    to_class: int,
) -> FloatArray:
    if len(fold) != len(weight) or len(np.unique(fold)) < 2:
        raise ConfigError(f"expected a fold for each of {len(weight)} events, and two different ones at least")
    after = np.empty(len(weight))
    for k in np.unique(fold):
        other, own = fold != k, fold == k
        found = reweight(table[other], label[other], weight[other], bins=edges, mode=mode, to_class=_LABELS[to_class])
        after[own] = weight[own] * found.factor_of(table[own], label[own])
    for c in (0, 1):
        after[label == c] *= weight[label == c].sum() / after[label == c].sum()
    return after


def table_of(variables: Variables, n: int) -> FloatArray:
    """Shape (event, variable)."""
    if isinstance(variables, Mapping):
        variables = np.stack([np.asarray(values) for values in variables.values()], axis=1)
    table = np.asarray(variables, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != n:
        raise ConfigError(f"expected variables of shape ({n}, variable), got {np.shape(variables)}")
    return table


def class_of(name: ToClass) -> int:
    """Its label."""
    classes: dict[Any, int] = {"background": 0, "signal": 1, 0: 0, 1: 1}
    if name not in classes:
        raise ConfigError(f"to_class must be 'signal' or 'background', got {name!r}")
    return classes[name]


def check_reweighting(table: FloatArray, label: NDArray[np.intp], weight: FloatArray, mode: str) -> None:
    """Refuse what cannot be meant; see `reweight`."""
    if mode not in ("match", "flatten"):
        raise ConfigError(f"unknown mode {mode!r}: expected 'match' or 'flatten'")
    if not np.isin(label, (0, 1)).all():
        raise ConfigError("labels must be 0 and 1")
    if not np.isfinite(table).all() or not np.isfinite(weight).all():
        raise WeightError("variables and weights must be finite: cut away what is not")
    for c in (0, 1):
        if not weight[label == c].sum() > 0:
            raise WeightError(
                f"the {_CLASSES[c]} has a sum of weights of {weight[label == c].sum():.6g}, expected a positive one"
            )


def _edges(table: FloatArray, bins: Bins, mode: Mode) -> tuple[FloatArray, ...]:
    each = [bins] * table.shape[1] if isinstance(bins, int) else list(bins)
    if len(each) != table.shape[1]:
        raise ConfigError(f"expected bins for {table.shape[1]} variables, got {len(each)}")
    return tuple(_variable_edges(values, b, mode) for values, b in zip(table.T, each, strict=True))


def _variable_edges(values: FloatArray, bins: int | ArrayLike, mode: Mode) -> FloatArray:
    if isinstance(bins, int):
        if bins < 1:
            raise ConfigError(f"expected at least one bin, got {bins}")
        if mode == "match":
            edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
        else:
            edges = np.linspace(values.min(), values.max(), bins + 1)
    else:
        edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ConfigError(f"bin edges must rise, got {edges.tolist()[:5]}{' …' if edges.size > 5 else ''}")
    return edges


def _bin_of(table: FloatArray, edges: Sequence[FloatArray]) -> NDArray[np.intp]:
    """One number for the bin in all variables; values beyond the edges are in the outermost bins."""
    each = [
        np.clip(np.searchsorted(e, x, side="right") - 1, 0, len(e) - 2) for x, e in zip(table.T, edges, strict=True)
    ]
    cell: NDArray[np.intp] = np.ravel_multi_index(each, [len(e) - 1 for e in edges])
    return cell


def _volume(edges: Sequence[FloatArray]) -> FloatArray:
    """Fraction of the whole volume in each bin: the target of "flatten"."""
    volume = np.ones(1)
    for e in edges:
        volume = np.multiply.outer(volume, np.diff(e) / (e[-1] - e[0])).ravel()
    return volume


def _density(cell: NDArray[np.intp], weight: FloatArray, n_cells: int, c: int) -> FloatArray:
    sums = np.bincount(cell, weight, n_cells)
    events = np.bincount(cell, minlength=n_cells)
    wrong = np.flatnonzero((events > 0) & (sums <= 0))
    if wrong.size:
        raise WeightError(
            f"{wrong.size} bins have {_CLASSES[c]} events whose sum of weights is not positive, first bin {wrong[0]} "
            f"({events[wrong[0]]} events, sum {sums[wrong[0]]:.6g}): use fewer bins, or cancel negative weights before"
        )
    density: FloatArray = sums / sums.sum()
    return density


def _factors(source: FloatArray, target: FloatArray) -> tuple[FloatArray, float, float]:
    """Factors that turn one density into the other and keep its sum; weight without counterpart; target not covered."""
    filled = source > 0
    factors = np.divide(target, source, out=np.zeros_like(source), where=filled)
    covered = float(target[filled].sum())
    if covered <= 0:
        raise WeightError("the spectra have no bin in common: use wider bins")
    uncovered = round(1.0 - covered, 12)  # 1 − a sum is rarely exactly zero
    return factors / covered, float(source[target <= 0].sum()), max(0.0, uncovered)


def variable_closure(
    name: str, values: FloatArray, label: NDArray[np.intp], before: FloatArray, after: FloatArray, edges: FloatArray
) -> VariableClosure:
    """Spectra of one variable before and after, in bins of equal width between the outer edges."""
    fine = np.linspace(edges[0], edges[-1], CLOSURE_BINS + 1)

    def spectra(weight: FloatArray) -> tuple[Spectrum, Spectrum]:
        background, signal = (Spectrum.of(values[label == c], weight[label == c], fine) for c in (0, 1))
        return background, signal

    first, last = spectra(before), spectra(after)
    ndf = int(((first[0].error > 0) | (first[1].error > 0)).sum()) - 1
    return VariableClosure(name, fine, first, last, _chi2(*first), _chi2(*last), ndf)


def _chi2(a: Spectrum, b: Spectrum) -> float:
    variance = np.square(a.error) + np.square(b.error)
    filled = variance > 0
    return float((np.square(a.content - b.content)[filled] / variance[filled]).sum())


def class_sizes(label: NDArray[np.intp], weight: FloatArray) -> tuple[float, float]:
    """Effective numbers of events (background, signal)."""
    return effective_sample_size(weight[label == 0]), effective_sample_size(weight[label == 1])
