"""The contract of a target: what it writes, what its answers are compared with, and how it is read again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from fivesigma.core.errors import UnknownNameError
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.core.registry import Registry, unknown_name
from fivesigma.deploy.parity import Proof
from fivesigma.deploy.trained_model import Float64, TrainedModel

Answers = Mapping[str, NDArray[Any]]
"""What an export or its model answers, by the name of the output, each of shape (event,)."""


@dataclass(frozen=True)
class Written:
    """What ``Target.write`` leaves to be proved."""

    inputs: tuple[Any, dict[str, int]]
    """What to prove it with: values (event, input) or `EventColumns`, and how many of each kind; see ``proof_inputs``."""
    expected: Callable[[Any], Answers]
    """What the trained model, by its own library, answers for inputs of shape (event, input)."""
    tolerances: Mapping[str, float]
    """The largest absolute difference allowed, by output; 0 means every bit."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the target must know to read it again, and what its user wants to know; JSON."""
    say: Sequence[str] = ()
    """Lines for the person at the keyboard, such as how to compile it."""
    libraries: Sequence[str] = ()
    """Packages that the artefact is used with; older ones than it was proved with are refused."""


class Predictor(Protocol):
    """An artefact, read again."""

    inputs: tuple[str, ...]
    """Names of its inputs, as its own files (not the manifest) have them."""

    def predict(self, values: Any) -> Float64:
        """What users want, of shape (event,), for values of shape (event, input), or `EventColumns`."""

    def answers(self, values: Any) -> Answers:
        """Everything that a proof compares, by every way that the artefact can be used."""


class Target(Protocol):
    """A kind of export; a frozen dataclass whose fields are its options."""

    kind: ClassVar[str]
    takes_jagged: ClassVar[bool] = False
    """Whether it takes a `JaggedModel`."""

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write the export's files into ``folder``, names in them starting with ``name``; ``seed`` is of the proof."""

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write what a user can test it with, made of the proof."""

    @classmethod
    def estimators(cls) -> Collection[str]:
        """Registered names of the estimators that it takes."""

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> Predictor:
        """Read it again."""

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        """Compare everything that can be compared (each cell of a table); `ParityError` if anything differs."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """From its options by name, as the command line and the manifest have them."""


def check_options(target: type[Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a target does not have, with the nearest that it has."""
    known = [field.name for field in fields(target)]
    for name in options:
        if name not in known:
            raise UnknownNameError(unknown_name(f"option of the target {target.kind!r}", name, known))


def estimators_of_numbers() -> tuple[str, ...]:
    """Registered names of the estimators that can be fitted on one number an event and column."""
    return tuple(name for name in ESTIMATORS if name not in IMAGES_ONLY)


IMAGES_ONLY = ("cnn", "locally-connected")

TARGETS: Registry[type[Any]] = Registry("target")
"""Every kind of export by its name."""
