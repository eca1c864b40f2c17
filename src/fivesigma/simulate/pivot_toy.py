"""``simulate pivot-toy``: two Gaussian classes, one of which moves with a nuisance (arXiv:1611.01046, section 5.1).

Background: x ~ N((0, 0), [[1, −½], [−½, 1]]). Signal: x ~ N((1, 1 + Z), 1). The nuisance Z ~ N(0, 1) is drawn for every
event, for those of the background too, whose distribution does not depend on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import file_digest, write_json
from fivesigma.core.jagged import Columns
from fivesigma.core.provenance import provenance
from fivesigma.simulate.root_file import FileFormat, write_root
from fivesigma.simulate.simulation import SIMULATIONS, SimulatedClass, SimulationResult

BACKGROUND_COVARIANCE = ((1.0, -0.5), (-0.5, 1.0))
SIGNAL_MEAN = (1.0, 1.0)
"""At Z = 0; Z is added to the second."""


@SIMULATIONS.register("pivot-toy")
def simulate_pivot_toy(
    output: Path,
    *,
    n_signal: int = 20_000,
    n_background: int = 20_000,
    seed: int = 1,
    workers: int | None = None,  # noqa: ARG001 drawn at once
    file_format: FileFormat = "ttree",
    multiparton: bool = True,
    command: str | None = None,
) -> SimulationResult:
    """Draw the toy into the tree ``toy``: ``event_number, label, x1, x2, z``; no generator is needed.

    Raises
    ------
    ConfigError
        for numbers that cannot be meant.
    OutputError
        if the file cannot be written.
    """
    output = Path(output)
    if not multiparton:
        raise ConfigError(
            "simulate pivot-toy draws Gaussian numbers: there are no multi-parton interactions to leave out"
        )
    if min(n_signal, n_background) < 0 or n_signal + n_background == 0 or seed < 0:
        raise ConfigError(f"expected numbers of events and a seed ≥ 0, got {n_signal}, {n_background} and seed {seed}")
    columns = draw_pivot_toy(n_signal, n_background, seed)
    entries = write_root(output, "toy", [columns], file_format)
    default = f"fivesigma simulate pivot-toy --output {output.name} --n-signal {n_signal} --n-background {n_background}"
    file = {"name": output.name, "tree": "toy", "entries": entries, "bytes": output.stat().st_size}
    metadata_path = output.with_suffix(".json")
    write_json(
        metadata_path,
        {
            "file": {**file, "xxh3": file_digest(output)},
            **provenance(seed, command or f"{default} --seed {seed}"),
            "request": {"n_signal": n_signal, "n_background": n_background, "seed": seed, "format": file_format},
        },
    )
    classes = tuple(
        SimulatedClass(name, label, n, 0.0, 0.0, 0.0, {"events": n})  # a toy has no cross-section
        for name, label, n in (("signal", 1, n_signal), ("background", 0, n_background))
    )
    return SimulationResult("pivot-toy", output, metadata_path, classes, parts=1, parts_resumed=0)


def draw_pivot_toy(n_signal: int, n_background: int, seed: int) -> Columns:
    """The toy's columns, the signal first; the same seed gives the same events."""
    rng = np.random.default_rng(seed)
    n = n_signal + n_background
    z = rng.normal(size=n)
    signal = rng.normal(SIGNAL_MEAN, 1.0, size=(n_signal, 2))
    signal[:, 1] += z[:n_signal]
    background = rng.multivariate_normal((0.0, 0.0), BACKGROUND_COVARIANCE, size=n_background)
    x = np.concatenate([signal, background]).astype(np.float32)
    return {
        "event_number": np.arange(n, dtype=np.int64),
        "label": np.repeat(np.array([1, 0], np.int32), [n_signal, n_background]),
        "x1": x[:, 0],
        "x2": x[:, 1],
        "z": z.astype(np.float32),
    }
