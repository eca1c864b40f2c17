"""A model's features in C: from the named members of the struct to the numbers that a network sees."""

from __future__ import annotations

import numpy as np

from fivesigma.deploy.c_source import array, identifiers, number, render
from fivesigma.deploy.feed_forward import Float32
from fivesigma.deploy.fixed_point import FixedNetwork
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.features.tabular import QUANTILE_EDGE, Scale

LIMIT = 2.0**50
"""Features beyond ± this are taken as ± this: no sum of a network overflows."""


def seen_by_network(model: TrainedModel, values: Float64) -> Float32:
    """What the network sees of inputs (event, input): ``TrainedModel.scaled`` within ± ``LIMIT``, a NaN as NaN."""
    with np.errstate(over="ignore"):
        scaled = np.asarray(model.scaled(values), dtype=np.float32)
    return np.clip(scaled, np.float32(-LIMIT), np.float32(LIMIT))


def kinks(model: TrainedModel, fixed: FixedNetwork | None = None) -> list[Float64]:
    """Inputs where the transform changes its form or is most easily mistaken, and where codes of integers change; (input,).

    Knots or means; for fixed point the inputs halfway between the codes around 0, and around the smallest and the largest.
    """
    scaling = "none" if model.features is None else model.features.scaling
    scales = (Scale(),) * len(model.inputs) if model.features is None else model.features.scales or ()
    if scaling == "quantile":
        return [np.asarray(scale.knots) for scale in scales]
    edges = np.zeros((1, len(scales)))
    if fixed is not None:
        codes = np.array([fixed.low, fixed.low + 1, 0, 1, 2, fixed.high - 1, fixed.high])
        seen = (codes - 0.5) * 2.0**-fixed.input_fraction
        edges = np.vstack([edges, seen[:, None] * fixed.network.scale + fixed.network.shift])
    found = [scale.mean + scale.width * edge for scale, edge in zip(scales, edges.T, strict=True)]
    if scaling == "log":
        with np.errstate(over="ignore"):
            found = [np.append(scale.unit * np.expm1(x), 0.0) for scale, x in zip(scales, found, strict=True)]
    return found


def features_in_c(model: TrainedModel, name: str, shift: Float64, scale: Float64) -> str:
    """The function ``NAME_inputs``; ``shift`` and ``scale`` (input,) are the network's own first step."""
    scaling = "none" if model.features is None else model.features.scaling
    scales = (Scale(),) * len(model.inputs) if model.features is None else model.features.scales or ()
    knots = [np.asarray(scale_.knots) for scale_ in scales]
    lengths = {len(k) for k in knots}
    return render(
        "network_inputs.jinja",
        name=name,
        members=identifiers(model.inputs),
        n_features=len(model.inputs),
        scaling=scaling,
        mean=array("double", f"{name}_mean", [s.mean for s in scales], number),
        width=array("double", f"{name}_width", [s.width for s in scales], number),
        unit=array("double", f"{name}_unit", [s.unit for s in scales], number),
        knots=array("double", f"{name}_knot", np.concatenate(knots), number) if scaling == "quantile" else "",
        n_knots=max(lengths),
        edge=number(QUANTILE_EDGE),
        limit=number(LIMIT),
        shift=array("float", f"{name}_shift", shift, single) if shift.any() else None,
        scale=array("float", f"{name}_scale", scale, single) if (scale != 1.0).any() else None,
    )


def single(x: float) -> str:
    """A float, exactly.

    >>> single(0.1), single(3.0), single(1e-10)
    ('0.1f', '3.0f', '1e-10f')
    """
    return f"{np.float32(x)!s}f"
