"""Trees for the target ``c``: one C99 header, with a test program and a fuzzer."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, ConfigError
from fivesigma.core.registry import unknown_name
from fivesigma.deploy.c_test_program import test_command, write_test_program
from fivesigma.deploy.c_trees import Layout, header
from fivesigma.deploy.compiler import Compiler, shared_library
from fivesigma.deploy.parity import ADVERSARIAL, Proof, proof_inputs
from fivesigma.deploy.target import Answers, Written, check_options
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, ensemble_on_inputs, events_at_cuts, tree_learner

PROBABILITY_TOLERANCE = 1e-15
"""Of probabilities: exp differs in its last bit from one C library to another; scores are exact."""


@dataclass(frozen=True)
class CTrees:
    """One C99 header for boosted trees and forests; see ``docs/deploy.md``.

    ``layout``: "bitvectors" (fast; trees of at most 64 leaves), "nested" (readable if … else …), "nodes" (compact, any
    trees), or "auto" (bitvectors where they fit, otherwise nodes).
    """

    kind: ClassVar[str] = "c"
    takes_jagged: ClassVar[bool] = False
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise ConfigError(unknown_name("layout", str(self.layout), get_args(Layout)))

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.h``."""
        learner, ensemble = tree_learner(model), ensemble_on_inputs(model)
        (folder / f"{name}.h").write_text(header(model, ensemble, name, self.layout), encoding="utf-8")
        cuts = [
            np.concatenate([tree.threshold[tree.feature == i] for tree in ensemble.trees])
            for i in range(len(model.inputs))
        ]

        def expected(inputs: Float64) -> Answers:
            score = learner.score(model.estimator, model.scaled(inputs))
            probability = ensemble.probability(score)
            finite = np.isfinite(inputs).all(axis=1) & (np.abs(inputs) < np.finfo(np.float32).max).all(axis=1)
            probability[finite] = model.probability(inputs[finite])
            return {"score": score, "batch": score, "probability": probability}

        return Written(
            proof_inputs(
                model,
                cuts,
                seed=seed,
                at_cuts=lambda low, high: events_at_cuts(ensemble, low, high, seed=seed, most=ADVERSARIAL),
            ),
            expected,
            {"score": 0.0, "batch": 0.0, "probability": PROBABILITY_TOLERANCE},
            {
                "trees": len(ensemble.trees),
                "leaves": ensemble.leaves,
                "cuts": sum(len(t.feature) for t in ensemble.trees),
            },
            (
                f'#include "{name}.h", and compile with: cc -std=c99 -O3 -march=native -ffp-contract=off yours.c -lm',
                f"test it: {test_command(name)}",
            ),
        )

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write ``test_NAME.c`` and ``fuzz_NAME.c``."""
        probability = np.asarray(proof.expected["probability"])
        bounded = bool((probability >= 0).all() and (probability <= 1).all())
        write_test_program(model, folder, name, proof, np.asarray(proof.expected["score"]), bounded=bounded)

    @classmethod
    def estimators(cls) -> Collection[str]:
        """Those of trees."""
        return tuple(TREE_LEARNERS)

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> CompiledTrees:  # noqa: ARG003 contract
        """Compile and load the header."""
        return CompiledTrees(folder, name)

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 contract
        """Nothing that the proof's inputs do not cover."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CTrees:
        """``layout`` only."""
        check_options(cls, options)
        return cls(**options)


class CompiledTrees:
    """A generated header, compiled by the system's compiler and called through ctypes."""

    def __init__(self, folder: Path, name: str, *options: str, compiler: Compiler | None = None) -> None:
        header_file = folder / f"{name}.h"
        if not header_file.is_file():
            raise ArtifactError(f"{header_file} is missing")
        # Headers of earlier versions have the probability of an event only.
        from_score = f"{name}_probability_of(" in header_file.read_text(encoding="utf-8")
        probability = f"{name}_probability_of(probability[i])" if from_score else f"{name}_probability(event + i)"
        source = f"""
#include "{name}.h"
void scores(const {name}_features *event, size_t events, double *score);
void single(const {name}_features *event, size_t events, double *score, double *probability);
void probabilities(const {name}_features *event, size_t events, double *probability);
const char *feature(size_t i);
size_t size(void);
void scores(const {name}_features *event, size_t events, double *score) {{ {name}_scores(event, events, score); }}
void single(const {name}_features *event, size_t events, double *score, double *probability)
{{
    size_t i;
    for (i = 0; i < events; ++i) {{
        score[i] = {name}_score(event + i);
        probability[i] = {name}_probability(event + i);
    }}
}}
void probabilities(const {name}_features *event, size_t events, double *probability)
{{
    size_t i;
    {f"{name}_scores(event, events, probability);" if from_score else ""}
    for (i = 0; i < events; ++i) {{
        probability[i] = {probability};
    }}
}}
const char *feature(size_t i) {{ return {name}_feature_name(i); }}
size_t size(void) {{ return sizeof({name}_features); }}
"""
        self._library = shared_library(source, folder, compiler=compiler, options=options or ("-std=c99", "-O2"))
        self._library.feature.restype = ctypes.c_char_p
        self._library.size.restype = ctypes.c_size_t
        n = self._library.size() // ctypes.sizeof(ctypes.c_double)
        self.inputs = tuple(self._library.feature(ctypes.c_size_t(i)).decode() for i in range(n))

    def predict(self, values: NDArray[Any]) -> Float64:
        """Probabilities, of shape (event,), by the function of many events where the header has what it takes."""
        events = np.ascontiguousarray(values, dtype=np.float64)
        probability = np.empty(len(events))
        self._library.probabilities(_pointer(events), ctypes.c_size_t(len(events)), _pointer(probability))
        return probability

    def scores(self, values: NDArray[Any]) -> Float64:
        """By the function of many events, of shape (event,)."""
        events = np.ascontiguousarray(values, dtype=np.float64)
        batch = np.empty(len(events))
        self._library.scores(_pointer(events), ctypes.c_size_t(len(events)), _pointer(batch))
        return batch

    def answers(self, values: NDArray[Any]) -> Answers:
        """Score of the function of one event, score of the batch function, probability."""
        events = np.ascontiguousarray(values, dtype=np.float64)
        single, probability = np.empty(len(events)), np.empty(len(events))
        self._library.single(_pointer(events), ctypes.c_size_t(len(events)), _pointer(single), _pointer(probability))
        return {"score": single, "batch": self.scores(events), "probability": probability}


def _pointer(values: NDArray[Any]) -> ctypes.c_void_p:
    return values.ctypes.data_as(ctypes.c_void_p)
