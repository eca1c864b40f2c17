"""Every kind of learner as ONNX: the proof holds, NaN is what is documented, one event at a time is the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from tests.deploy.models import INPUTS, boosted, forest, toy_events, toy_model

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.deploy import CTrees, OnnxGraph, TrainedModel, export
from fivesigma.deploy.onnx_features import log1p, normal_quantile
from fivesigma.deploy.onnx_graph import Graph
from fivesigma.deploy.onnx_target import OnnxSession
from fivesigma.deploy.onnx_trees import leaf_values, search_tree
from fivesigma.features import Tabular
from fivesigma.learn import (
    DeclaredClassifier,
    DeclaredRegressor,
    DeepEnsembleClassifier,
    DenseClassifier,
    GradientReversalClassifier,
    LaplaceRegressor,
    MaxoutClassifier,
    McDropoutClassifier,
    PivotClassifier,
    VariationalRegressor,
)
from fivesigma.models import Cuts, Fisher, LikelihoodRatio, SingleVariable
from fivesigma.trees import (
    AdaBoost,
    BoostedTreesRegressor,
    DecisionTree,
    FlatnessBoosting,
    RandomForestRegressor,
    UBoost,
)

HEADS = {
    "signal": {"from": "trunk", "loss": "bce"},
    "mass": {"from": "trunk", "loss": "quantile", "target": "jet_mass", "quantiles": [0.2, 0.5]},
}
LAYERS = [
    {"dense": 6, "activation": "tanh"},
    "batch-norm",
    {"highway": "prelu"},
    {"residual": ["layer-norm", {"dense": 6, "activation": "elu"}]},
    {"maxout": 4, "pieces": 2},
    {"dropout": 0.2},
    "softmax",
]
BLOCKS = {"trunk": {"from": "x", "layers": LAYERS}}
SMALL: dict[str, Any] = {"epochs": 1}


def run(graph: Graph, folder: Path, **columns: Any) -> Any:
    graph.save(folder / "one.onnx", "one", {"counts": "{}"})
    session = OnnxSession(folder / "one.onnx", "y")
    return session.predict(np.stack([columns[name] for name in session.inputs], axis=1))


@pytest.mark.parametrize(
    ("estimator", "scaling"),
    [
        (AdaBoost(trees=10), "log"),
        (DecisionTree(), "standard"),
        (RandomForestRegressor(trees=5), None),
        (BoostedTreesRegressor(trees=10), "quantile"),
        (LikelihoodRatio(bins=4), "log"),
    ],
    ids=lambda x: getattr(x, "estimator_name", str(x)),
)
def test_more_trees_decide_to_the_last_bit_in_onnx_and_in_c(estimator: Any, scaling: Any, tmp_path: Path) -> None:
    model = toy_model(estimator, scaling, 800)
    worst = export(model, OnnxGraph(), tmp_path / "onnx").manifest["proof"]["outputs"]
    assert all(found["worst"] <= found["tolerance"] < 1e-13 for found in worst.values())
    in_c = export(model, CTrees(), tmp_path / "c").manifest["proof"]["outputs"]
    assert in_c["score"]["worst"] == in_c["batch"]["worst"] == 0.0


@pytest.mark.parametrize("scaling", ["log", "quantile", None])
def test_boosted_trees_and_forests_at_all_their_cuts(scaling: Any, tmp_path: Path) -> None:
    for model in (boosted(scaling, trees=8), forest(scaling, trees=4)):
        proof = export(model, OnnxGraph(), tmp_path / model.kind).manifest["proof"]
        assert proof["inputs"]["at every cut"] > 100
        assert all(found["worst"] <= found["tolerance"] < 1e-13 for found in proof["outputs"].values())


@pytest.mark.parametrize(
    ("estimator", "scaling"),
    [
        (DenseClassifier(**SMALL), "standard"),
        (DenseClassifier(**SMALL), "quantile"),
        (MaxoutClassifier(**SMALL, architecture={"maxout_nodes": [6], "nodes": [4]}), "log"),
        (DeclaredRegressor(**SMALL), "standard"),
        (DeepEnsembleClassifier(members=2, epochs=1), "standard"),
        (McDropoutClassifier(draws=3, epochs=1), "standard"),
        (LaplaceRegressor(draws=4, epochs=1), "standard"),
        (VariationalRegressor(draws=3, epochs=1), "log"),
        (Fisher(), "log"),
        (Fisher(), None),
        (Cuts(peel=0.1), "log"),
        (SingleVariable(column=1), "quantile"),
        (SingleVariable(column=1, method="less"), "log"),
    ],
    ids=lambda x: type(x).__name__ if hasattr(x, "fit") else str(x),
)
def test_networks_and_plain_learners_are_proved(estimator: Any, scaling: Any, tmp_path: Path) -> None:
    model = toy_model(estimator, scaling, 600)
    artifact = export(model, OnnxGraph(), tmp_path / "onnx")
    columns, _ = toy_events(100, 7)
    values = np.stack([columns[name] for name in INPUTS], axis=1)
    tolerance = next(iter(artifact.manifest["proof"]["outputs"].values()))["tolerance"]
    np.testing.assert_allclose(artifact.predict(columns), model.probability(values), rtol=0, atol=tolerance)
    one_by_one = np.concatenate([artifact.predictor.predict(row[None]) for row in values])
    np.testing.assert_allclose(one_by_one, model.probability(values), rtol=0, atol=tolerance)
    for wrong in (np.nan, np.inf, -np.inf):  # what `predict` refuses
        values[:, 1] = wrong
        assert np.isnan(artifact.predictor.predict(values)).all()


def test_all_layers_and_heads_of_a_declared_network(tmp_path: Path) -> None:
    columns, y = toy_events(400, 3)
    features = Tabular(INPUTS).fit(columns)
    network = DeclaredClassifier(**SMALL, blocks=BLOCKS, heads=HEADS)
    network.fit(features.transform(columns), np.stack([y, columns["jet_mass"]], axis=1))
    model = replace(toy_model(Fisher(), n=100), estimator=network, features=features)
    outputs = export(model, OnnxGraph(), tmp_path / "onnx").manifest["proof"]["outputs"]
    assert list(outputs) == ["probability", "head_signal", "head_mass_0", "head_mass_1"]
    assert outputs["probability"]["worst"] < 1e-5
    assert outputs["head_mass_1"]["worst"] < 1e-3  # GeV


def test_networks_and_trees_that_were_made_independent(tmp_path: Path) -> None:
    toy = toy_model(Fisher(), n=400)
    X, y = toy.scaled(toy.recorded[:400]), toy.labels[:400]
    plain = {"epochs": 1}
    pivot = PivotClassifier(iterations=1, adversary_steps=1, adversary_pretraining=1, network_options=plain)
    fitted = [
        pivot.fit(X, y, nuisance=X[:, :1]),
        GradientReversalClassifier(epochs=1, network_options=plain).fit(X, y, domain=np.arange(400) % 2),
        FlatnessBoosting(trees=3).fit(X, y, nuisance=X[:, :1]),
        UBoost(trees=3).fit(X, y, nuisance=X[:, :1]),
    ]
    for estimator in fitted:
        artifact = export(replace(toy, estimator=estimator), OnnxGraph(), tmp_path / type(estimator).__name__)
        assert artifact.manifest["proof"]["outputs"]["probability"]["worst"] < 1e-5


def test_the_inverse_normal_and_the_logarithm_are_those_of_scipy_and_numpy(tmp_path: Path) -> None:
    p = np.concatenate([[1e-3, 1 - 1e-3, 0.5, np.exp(-2), 1 - np.exp(-2)], np.linspace(1e-3, 1 - 1e-3, 999)])
    graph = Graph()
    graph.output("y", normal_quantile(graph, graph.input("p", np.float64, "event")))
    np.testing.assert_allclose(run(graph, tmp_path, p=p), ndtri(p), rtol=1e-14, atol=1e-15)
    x = np.geomspace(1e-20, 1e20, 999)
    graph = Graph()
    graph.output("y", log1p(graph, graph.input("x", np.float64, "event")))
    np.testing.assert_allclose(run(graph, tmp_path, x=x), np.log1p(x), rtol=4e-16)


def test_a_search_tree_counts_the_cuts_below(tmp_path: Path) -> None:
    cuts = np.sort(np.random.default_rng(1).normal(size=37))
    x = np.concatenate([cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf), [np.inf, -np.inf]])
    graph = Graph()
    graph.output("y", leaf_values(graph, [search_tree(cuts)], graph.input("x", np.float64, "event").unsqueeze(1)))
    np.testing.assert_array_equal(run(graph, tmp_path, x=x), np.searchsorted(cuts, x))


def test_every_estimator_has_a_form_in_onnx() -> None:
    assert set(OnnxGraph.estimators()) == set(ESTIMATORS)


def test_what_has_no_form_is_refused_in_words(tmp_path: Path) -> None:
    class Unknown:
        def predict_proba(self, X: Any) -> Any:
            return np.zeros((len(X), 2))

    with pytest.raises(ModelError, match="unknown learner that can be written as ONNX 'Unknown'"):
        export(TrainedModel("x", Unknown(), ("a",)), OnnxGraph(), tmp_path / "x")
    model = boosted(None, trees=1)
    with pytest.raises(ConfigError, match="input 'score' has the name of an output"):
        export(replace(model, inputs=("score", "b", "c")), OnnxGraph(), tmp_path / "y")
