"""The test program and the fuzzer beside a generated header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fivesigma.deploy.c_source import array, bits_of, identifiers, render
from fivesigma.deploy.parity import Proof
from fivesigma.deploy.trained_model import Float64, TrainedModel

VECTORS = 500
"""Of the proof's inputs, how many the test program holds."""
FUZZ_FLAGS = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"


def test_command(name: str) -> str:
    """How to compile and run the test program."""
    flags = "-std=c99 -Wall -Wextra -Werror -pedantic -O2 -ffp-contract=off"
    return f"cc {flags} test_{name}.c -lm -o test_{name} && ./test_{name}"


test_command.__test__ = False  # type: ignore[attr-defined] # its name is no test's


def write_test_program(
    model: TrainedModel,
    folder: Path,
    name: str,
    proof: Proof,
    score: Float64,
    *,
    bounded: bool,
    tolerance: float | None = None,
    nan_is_nan: bool = False,
) -> None:
    """Write ``test_NAME.c`` and ``fuzz_NAME.c``.

    ``score`` (event,) is expected of the proof's inputs, to ``tolerance`` (absolute, relative beyond ±1) or None: every
    bit; ``bounded``: probabilities lie in 0 … 1; ``nan_is_nan``: an event with a NaN has a NaN as score.
    """
    members = identifiers(model.inputs)
    chosen = np.unique(np.linspace(0, len(proof.inputs) - 1, VECTORS).astype(np.int64))
    words = {"name": name, "members": members}
    test = render(
        "test.c.jinja",
        **words,
        command=test_command(name),
        tolerance=None if tolerance is None else repr(tolerance),
        vectors=len(chosen),
        inputs=array("uint64_t", "inputs", bits_of(proof.inputs[chosen])),
        expected=array("uint64_t", "expected", bits_of(score[chosen])),
    )
    (folder / f"test_{name}.c").write_text(test, encoding="utf-8")
    fuzz = render(
        "fuzz.c.jinja",
        **words,
        command=f"cc -std=c99 {FUZZ_FLAGS} fuzz_{name}.c -lm -o fuzz_{name} && ./fuzz_{name}",
        bounded=bounded,
        nan_is_nan=nan_is_nan,
        scale=f"{float(np.nanmax(np.abs(proof.inputs[: len(proof.inputs) // 4]))):.6g}",
        seed=88172645463325252,
    )
    (folder / f"fuzz_{name}.c").write_text(fuzz, encoding="utf-8")
