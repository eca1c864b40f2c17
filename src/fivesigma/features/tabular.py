"""``Tabular``: one number per event and variable, scaled so that a network can take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.core.jagged import Columns
from fivesigma.core.registry import unknown_name
from fivesigma.features.contract import FEATURES, fit_weight, flat_column

Scaling = Literal["standard", "log", "quantile", "none"]
N_QUANTILES = 1001
"""Knots of the quantile scaling: the distribution is mapped piecewise linearly between them."""
QUANTILE_EDGE = 1e-3
"""Probability kept free at either end: values beyond the training range become ±3.09."""


@dataclass(frozen=True)
class Scale:
    """The fitted map of one variable; ``knots`` only for quantiles, ``unit`` only for logarithms."""

    mean: float = 0.0
    width: float = 1.0
    unit: float = 1.0
    knots: tuple[float, ...] = ()


@FEATURES.register("tabular")
@dataclass
class Tabular:
    """Variables with one number per event, chosen by name and scaled one by one.

    Weights of fits enter with their absolute values: a scale only conditions the inputs, and a signed variance could
    be negative. A variable that is constant in training is only shifted.

    Parameters
    ----------
    inputs
        names of the columns, in the order in which the model sees them.
    scaling
        "standard": subtract the weighted mean, divide by the weighted standard deviation (most values in −3…3);
        "log": log(1 + x/unit) with the weighted median of x as unit, then standard (x must not be negative);
        "quantile": the weighted distribution becomes a normal one, within ±3.09;
        "none": as it is.

    Examples
    --------
    >>> columns = {"mass": np.array([70.0, 80.0, 90.0]), "tau21": np.array([0.2, 0.3, 0.7])}
    >>> Tabular(("tau21", "mass")).fit(columns).transform(columns)[:, 1]
    array([-1.2247449,  0.       ,  1.2247449], dtype=float32)
    """

    inputs: tuple[str, ...] = ("jet_mass", "tau21")
    scaling: Scaling = "standard"
    scales: tuple[Scale, ...] | None = field(default=None, repr=False)
    """Fitted, one a variable."""

    def __post_init__(self) -> None:
        self.inputs = tuple(self.inputs)
        if self.scaling not in get_args(Scaling):
            raise ConfigError(f"tabular: {unknown_name('scaling', str(self.scaling), get_args(Scaling))}")
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ConfigError(
                f"tabular: expected different inputs, at least one, got {', '.join(self.inputs) or 'none'}"
            )
        if self.scales is not None and len(self.scales) != len(self.inputs):
            raise FeatureError(
                f"tabular: expected a scale for each of {', '.join(self.inputs)}; got {len(self.scales)}"
            )

    @property
    def shape(self) -> tuple[int]:
        """Shape of one event's features."""
        return (len(self.inputs),)

    def fit(self, columns: Columns, weight: NDArray[Any] | None = None) -> Self:
        """Fit the scale of each variable."""
        self.scales = tuple(self._fit_one(name, flat_column(columns, name), weight) for name in self.inputs)
        return self

    def _fit_one(self, name: str, x: NDArray[np.float64], weight: NDArray[Any] | None) -> Scale:
        share = fit_weight(weight, len(x))
        if self.scaling == "none":
            return Scale()
        if self.scaling == "quantile":
            return Scale(knots=tuple(_weighted_quantiles(x, share)))
        unit = 1.0
        if self.scaling == "log":
            _refuse_negative(name, x)
            unit = float(np.median(_weighted_quantiles(x, share))) or 1.0  # more than half may be zeros
            x = np.log1p(x / unit)
        mean = float(share @ x)
        width = float(np.sqrt(share @ (x - mean) ** 2))
        # A constant variable has a width of rounding errors only.
        return Scale(mean, width if width > 1e-12 * abs(mean) else 1.0, unit)

    def transform(self, columns: Columns) -> NDArray[np.float32]:
        """Scaled variables, float32 of shape (event, feature).

        Raises
        ------
        FeatureError
            on a missing column (naming the nearest), a non-finite value (naming column and entry), or before ``fit``.
        """
        if self.scales is None and self.scaling != "none":
            raise FeatureError("tabular: the scales are fitted: call fit before transform")
        scales = self.scales or (Scale(),) * len(self.inputs)
        scaled = [self._apply(name, flat_column(columns, name), s) for name, s in zip(self.inputs, scales, strict=True)]
        lengths = {name: len(x) for name, x in zip(self.inputs, scaled, strict=True)}
        if len(set(lengths.values())) > 1:
            raise FeatureError(f"tabular: expected columns of equal lengths, got {lengths}")
        return np.stack(scaled, axis=1).astype(np.float32)

    def _apply(self, name: str, x: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        if self.scaling == "quantile":
            return _to_normal(x, np.asarray(scale.knots))
        if self.scaling == "log":
            _refuse_negative(name, x)
            x = np.log1p(x / scale.unit)
        return (x - scale.mean) / scale.width

    def to_json(self) -> dict[str, Any]:
        """Options and fitted scales, by the name of the variable."""
        scales = None
        if self.scales is not None:
            scales = {
                name: {"mean": s.mean, "width": s.width, "unit": s.unit, "knots": list(s.knots)}
                for name, s in zip(self.inputs, self.scales, strict=True)
            }
        return {"features": "tabular", "inputs": list(self.inputs), "scaling": self.scaling, "scales": scales}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The same transform again; scales stand by name, so that one of a renamed input is missed, not mistaken."""
        inputs, stored = tuple(content["inputs"]), content["scales"]
        if stored is None:
            return cls(inputs, content["scaling"])
        if set(stored) != set(inputs):
            raise FeatureError(f"tabular: expected scales of {', '.join(inputs)}; got those of {', '.join(stored)}")
        scales = tuple(Scale(**{**stored[name], "knots": tuple(stored[name]["knots"])}) for name in inputs)
        return cls(inputs, content["scaling"], scales)


def _refuse_negative(name: str, x: NDArray[np.float64]) -> None:
    if (x < 0).any():
        entry = int(np.argmax(x < 0))
        raise FeatureError(f"column {name!r}: {x[entry]} in entry {entry} has no logarithm; choose another scaling")


def _weighted_quantiles(x: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at N_QUANTILES equidistant probabilities; an event stands at the middle of its share."""
    order = np.argsort(x, kind="stable")
    middle = np.cumsum(share[order]) - 0.5 * share[order]
    return np.interp(np.linspace(0, 1, N_QUANTILES), middle, x[order])


def _to_normal(x: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal quantile of the rank of ``x`` among the knots; the middle rank where several knots coincide."""
    probability = np.linspace(0, 1, len(knots))
    from_below = np.interp(x, knots, probability)
    from_above = 1 - np.interp(-x, -knots[::-1], probability)
    return np.asarray(ndtri(np.clip(0.5 * (from_below + from_above), QUANTILE_EDGE, 1 - QUANTILE_EDGE)))
