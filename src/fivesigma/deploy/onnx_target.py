"""The target ``onnx``: a model with its preprocessing as one graph, which onnxruntime uses alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, FeatureError, MissingDependencyError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.onnx_error_bars import ONNX_LEARNERS
from fivesigma.deploy.onnx_program import Program, program_of
from fivesigma.deploy.parity import Proof
from fivesigma.deploy.target import TARGETS, Answers, Written, check_options
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_learners import TREE_LEARNERS

ONNXRUNTIME = "onnxruntime"
AT_ONCE, JETS_AT_ONCE = 10_000, 250
"""Events in one call of onnxruntime; images need some 100 kB of memory each."""


@TARGETS.register("onnx")
@dataclass(frozen=True)
class OnnxGraph:
    """One ONNX file with an input by the name of each feature, in its own unit; see ``docs/deploy/onnx.md``."""

    kind: ClassVar[str] = "onnx"
    takes_jagged: ClassVar[bool] = True

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
    def estimators(cls) -> Collection[str]:
        """Those of trees, and every one that has a form."""
        return (*TREE_LEARNERS, *ONNX_LEARNERS)

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
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error}") from error
        except Exception as error:
            raise ArtifactError(f"onnxruntime cannot load {path}: {error}") from error
        self.wanted = wanted
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        counts = json.loads(self.metadata.get("counts", "{}"))
        self._count_of = {columns[0]: name for name, columns in counts.items()}
        self.inputs = tuple(found.name for found in self._session.get_inputs() if found.name not in counts)
        self.outputs = tuple(found.name for found in self._session.get_outputs())

    def predict(self, values: Any) -> Float64:
        """The output that users want, of shape (event,)."""
        return np.asarray(self.answers(values)[self.wanted])

    def answers(self, values: Any) -> Answers:
        """All outputs, of shape (event,) each, for float64 inputs of shape (event, input), or `EventColumns`."""
        step = JETS_AT_ONCE if self._count_of else AT_ONCE
        blocks = [values[start : start + step] for start in range(0, max(1, len(values)), step)]
        parts = [self._session.run(None, self._columns(block)) for block in blocks]
        return {name: np.concatenate(part) for name, part in zip(self.outputs, zip(*parts, strict=True), strict=True)}

    def _columns(self, events: Any) -> dict[str, NDArray[Any]]:
        """What onnxruntime takes: the values of a column one after another, and the counts of jagged ones."""
        if not isinstance(events, EventColumns):
            return dict(zip(self.inputs, np.ascontiguousarray(np.asarray(events, np.float64).T), strict=True))
        found: dict[str, NDArray[Any]] = {}
        for name in self.inputs:
            column = events.columns[name]
            found[name] = np.asarray(column.values if isinstance(column, Jagged) else column, np.float64)
            if name in self._count_of:
                found[self._count_of[name]] = jagged_of(name, column).counts
        return found


def jagged_of(name: str, column: Column) -> Jagged:
    """A column that must be jagged."""
    if not isinstance(column, Jagged):
        raise FeatureError(f"column {name!r}: expected a jagged column, got one value per event")
    return column


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
        "counts": json.dumps(program.counts),
        "versions": json.dumps({package: metadata.version(package) for package in packages}),
    }
