"""``SeveralInputs``: what a network with several inputs sees, such as an image and a few variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.jagged import Columns
from fivesigma.features.contract import FEATURES, Features, features_from_json


@FEATURES.register("several")
@dataclass
class SeveralInputs:
    """Several kinds of features, one after another in one row of numbers an event; ``shapes`` says where each stands.

    A study's model with a list of ``inputs`` sees these; the network takes the row apart again.

    Parameters
    ----------
    parts
        name of an input → ``{"features": kind, "options": {…}}``.

    Examples
    --------
    >>> two = SeveralInputs({name: {"features": "tabular", "options": {"inputs": [name]}} for name in ("mass", "tau21")})
    >>> columns = {"mass": np.array([70.0, 90.0]), "tau21": np.array([0.1, 0.2])}
    >>> two.fit(columns).transform(columns).shape, two.shapes
    ((2, 2), {'mass': (1,), 'tau21': (1,)})
    """

    parts: Mapping[str, Mapping[str, Any]]
    made: dict[str, Features] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("several: expected at least one input")
        if not self.made:
            self.made = {
                name: FEATURES[words["features"]](**words.get("options", {})) for name, words in self.parts.items()
            }

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        return tuple(dict.fromkeys(name for features in self.made.values() for name in features.inputs))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of one event of each input."""
        return {name: tuple(features.shape) for name, features in self.made.items()}  # type: ignore[attr-defined]

    def fit(self, columns: Columns, weight: NDArray[Any] | None = None) -> Self:
        """Fit each of them."""
        for features in self.made.values():
            features.fit(columns, weight)
        return self

    def transform(self, columns: Columns) -> NDArray[np.float32]:
        """All inputs flattened, float32 of shape (event, all); errors are those of the parts."""
        arrays = [features.transform(columns) for features in self.made.values()]
        return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Options and learnt scales of each."""
        return {"features": "several", "parts": {name: features.to_json() for name, features in self.made.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The same transform again."""
        return cls(content["parts"], {name: features_from_json(part) for name, part in content["parts"].items()})
