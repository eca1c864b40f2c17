"""Networks for the target ``c``: one C99 header in float32 or fixed point, with a test program and a fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name
from fivesigma.deploy.c_features import LIMIT, kinks, seen_by_network
from fivesigma.deploy.c_network import network_header
from fivesigma.deploy.c_target import PROBABILITY_TOLERANCE, CompiledTrees
from fivesigma.deploy.c_test_program import test_command, write_test_program
from fivesigma.deploy.feed_forward import FeedForward
from fivesigma.deploy.fixed_loss import choose_bits, measured_loss
from fivesigma.deploy.fixed_point import FixedNetwork, quantised
from fivesigma.deploy.network_steps import feed_forward, network_learner
from fivesigma.deploy.parity import Proof, proof_inputs
from fivesigma.deploy.target import Answers, Written, check_options
from fivesigma.deploy.trained_model import Float64, TrainedModel

Number = Literal["float", "fixed"]
MEANT = 1e9
"""Scores beyond are those of infinities and of other inputs that no event has; there float32 differs by its roundings."""


@dataclass(frozen=True)
class CNetwork:
    """One C99 header for a small network; see ``docs/deploy/c.md``.

    Parameters
    ----------
    number
        "float" (float32) or "fixed": integers, rounded to nearest and saturating.
    bits
        of an integer, sign included; None: the fewest whose loss of AUC (regressors: of resolution) on recorded events is
        at most ``loss``.
    fraction
        how many of them are fraction bits, in all values; None: in each value as many as recorded events leave room for.
    loss
        see ``bits``.
    tolerance
        of float scores: their absolute difference from torch, relative where they are beyond ±1. Fixed point is exact,
        against the same integers in NumPy.
    """

    kind: ClassVar[str] = "c"
    number: Number = "float"
    bits: int | None = None
    fraction: int | None = None
    loss: float = 0.001
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.number not in get_args(Number):
            raise ConfigError(unknown_name("number", str(self.number), get_args(Number)))
        if self.number == "float" and (self.bits is not None or self.fraction is not None):
            raise ConfigError("bits and fraction are of number=fixed; number=float is float32")

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.h``."""
        network = feed_forward(model)
        answer = "probability" if network.is_probability else "asinh_value"
        details: dict[str, Any] = {
            "network": [type(step).__name__.lower() for step in network.steps],
            "number": self.number,
            "answer": answer,
            "multiplications": network.multiplications,
        }
        fixed = None
        if self.number == "fixed":
            fixed, details["fixed"] = self._quantised(model, network, seed)
        (folder / f"{name}.h").write_text(network_header(model, fixed or network, name), encoding="utf-8")
        if fixed is not None:
            expected, tolerances = _fixed_answers(model, fixed), {"score": 0.0, answer: PROBABILITY_TOLERANCE}
        else:
            expected, tolerances = (
                _float_answers(model, network),
                {"asinh_score": self.tolerance, answer: self.tolerance},
            )
        return Written(
            proof_inputs(model, kinks(model, fixed), seed=seed),
            expected,
            tolerances | {"batch_differs": 0.0},
            details,
            (
                f'#include "{name}.h", and compile with: cc -std=c99 -O3 -march=native -ffp-contract=off yours.c -lm',
                f"test it: {test_command(name)}",
                *([details["fixed"]["words"]] if fixed else []),
            ),
        )

    def _quantised(self, model: TrainedModel, network: FeedForward, seed: int) -> tuple[FixedNetwork, dict[str, Any]]:
        seen = seen_by_network(model, model.recorded) if len(model.recorded) else None
        scan: Any = []
        if self.bits is None:
            fixed, scan = choose_bits(model, network, seen, self.fraction, self.loss, seed)
        else:
            fixed = quantised(network, self.bits, seen, self.fraction)
        loss = measured_loss(model, fixed, seen, seed)
        return fixed, {
            "bits": fixed.bits,
            "fractions": list(fixed.fractions),
            "sums_of_64_bits": fixed.needs_64_bits,
            "loss": loss,
            "scan": scan,
            "words": f"{fixed.words}; {loss['words']}",
        }

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write ``test_NAME.c`` and ``fuzz_NAME.c``."""
        exact = self.number == "fixed"
        score = np.asarray(proof.expected["score"]) if exact else np.sinh(proof.expected["asinh_score"])
        far = np.abs(score) > 0.999 * MEANT
        proof, score = (proof, score) if exact else (replace(proof, inputs=proof.inputs[~far]), score[~far])
        write_test_program(
            model,
            folder,
            name,
            proof,
            score,
            bounded="probability" in proof.expected,
            tolerance=None if exact else 2 * self.tolerance,  # sinh and asinh are not quite linear at 1
            nan_is_nan=True,
        )

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> CompiledNetwork:
        """Compile and load the header."""
        return CompiledNetwork(folder, name, details)

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 contract
        """Nothing that the proof's inputs do not cover."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CNetwork:
        """From its options by name."""
        check_options(cls, options)
        return cls(**options)


def _float_answers(model: TrainedModel, network: FeedForward) -> Callable[[Float64], Answers]:
    """By torch; NaN where an input is."""
    learner = network_learner(model)
    assert learner is not None

    def expected(inputs: Float64) -> Answers:
        seen = seen_by_network(model, inputs)
        nan = np.isnan(seen).any(axis=1)
        score = learner.score(model.estimator, np.where(np.isnan(seen), np.float32(0), seen))
        probability = network.probability(score)
        ordinary = np.isfinite(inputs).all(axis=1) & (np.abs(seen) < LIMIT).all(axis=1)
        if model.features is not None and model.features.scaling == "log":
            ordinary &= (inputs >= 0).all(axis=1)
        if ordinary.any():
            probability[ordinary] = model.probability(inputs[ordinary])
        score[nan] = probability[nan] = np.nan
        return {
            **_answer(network, probability),
            "asinh_score": _compressed(score),
            "batch_differs": np.zeros(len(score)),
        }

    return expected


def _fixed_answers(model: TrainedModel, fixed: FixedNetwork) -> Callable[[Float64], Answers]:
    """By the same integers in NumPy; NaN where an input is."""

    def expected(inputs: Float64) -> Answers:
        seen = seen_by_network(model, inputs)
        nan = np.isnan(seen).any(axis=1)
        score = fixed.score(np.where(np.isnan(seen), np.float32(0), seen))
        score[nan] = np.nan
        probability = fixed.network.probability(score)
        return {**_answer(fixed.network, probability), "score": score, "batch_differs": np.zeros(len(score))}

    return expected


def _compressed(values: Float64) -> Float64:
    """A difference of these is absolute near 0 and relative beyond ±1; numbers beyond ± ``MEANT`` count as that."""
    return np.arcsinh(np.clip(values, -MEANT, MEANT))


def _answer(network: FeedForward, probability: Float64) -> dict[str, Float64]:
    return {"probability": probability} if network.is_probability else {"asinh_value": _compressed(probability)}


class CompiledNetwork:
    """A generated header, compiled by the system's compiler and called through ctypes."""

    def __init__(self, folder: Path, name: str, details: Mapping[str, Any], *options: str) -> None:
        self._compiled = CompiledTrees(folder, name, *options)
        self._number, self._answer = details["number"], details["answer"]
        self.inputs = self._compiled.inputs

    def predict(self, values: NDArray[Any]) -> Float64:
        """Probabilities, or what a regressor predicts, of shape (event,)."""
        return self._compiled.predict(values)

    def answers(self, values: NDArray[Any]) -> Answers:
        """Score of the function of one event, probability, and where the batch function gives other bits."""
        found = self._compiled.answers(values)
        score, batch, answer = (np.asarray(found[word]) for word in ("score", "batch", "probability"))
        return {
            self._answer: answer if self._answer == "probability" else _compressed(answer),
            **({"score": score} if self._number == "fixed" else {"asinh_score": _compressed(score)}),
            "batch_differs": (batch != score) & ~(np.isnan(batch) & np.isnan(score)),
        }
