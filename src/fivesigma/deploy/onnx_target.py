"""The target ``onnx``: a model with its preprocessing as one graph, which onnxruntime uses alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, ConfigError, MissingDependencyError, ModelError
from fivesigma.core.registry import unknown_name
from fivesigma.deploy.onnx_features import stacked, tabular
from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.deploy.onnx_learners import ONNX_LEARNERS
from fivesigma.deploy.onnx_trees import rounding_of, tree_scores
from fivesigma.deploy.parity import ADVERSARIAL, Proof, proof_inputs
from fivesigma.deploy.target import TARGETS, Answers, Written, check_options
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, ensemble_on_inputs, events_at_cuts

ONNXRUNTIME = "onnxruntime"
LAST_PLACE = 1e-15
"""Of a probability of a given score: the exponential of C libraries differs in its last bit."""
AT_ONCE = 10_000
"""Events in one call of onnxruntime."""
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


@TARGETS.register("onnx")
@dataclass(frozen=True)
class OnnxGraph:
    """One ONNX file with an input by the name of each feature, in its own unit; see ``docs/deploy/onnx.md``."""

    kind: ClassVar[str] = "onnx"

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.onnx``."""
        program = program_of(model, seed)
        program.graph.save(folder / f"{name}.onnx", name, described(model, program))
        wanted = next(iter(program.tolerances))
        return Written(
            program.inputs,
            program.expected,
            program.tolerances,
            {"output": wanted, **program.details},
            (f"onnxruntime.InferenceSession('{name}.onnx').run(['{wanted}'], columns); needs no fivesigma",),
            (ONNXRUNTIME,),
        )

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Nothing: ``proof/`` holds what is needed."""

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> OnnxSession:
        """Load it into onnxruntime."""
        return OnnxSession(folder / f"{name}.onnx", str(details["output"]))

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 contract
        """Nothing that the proof's inputs do not cover."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> OnnxGraph:
        """It has none."""
        check_options(cls, options)
        return cls()


class OnnxSession:
    """A graph in onnxruntime, on one thread."""

    def __init__(self, path: Path, wanted: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "ONNX is proved with onnxruntime; install it: pip install 'fivesigma[deploy]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error}") from error
        except Exception as error:  # noqa: BLE001 onnxruntime's own exceptions have no common base
            raise ArtifactError(f"onnxruntime cannot load {path}: {error}") from error
        self.wanted = wanted
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs = tuple(found.name for found in self._session.get_inputs())
        self.outputs = tuple(found.name for found in self._session.get_outputs())

    def predict(self, values: NDArray[Any]) -> Float64:
        """The output that users want, of shape (event,)."""
        return np.asarray(self.answers(values)[self.wanted])

    def answers(self, values: NDArray[Any]) -> Answers:
        """All outputs, of shape (event,) each, for float64 inputs of shape (event, input)."""
        values = np.asarray(values, np.float64)
        parts = [
            self._session.run(None, dict(zip(self.inputs, np.ascontiguousarray(block.T), strict=True)))
            for block in np.split(values, range(AT_ONCE, len(values), AT_ONCE))
        ]
        return {name: np.concatenate(part) for name, part in zip(self.outputs, zip(*parts, strict=True), strict=True)}


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
    program = _of_trees(model, seed) if model.kind in TREE_LEARNERS else _of_features(model, seed)
    if taken := sorted(program.graph.inputs.keys() & program.graph.outputs.keys()):
        raise ConfigError(f"the input {taken[0]!r} has the name of an output of the graph; rename the column")
    return program


def described(model: TrainedModel, program: Program) -> dict[str, str]:
    """The metadata of the file."""
    packages = ("fivesigma", "numpy", "onnx", ONNXRUNTIME)
    return {
        "features": json.dumps(model.described()),
        "outputs": json.dumps(list(program.graph.outputs)),
        "model": model.name,
        "estimator": model.kind,
        "source": model.source,
        "digest": model.digest,
        "versions": json.dumps({package: metadata.version(package) for package in packages}),
    }


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
    else:
        x = tabular(graph, model.features, columns)
    refused = x.not_finite().cast(np.int32).largest(1, keep=False).cast(np.bool_)
    finish(graph, learner.write(graph, model.estimator, x), refused)
    tolerances = learner.tolerance(model.estimator)

    def expected(inputs: Float64) -> Answers:
        X, seen = _seen(model, inputs, np.float32 if learner.single else np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return spread(learner.answer(model.estimator, X), seen)

    return Program(graph, expected, tolerances, _proof_inputs(model, seed))


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
    seen = np.isfinite(inputs).all(axis=1)
    if model.features is not None and model.features.scaling == "log":
        seen &= ~(inputs < 0).any(axis=1)
    X = inputs[seen]
    with np.errstate(over="ignore", under="ignore"):
        if model.features is not None:
            X = model.features.transform(dict(zip(model.inputs, X.T, strict=True)))
        X = X.astype(dtype)
    finite = np.isfinite(X).all(axis=1)
    seen[seen] = finite
    return X[finite], seen


def _proof_inputs(model: TrainedModel, seed: int) -> tuple[Float64, dict[str, int]]:
    """See ``proof_inputs``; what stands for cuts are means, multiples of the width, and knots."""
    features = model.features
    if features is None or features.scaling == "none" or features.scales is None:
        quantiles = np.linspace(0, 1, 9)
        cuts = [
            np.quantile(model.recorded[:, i], quantiles) if len(model.recorded) else PULLS / 10
            for i in range(len(model.inputs))
        ]
    elif features.scaling == "quantile":
        cuts = [np.asarray(s.knots)[:: max(1, len(s.knots) // 20)] for s in features.scales]
    elif features.scaling == "log":
        cuts = [s.unit * np.expm1(np.clip(s.mean + s.width * PULLS, 0, 100)) for s in features.scales]
    else:
        cuts = [s.mean + s.width * PULLS for s in features.scales]
    inputs, kinds = proof_inputs(model, cuts, seed=seed)
    if features is not None and features.scaling == "log":  # the margin below 0 would leave hardly any event to compare
        drawn = (inputs < 0) & (inputs > -1e300) & (inputs < -1e-34)
        inputs[drawn] *= -1
    return inputs, kinds
