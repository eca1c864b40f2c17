"""One event at a time: a small network and trees in generated C, called from C, against onnxruntime called on one event.

onnxruntime's wheel has no C API to link to: it is called from Python, as it is where scores are asked for event by event, with
one thread and its input made beforehand. Its call alone costs microseconds; that is part of what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fivesigma.deploy import TrainedModel
from fivesigma.deploy.c_network import network_header
from fivesigma.deploy.compiler import shared_library
from fivesigma.deploy.feed_forward import Affine, FeedForward
from fivesigma.deploy.fixed_point import quantised
from fivesigma.deploy.network_steps import feed_forward
from fivesigma.deploy.tree_ensemble import TreeEnsemble
from fivesigma.learn import DenseClassifier

NODES = (64, 32)  # after 28 inputs, before one output
LOOP = """
#include "network.h"
void single(const network_features *x, size_t n, double *s);
void single(const network_features *x, size_t n, double *s) { size_t i; for (i = 0; i < n; ++i) s[i] = network_score(x + i); }
"""
OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3))


def trained_network(X: NDArray[np.float64]) -> TrainedModel:
    """28–64–32–1 with rectified layers, on standardised inputs."""
    y = X[:, 0] * X[:, 1] + X[:, 2] > 0
    architecture = {"nodes": NODES}
    estimator = DenseClassifier(architecture=architecture, dropout=0.0, batch_norm=False, epochs=1)
    return TrainedModel("network", estimator.fit(X, y), tuple(f"x{i}" for i in range(X.shape[1])))


def network_in_c(
    model: TrainedModel, folder: Path, options: Sequence[str], bits: int | None, X: NDArray[np.float64]
) -> Any:
    """The function ``single`` of the network in float32, or in integers of ``bits``."""
    network: Any = feed_forward(model)
    if bits is not None:
        network = quantised(network, bits, X[:2000].astype(np.float32))
    folder.mkdir()
    (folder / "network.h").write_text(network_header(model, network, "network"), encoding="utf-8")
    return shared_library(LOOP, folder, options=options).single


def onnx_network(network: FeedForward) -> onnxruntime.InferenceSession:
    """The same network, its input scale multiplied into the first layer."""
    nodes, constants, value = [], [], "x"
    for place, step in enumerate(network.steps):
        if isinstance(step, Affine):
            weight = step.weight / network.scale if place == 0 else step.weight
            constants += [
                numpy_helper.from_array(weight.astype(np.float32), f"w{place}"),
                numpy_helper.from_array(step.bias.astype(np.float32), f"b{place}"),
            ]
            nodes.append(helper.make_node("Gemm", [value, f"w{place}", f"b{place}"], [f"v{place}"], transB=1))
        else:
            nodes.append(helper.make_node("Relu", [value], [f"v{place}"]))
        value = f"v{place}"
    return _session(nodes, value, len(network.shift), constants)


def onnx_trees(ensemble: TreeEnsemble, inputs: int) -> onnxruntime.InferenceSession:
    """The same trees as ONNX's ``TreeEnsembleRegressor``, thresholds in float32."""
    words: dict[str, list[Any]] = {word: [] for word in ("tree", "node", "feature", "value", "mode", "yes", "no")}
    leaves: dict[str, list[Any]] = {word: [] for word in ("tree", "node", "weight")}
    for number, tree in enumerate(ensemble.trees):
        cuts = len(tree.feature)
        for node in range(cuts):
            yes, no = (
                child if child >= 0 else cuts + ~child for child in (int(tree.left[node]), int(tree.right[node]))
            )
            row = (number, node, int(tree.feature[node]), float(tree.threshold[node]), "BRANCH_LEQ", yes, no)
            for word, item in zip(words, row, strict=True):
                words[word].append(item)
        for leaf, weight in enumerate(tree.value):
            for word, item in zip(words, (number, cuts + leaf, 0, 0.0, "LEAF", 0, 0), strict=True):
                words[word].append(item)
            for word, item in zip(leaves, (number, cuts + leaf, float(weight)), strict=True):
                leaves[word].append(item)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=words["tree"],
        nodes_nodeids=words["node"],
        nodes_featureids=words["feature"],
        nodes_values=words["value"],
        nodes_modes=words["mode"],
        nodes_truenodeids=words["yes"],
        nodes_falsenodeids=words["no"],
        target_treeids=leaves["tree"],
        target_nodeids=leaves["node"],
        target_ids=[0] * len(leaves["tree"]),
        target_weights=leaves["weight"],
    )
    return _session([node], "score", inputs, [])


def _session(nodes: list[Any], output: str, inputs: int, constants: list[Any]) -> onnxruntime.InferenceSession:
    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])

    graph = helper.make_graph(nodes, "model", [value("x", inputs)], [value(output, 1)], constants)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def one_by_one(session: onnxruntime.InferenceSession, X: NDArray[np.float32]) -> list[float]:
    """Call it on one event after another."""
    events = [{"x": X[i : i + 1]} for i in range(len(X))]
    run = session.run
    return [run(None, event)[0] for event in events]
