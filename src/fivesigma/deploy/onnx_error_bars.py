"""Networks with error bars in an ONNX graph: the functions that a prediction draws, drawn once and kept.

A prediction draws with the estimator's own seed, so that the same functions are drawn each time; the graph holds them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.deploy.onnx_learners import NUMBER, ONNX_LEARNERS, SINGLE, Expected, OnnxLearner, Outputs
from fivesigma.deploy.onnx_networks import error_bar_features, log_variance, write_network
from fivesigma.deploy.trained_model import Float64
from fivesigma.learn.error_bars.deep_ensemble import DeepEnsemble
from fivesigma.learn.error_bars.laplace import Laplace
from fivesigma.learn.error_bars.network import Drawn

__all__ = ["ONNX_LEARNERS"]


def _drawn_outputs(graph: Graph, estimator: Any, x: Value) -> list[Value]:
    """Outputs of all draws, (event, 1) or (event, 2) each, as ``ErrorBars`` draws them."""
    if isinstance(estimator, Laplace):
        return list(_laplace(graph, estimator, x))
    if isinstance(estimator, DeepEnsemble):
        return [write_network(graph, network, x) for network in estimator.networks_]
    (network,) = estimator.networks_
    generator = torch.Generator().manual_seed(estimator.seed)
    layers = [layer for layer in network.modules() if isinstance(layer, Drawn)]
    found = []
    with torch.inference_mode():
        for _ in range(estimator.draws):
            for layer in layers:
                layer.redraw(generator)
            found.append(write_network(graph, network, x))
    for layer in layers:
        layer.forget()
    return found


def _laplace(graph: Graph, estimator: Laplace, x: Value) -> Iterator[Value]:
    (network,) = estimator.networks_
    features = error_bar_features(graph, network, x)
    noise = None if network.noise is None else log_variance(graph, network, features)
    for weight in laplace_weights(estimator):
        drawn = graph.op("Gemm", features, weight[:-1].reshape(-1, 1), weight[-1:])
        yield drawn if noise is None else graph.concat([drawn, noise], axis=1)


def laplace_weights(estimator: Laplace) -> NDArray[np.float32]:
    """Weights and bias of the last layer in all draws, (draw, node + 1)."""
    posterior, generator = estimator.posterior_, torch.Generator().manual_seed(estimator.seed)
    normal = torch.randn((estimator.draws, len(posterior.mean)), generator=generator, dtype=torch.float64)
    weights = torch.from_numpy(posterior.mean) + normal @ torch.from_numpy(posterior.scale).T
    return np.asarray(weights.float().numpy())


def _classes(graph: Graph, estimator: Any, x: Value) -> Outputs:
    draws = graph.concat(_drawn_outputs(graph, estimator, x), axis=1).cast(np.float64)  # (event, draw)
    signal = draws.function("Sigmoid")
    noise = _mean(graph, signal * (1.0 - signal)).function("Sqrt")
    return {"probability": _mean(graph, signal), "epistemic": _spread(graph, signal), "aleatoric": noise}


def _numbers(graph: Graph, estimator: Any, x: Value) -> Outputs:
    outputs = [output.cast(np.float64) for output in _drawn_outputs(graph, estimator, x)]
    means = graph.concat([output.slice(0, 1, axis=1) for output in outputs], axis=1)  # (event, draw)
    logs = graph.concat([output.slice(1, 2, axis=1) for output in outputs], axis=1)
    means = estimator.target_mean_ + estimator.target_deviation_ * means
    noise = _mean(graph, estimator.target_deviation_**2 * logs.function("Exp")).function("Sqrt")
    return {"value": _mean(graph, means), "epistemic": _spread(graph, means), "aleatoric": noise}


def _mean(graph: Graph, x: Value) -> Value:
    return graph.op("ReduceMean", x, np.array([1]), keepdims=0)


def _spread(graph: Graph, x: Value) -> Value:
    away = x - graph.op("ReduceMean", x, np.array([1]), keepdims=1)
    return _mean(graph, away * away).function("Sqrt")


def _answer(estimator: Any, X: NDArray[Any]) -> Expected:
    drawn = estimator.predict_draws(X)
    uncertainty = drawn.uncertainty()
    wanted: dict[str, Float64] = {"value" if estimator.task == "regression" else "probability": drawn.mean()}
    return wanted | {"epistemic": uncertainty.epistemic, "aleatoric": uncertainty.aleatoric}


def _tolerance(estimator: Any) -> Mapping[str, float]:
    if estimator.task == "classification":
        return {
            "probability": SINGLE,
            "epistemic": NUMBER,
            "aleatoric": NUMBER,
        }  # differences of what is known to SINGLE
    return dict.fromkeys(("value", "epistemic", "aleatoric"), NUMBER * float(estimator.target_deviation_))


for _name in ("deep-ensemble", "laplace", "mc-dropout", "variational"):
    ONNX_LEARNERS.register(_name)(OnnxLearner(_classes, _answer, _tolerance))
    ONNX_LEARNERS.register(f"{_name}-regressor")(OnnxLearner(_numbers, _answer, _tolerance))
