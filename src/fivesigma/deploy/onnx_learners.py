"""What each learner that is no tree makes of its features in an ONNX graph, and what its own library answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import FeatureError
from fivesigma.core.registry import Registry
from fivesigma.deploy.onnx_features import interpolated
from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.deploy.onnx_networks import write_network
from fivesigma.deploy.onnx_trees import leaf_values, search_tree
from fivesigma.deploy.trained_model import Float64
from fivesigma.models.declared import DeclaredNetwork

SINGLE = 1e-5
"""Of probabilities of networks: sums in float32, in another order."""
NUMBER = 1e-4
"""Of numbers of networks, in standard deviations of the target: the same, with inputs up to 30 of theirs from the mean."""
DOUBLE = 1e-6
"""Of what is computed in float64 from features in float32, which may be rounded to the neighbouring number."""

Outputs = Mapping[str, Value]
Expected = dict[str, Float64]


@dataclass(frozen=True)
class OnnxLearner:
    """How a registered learner is written."""

    write: Callable[[Graph, Any, Value], Outputs]
    """Estimator and features (event, …), float32 → outputs (event,) by name, the one that users want first."""
    answer: Callable[[Any, NDArray[Any]], Expected]
    """The same by its own library, for finite features."""
    tolerance: Callable[[Any], Mapping[str, float]]
    """The largest absolute difference of each output."""
    single: bool = True
    """Whether it sees float32 also where there are no features."""
    cuts: Callable[[Any], list[Float64]] | None = None
    """The largest values of each feature on one side of where its answer, or its slope, jumps."""
    on_inputs: Callable[[Graph, Any, Sequence[Value], Sequence[Float64]], Outputs | None] | None = None
    """Columns (event,) and these ``cuts`` on the untransformed columns → outputs, where there is no more to it."""


ONNX_LEARNERS: Registry[OnnxLearner] = Registry("learner that can be written as ONNX")
"""Every estimator, beside those of ``TREE_LEARNERS``, by its registered name."""


def _same_for_all(tolerance: float) -> Callable[[Any], Mapping[str, float]]:
    return lambda _: {"probability": tolerance}


def _signal(estimator: Any, X: NDArray[Any]) -> Expected:
    return {"probability": np.asarray(estimator.predict_proba(X)[:, 1], np.float64)}


def _sigmoid(value: Value) -> Value:
    return value.cast(np.float64).function("Sigmoid").reshape(-1)


def _network(graph: Graph, estimator: Any, x: Value) -> Outputs:
    return {"probability": _sigmoid(write_network(graph, estimator.network_, x))}


def _declared(graph: Graph, estimator: Any, x: Value) -> Outputs:
    network: DeclaredNetwork = estimator.network_
    output = write_network(graph, network, x).cast(np.float64)
    found: dict[str, Value] = {}
    at = 0
    for head, loss in network.losses.items():
        part = output.slice(at, at + loss.outputs, axis=1)
        at += loss.outputs
        if loss.kind == "number":
            part = part * float(network.head(head).width) + float(network.head(head).centre)
        else:
            part = part.function("Sigmoid") if loss.kind == "two classes" else graph.op("Softmax", part, axis=1)
        for i in range(loss.outputs):
            found[_head_output(head, i, loss.outputs)] = part.slice(i, i + 1, axis=1).reshape(-1)
    wanted = _wanted(estimator)
    first, name = next(iter(wanted.items()))
    return {first: found[name], **found}


def _declared_answer(estimator: Any, X: NDArray[Any]) -> Expected:
    found: Expected = {}
    for head, values in estimator.predict_heads(X).items():
        for i, column in enumerate(np.asarray(values, np.float64).T):
            found[_head_output(head, i, values.shape[1])] = column
    if hasattr(estimator, "predict_proba"):
        return {**_signal(estimator, X), **found}
    return {"value": np.asarray(estimator.predict(X), np.float64), **found}


def _declared_tolerance(estimator: Any) -> Mapping[str, float]:
    network: DeclaredNetwork = estimator.network_
    found: dict[str, float] = {}
    for head, loss in network.losses.items():
        allowed = NUMBER * abs(float(network.head(head).width)) if loss.kind == "number" else SINGLE
        found |= {_head_output(head, i, loss.outputs): allowed for i in range(loss.outputs)}
    first, name = next(iter(_wanted(estimator).items()))
    return {first: found[name], **found}


def _wanted(estimator: Any) -> dict[str, str]:
    """What users want, and which output of the heads that is."""
    head = next(name for name, words in estimator.network_.words.items() if words.target is None)
    loss = estimator.network_.losses[head]
    if not hasattr(estimator, "predict_proba"):
        return {"value": _head_output(head, loss.best, loss.outputs)}
    return {"probability": _head_output(head, 0 if loss.outputs == 1 else 1, loss.outputs)}


def _head_output(head: str, i: int, outputs: int) -> str:
    return f"head_{head}" if outputs == 1 else f"head_{head}_{i}"


def _fisher(graph: Graph, estimator: Any, x: Value) -> Outputs:
    flat = graph.op("Flatten", x).cast(np.float64)
    score = graph.op("MatMul", flat, estimator.direction_.reshape(-1, 1)) + np.asarray(estimator.offset_).item()
    return {"probability": _sigmoid(score)}


def _single_variable(graph: Graph, estimator: Any, x: Value) -> Outputs:
    score = graph.op("Gather", x.cast(np.float64), np.array(estimator.column), axis=1)
    score = score if estimator.method == "greater" else -score
    return {"probability": _monotone(graph, score, estimator.knots_, estimator.probability_)}


def _single_variable_bins(
    graph: Graph, estimator: Any, columns: Sequence[Value], cuts: Sequence[Float64]
) -> Outputs | None:
    if estimator.method != "likelihood-ratio":
        return None
    tree = replace(search_tree(cuts[estimator.column]), value=estimator.probability_)
    return {"probability": leaf_values(graph, [tree], columns[estimator.column].unsqueeze(1))}


def _bin_edges(estimator: Any) -> list[Float64]:
    """Where the variable passes into the next bin; of an interpolation, nothing jumps, but its slope."""
    knots = estimator.knots_ if estimator.method != "less" else -estimator.knots_[::-1]
    edges = np.nextafter(knots, -np.inf) if estimator.method == "likelihood-ratio" else knots
    return [edges if i == estimator.column else np.empty(0) for i in range(estimator.n_features_in_)]


def _steepness(estimator: Any) -> Mapping[str, float]:
    """What the last place of a variable in float32 makes of the probability, where it is steepest."""
    knots, probability = estimator.knots_, estimator.probability_
    if estimator.method == "likelihood-ratio" or len(knots) < 2:
        return {"probability": 0.0}
    step = np.finfo(np.float32).eps * np.maximum(np.abs(knots[1:]), np.abs(knots[:-1]))
    worst = float((np.diff(probability) * np.minimum(1.0, step / np.diff(knots))).max())
    return {"probability": DOUBLE + worst}


def _cuts(graph: Graph, estimator: Any, columns: Sequence[Value], cuts: Sequence[Float64]) -> Outputs:
    """How many nested boxes an event passes: the least of what each side of each variable allows."""
    depths = []
    for variable, (column, found) in enumerate(zip(columns, cuts, strict=True)):
        lower, upper = estimator.boxes_[:, variable].T
        n = int(np.isfinite(lower).sum())
        above, below = found[:n], found[n:]
        depths.append(float(len(lower) - n) + leaf_values(graph, [search_tree(above)], column.unsqueeze(1)))
        depths.append(float(len(upper)) - leaf_values(graph, [search_tree(below)], column.unsqueeze(1)))
    depth = graph.op("Min", *depths)
    return {"probability": _monotone(graph, depth, estimator.knots_, estimator.probability_)}


def _no_features(graph: Graph, estimator: Any, x: Value) -> Outputs:  # noqa: ARG001 contract
    raise FeatureError("cuts have a form in ONNX on one number an event and column only")


def _sides(estimator: Any) -> list[Float64]:
    """The largest value that each lower cut removes, and that each upper cut keeps, ascending; open sides left out."""
    found = []
    for lower, upper in estimator.boxes_.transpose(1, 2, 0):
        below = np.nextafter(upper[np.isfinite(upper)][::-1], -np.inf)
        found.append(np.concatenate([lower[np.isfinite(lower)], below]))
    return found


def _monotone(graph: Graph, score: Value, knots: Float64, probability: Float64) -> Value:
    """As `fivesigma.models.monotone_probability`."""
    width = max(float(knots[-1] - knots[0]), float(np.finfo(float).tiny))
    above = graph.op("Max", score - knots[-1], 0.0) / width
    below = graph.op("Max", knots[0] - score, 0.0) / width
    inside = interpolated(graph, score, knots, probability)
    first, last = float(probability[0]), float(probability[-1])
    return inside + (1.0 - last) * (above / (1.0 + above)) - first * (below / (1.0 + below))


for _name in ("dense", "maxout", "cnn", "locally-connected", "pivot", "gradient-reversal"):
    ONNX_LEARNERS.register(_name)(OnnxLearner(_network, _signal, _same_for_all(SINGLE)))
for _name in ("network", "network-regressor"):
    ONNX_LEARNERS.register(_name)(OnnxLearner(_declared, _declared_answer, _declared_tolerance))
ONNX_LEARNERS.register("single-variable")(
    OnnxLearner(_single_variable, _signal, _steepness, single=False, cuts=_bin_edges, on_inputs=_single_variable_bins)
)
ONNX_LEARNERS.register("cuts")(
    OnnxLearner(_no_features, _signal, _same_for_all(DOUBLE), single=False, cuts=_sides, on_inputs=_cuts)
)
ONNX_LEARNERS.register("fisher")(OnnxLearner(_fisher, _signal, _same_for_all(DOUBLE), single=False))
