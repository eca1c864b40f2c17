"""What learners of uniform scores are told of the variables in which they shall be uniform."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name
from fivesigma.models.training_inputs import InvalidInputsError

UniformLabel = Literal["background", "signal", "both"]
_LABELS: dict[str, tuple[int, ...]] = {"background": (0,), "signal": (1,), "both": (0, 1)}


def uniform_labels(uniform_label: UniformLabel) -> tuple[int, ...]:
    """Labels of the classes that shall be uniform.

    Raises
    ------
    ConfigError
        for anything but "background", "signal" and "both".
    """
    if uniform_label not in _LABELS:
        raise ConfigError(unknown_name("uniform_label", str(uniform_label), get_args(UniformLabel)))
    return _LABELS[uniform_label]


def uniform_variables(nuisance: Any | None, events: int, learner: str) -> NDArray[np.float64]:
    """The variables to be uniform in, float64 of shape (event, variable).

    Raises
    ------
    InvalidInputsError
        if they are missing, of another length or not finite.
    """
    if nuisance is None:
        raise InvalidInputsError(
            f"{learner} was not told in which variables to be uniform: give them to fit as `nuisance`, "
            "or name columns under `nuisances` in the study's model"
        )
    table = np.asarray(nuisance, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != events or table.shape[1] == 0:
        raise InvalidInputsError(f"nuisance: expected shape ({events}, variable), got {np.shape(nuisance)}")
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        raise InvalidInputsError(
            f"nuisance: {int(bad.sum())} of {events} events have a value that is not finite, the first is event "
            f"{int(np.argmax(bad))}"
        )
    return table
