"""What is written into an ONNX file for each kind of model, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, FeatureError, ModelError
from fivesigma.core.registry import unknown_name
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.jagged_model import JaggedModel
from fivesigma.deploy.jagged_proof import jagged_proof_inputs
from fivesigma.deploy.onnx_error_bars import ONNX_LEARNERS
from fivesigma.deploy.onnx_features import stacked, tabular
from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.deploy.onnx_jet_images import count_of, jet_images
from fivesigma.deploy.onnx_trees import rounding_of, tree_scores
from fivesigma.deploy.parity import ADVERSARIAL, proof_inputs
from fivesigma.deploy.target import Answers
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, cuts_on_inputs, ensemble_on_inputs, events_at_cuts
from fivesigma.features import Features, JetImages, SeveralInputs, Tabular

LAST_PLACE = 1e-15
"""Of a probability of a given score: the exponential of C libraries differs in its last bit."""
PULLS = np.array([-30.0, -10.0, -3.0, -1.0, 0.0, 1.0, 3.0, 10.0, 30.0])
"""Of inputs of networks that are tried with their neighbours, in standard deviations."""


@dataclass
class Program:
    """A graph, what it is compared with and by how much it may differ."""

    graph: Graph
    expected: Callable[[Any], Answers]
    tolerances: Mapping[str, float]  # by output, the one that users want first
    inputs: tuple[Any, dict[str, int]]
    details: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Inputs that say how many values an event has, and in which columns."""


def program_of(model: TrainedModel, seed: int) -> Program:
    """The graph of a model, by its kind.

    Raises
    ------
    ModelError
        if it has no form in ONNX here.
    ConfigError
        if an input is called as an output.
    """
    known = [*TREE_LEARNERS, *ONNX_LEARNERS]
    if model.kind not in known:
        wrong = unknown_name("learner that can be written as ONNX", model.kind, known)
        raise ModelError(f"model {model.name!r}: {wrong}")
    if isinstance(model, JaggedModel):
        program = _of_jagged(model, seed)
    else:
        program = _of_trees(model, seed) if model.kind in TREE_LEARNERS else _of_features(model, seed)
    if taken := sorted(program.graph.inputs.keys() & program.graph.outputs.keys()):
        raise ConfigError(f"the input {taken[0]!r} has the name of an output of the graph; rename the column")
    return program


def _of_trees(model: TrainedModel, seed: int) -> Program:
    """Trees with cuts on the untransformed inputs: no arithmetic between an input and a cut."""
    learner, ensemble = TREE_LEARNERS[model.kind], ensemble_on_inputs(model)
    graph, is_classifier = Graph(), hasattr(model.estimator, "predict_proba")
    columns = {name: graph.input(name, np.float64, "event") for name in model.inputs}
    score = tree_scores(graph, ensemble, stacked(graph, list(columns.values())))
    rounding = rounding_of(ensemble)
    if not is_classifier:
        graph.output("value", score)
        tolerances = {"value": rounding}
    elif ensemble.link == "identity":
        graph.output("probability", score)
        tolerances = {"probability": rounding}
    else:
        graph.output("probability", (score * ensemble.slope).function("Sigmoid"))
        graph.output("score", score)
        tolerances = {"probability": 0.25 * ensemble.slope * rounding + LAST_PLACE, "score": rounding}

    def expected(inputs: Float64) -> Answers:
        found = learner.score(model.estimator, model.scaled(inputs))
        probability = ensemble.probability(found)
        finite = np.isfinite(inputs).all(axis=1) & (np.abs(inputs) < np.finfo(np.float32).max).all(axis=1)
        probability[finite] = model.probability(inputs[finite])
        return {"value": probability, "probability": probability, "score": found}

    cuts = [
        np.concatenate([tree.threshold[tree.feature == i] for tree in ensemble.trees]) for i in range(len(model.inputs))
    ]
    inputs = proof_inputs(
        model,
        cuts,
        seed=seed,
        at_cuts=lambda low, high: events_at_cuts(ensemble, low, high, seed=seed, most=ADVERSARIAL),
    )
    details = {"trees": len(ensemble.trees), "leaves": ensemble.leaves}
    return Program(graph, lambda x: _only(expected(x), tolerances), tolerances, inputs, details)


def _only(answers: Answers, names: Mapping[str, float]) -> Answers:
    return {name: answers[name] for name in names}


def _of_features(model: TrainedModel, seed: int) -> Program:
    """Features, then what the learner makes of them; NaN where ``predict`` refuses the event."""
    learner, graph = ONNX_LEARNERS[model.kind], Graph()
    columns = {name: graph.input(name, np.float64, "event") for name in model.inputs}
    if model.features is None:
        x = stacked(graph, list(columns.values()))
        x = x.cast(np.float32) if learner.single else x
        refused = _any_not_finite(x)
    else:
        x, refused = _features(graph, model.features, columns)
    cuts = None if learner.cuts is None else cuts_on_inputs(model, learner.cuts(model.estimator))
    outputs = None
    if learner.on_inputs is not None and cuts is not None:
        outputs = learner.on_inputs(graph, model.estimator, list(columns.values()), cuts)
    finish(graph, outputs or learner.write(graph, model.estimator, x), refused)
    tolerances = learner.tolerance(model.estimator)

    def expected(inputs: Float64) -> Answers:
        X, seen = _seen(model, inputs, np.float32 if learner.single else np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return spread(learner.answer(model.estimator, X), seen)

    return Program(graph, expected, tolerances, _proof_inputs(model, cuts, seed))


def _of_jagged(model: JaggedModel, seed: int) -> Program:
    """Jagged columns as the values of all events and their counts; padded and made images inside."""
    if model.kind not in ONNX_LEARNERS:
        raise FeatureError(f"model {model.name!r}: {model.kind} of jagged columns has no form in ONNX here")
    learner, graph = ONNX_LEARNERS[model.kind], Graph()
    group = {name: first for first, names in model.jagged.items() for name in names}
    counts = {count_of(first): names for first, names in model.jagged.items()}
    columns = {
        name: graph.input(name, np.float64, f"values of {group[name]}" if name in group else "event")
        for name in model.inputs
    }
    columns |= {name: graph.input(name, np.int64, "event") for name in counts}
    parts, refusals = zip(*(_features(graph, part, columns) for part in model.parts), strict=True)
    x = parts[0]
    if isinstance(model.transform, SeveralInputs):
        x = graph.concat([graph.op("Flatten", part) for part in parts], axis=1)
    finish(graph, learner.write(graph, model.estimator, x), any_of(refusals))

    def expected(events: EventColumns) -> Answers:
        X, seen = model.seen(events)
        with np.errstate(over="ignore", invalid="ignore"):
            return spread(learner.answer(model.estimator, X), seen)

    return Program(graph, expected, learner.tolerance(model.estimator), jagged_proof_inputs(model, seed), counts=counts)


def _features(graph: Graph, features: Features | None, columns: Mapping[str, Value]) -> tuple[Value, Value]:
    """What the estimator sees, float32 of shape (event, …), and which events ``predict`` refuses, (event,)."""
    if isinstance(features, JetImages):
        return jet_images(graph, features, columns)
    if not isinstance(features, Tabular):
        raise FeatureError(f"features {type(features).__name__} have no form in ONNX here")
    x = tabular(graph, features, columns)
    return x, _any_not_finite(x)


def _any_not_finite(x: Value) -> Value:
    return x.not_finite().cast(np.int32).largest(1, keep=False).cast(np.bool_)


def any_of(conditions: Sequence[Value]) -> Value:
    """Where one of them holds."""
    found = conditions[0]
    for other in conditions[1:]:
        found = found | other
    return found


def finish(graph: Graph, outputs: Mapping[str, Value], refused: Value) -> None:
    """Make outputs of values, NaN for refused events."""
    for name, value in outputs.items():
        graph.output(name, graph.where(refused, np.nan, value))


def spread(answers: Mapping[str, Float64], seen: NDArray[np.bool_]) -> dict[str, Float64]:
    """Answers of the events that were seen as those of all, NaN for the others."""
    found = {}
    for name, values in answers.items():
        found[name] = np.full(len(seen), np.nan)
        found[name][seen] = values
    return found


def _seen(model: TrainedModel, inputs: Float64, dtype: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Features of the events that ``predict`` takes, and which these are."""
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(inputs).all(axis=1))
    if model.features is not None and model.features.scaling == "log":
        seen &= ~(inputs < 0).any(axis=1)
    X: NDArray[Any] = inputs[seen]
    with np.errstate(over="ignore", under="ignore"):
        if model.features is not None:
            X = model.features.transform(dict(zip(model.inputs, X.T, strict=True)))
        X = X.astype(dtype)
    finite = np.isfinite(X).all(axis=1)
    seen[seen] = finite
    return X[finite], seen


def _proof_inputs(model: TrainedModel, own: Sequence[Float64] | None, seed: int) -> tuple[Float64, dict[str, int]]:
    """See ``proof_inputs``; what stands for cuts are the learner's own ones, means, multiples of the width, and knots."""
    places = [_places(model, i) for i in range(len(model.inputs))]
    cuts = places
    if own is not None:
        cuts = [np.concatenate(both) for both in zip(places, own, strict=True)]
    inputs, kinds = proof_inputs(model, cuts, seed=seed)
    if model.features is not None and model.features.scaling == "log":
        # the margin below 0 would leave hardly any event to compare; the largest numbers have a logarithm, but no network
        # is exact a thousand standard deviations out
        inputs[(inputs < -1e-34) & (inputs > -1e300)] *= -1
        highest = np.array([place[-1] for place in places])
        inputs = np.where(np.isfinite(inputs), np.minimum(inputs, highest), inputs)
    return inputs, kinds


def _places(model: TrainedModel, i: int) -> Float64:
    """Where to try an input, beside recorded and random values."""
    features, recorded = model.features, model.recorded[:, i] if len(model.recorded) else PULLS
    if features is None or features.scales is None or features.scaling == "none":
        return np.asarray(np.quantile(recorded, np.linspace(0, 1, 9)))
    scale = features.scales[i]
    if features.scaling == "quantile":
        return np.asarray(scale.knots)[:: max(1, len(scale.knots) // 20)]
    if features.scaling == "log":
        return np.asarray(scale.unit * np.expm1(np.clip(scale.mean + scale.width * PULLS, 0, 100)))
    return np.asarray(scale.mean + scale.width * PULLS)
