"""``Tabular`` features in an ONNX graph: the fitted transform of each variable, as `fivesigma.features.tabular` has it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.deploy.onnx_trees import leaf_values, search_tree
from fivesigma.deploy.trained_model import Float64
from fivesigma.features import Tabular
from fivesigma.features.tabular import QUANTILE_EDGE, Scale

# Cephes' rational approximations of the inverse of the normal distribution (S. Moshier, ndtri.c), as in scipy.
CENTRE = (
    (-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1,
     -1.23916583867381258016e0),
    (1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1, -2.25462687854119370527e2,
     2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1, -1.18331621121330003142e0),
)  # fmt: skip
TAIL = (
    (4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1,
     1.46849561928858024014e1, 2.18663306850790267539e0, -1.40256079171354495875e-1, -3.50424626827848203418e-2,
     -8.57456785154685413611e-4),
    (1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1,
     2.50464946208309415979e0, -1.42182922854787788574e-1, -3.80806407691578277194e-2, -9.33259480895457427372e-4),
)  # fmt: skip
TAIL_BELOW = 0.13533528323661269189
"""exp(−2), where Cephes changes from one to the other."""


def tabular(graph: Graph, features: Tabular, columns: Mapping[str, Value]) -> Value:
    """Scaled variables, float32 of shape (event, feature), from float64 columns (event,).

    NaN where the features refuse a value: NaN, and below zero for a logarithm; infinities stay infinite.
    """
    scales = features.scales or (Scale(),) * len(features.inputs)
    x = stacked(graph, [columns[name] for name in features.inputs])
    if features.scaling == "none":
        return x.cast(np.float32)
    if features.scaling == "quantile":
        scaled = [
            to_normal(graph, columns[name], np.asarray(s.knots)).unsqueeze(1)
            for name, s in zip(features.inputs, scales, strict=True)
        ]
        return graph.concat(scaled, axis=1).cast(np.float32)
    if features.scaling == "log":
        x = graph.where(x < 0.0, np.nan, log1p(graph, x / np.array([s.unit for s in scales])))
    x = (x - np.array([s.mean for s in scales])) / np.array([s.width for s in scales])
    return x.cast(np.float32)


def stacked(graph: Graph, columns: list[Value]) -> Value:
    """Columns (event,) as (event, column)."""
    return graph.concat([column.unsqueeze(1) for column in columns], axis=1)


def log1p(graph: Graph, x: Value) -> Value:
    """log(1 + x) to the last place also for small x (W. Kahan's correction of what 1 + x has rounded away)."""
    u = x + 1.0
    return graph.where(u.equals(1.0), x, u.function("Log") * (x / (u - 1.0)))


def to_normal(graph: Graph, x: Value, knots: Float64) -> Value:
    """Normal quantile of the rank of ``x`` (event,) among the knots, the middle rank where several coincide."""
    probability = np.linspace(0, 1, len(knots))
    below = interpolated(graph, x, knots, probability)
    above = 1.0 - interpolated(graph, -x, -knots[::-1], probability)
    rank = graph.op("Clip", 0.5 * (below + above), QUANTILE_EDGE, 1 - QUANTILE_EDGE)
    refused = x.not_finite()
    return graph.where(refused, np.nan, normal_quantile(graph, rank))


def interpolated(graph: Graph, x: Value, knots: Float64, values: Float64) -> Value:
    """As ``numpy.interp`` of (event,): linear between ascending knots, constant beyond."""
    place = leaf_values(graph, [search_tree(np.nextafter(knots, -np.inf))], x.unsqueeze(1)).cast(
        np.int64
    )  # knots at most x
    at = graph.op("Clip", place - 1, np.array(0), np.array(len(knots) - 2))
    width = np.diff(knots)
    slope = np.divide(np.diff(values), width, out=np.zeros(len(width)), where=width > 0)

    def part(array: Float64) -> Value:
        return graph.op("Gather", graph.constant(array), at)

    inside = part(slope) * (x - part(knots[:-1])) + part(values[:-1])
    first, last = place < 1, place >= len(knots)
    return graph.where(first, float(values[0]), graph.where(last, float(values[-1]), inside))


def normal_quantile(graph: Graph, p: Value) -> Value:
    """The inverse of the normal distribution, for probabilities from 10⁻¹⁰ to 1 − 10⁻¹⁰."""
    upper = p > 1.0 - TAIL_BELOW
    tail = graph.where(upper, 1.0 - p, p)
    y = tail - 0.5
    square = y * y
    central = (y + y * (square * _ratio(CENTRE, square))) * np.sqrt(2 * np.pi)
    x = (-2.0 * tail.function("Log")).function("Sqrt")
    z = 1.0 / x
    outer = x - x.function("Log") / x - z * _ratio(TAIL, z)
    return graph.where(tail > TAIL_BELOW, central, graph.where(upper, outer, -outer))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Value) -> Value:
    above, below = (_polynomial(c, x) for c in coefficients)
    return above / below


def _polynomial(coefficients: tuple[float, ...], x: Value) -> Value:
    """By Horner, the highest power first."""
    found: Value = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        found = found * x + c
    return found
