"""What every learner shares: options by scikit-learn's rules, and a folder on disk that executes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from fivesigma.models.model_folder import Arrays, read_model, write_model


class SavedEstimator(BaseEstimator):
    """A scikit-learn estimator that ``save`` writes and ``load`` reads.

    ``accepts_negative_weight`` says whether ``fit`` takes signed weights. ``fitted_arrays`` names the attributes, all
    of them arrays, that make a fitted learner; ``save`` and ``load`` write exactly these beside the options.
    """

    estimator_name: ClassVar[str]
    accepts_negative_weight: ClassVar[bool] = True
    fitted_arrays: ClassVar[tuple[str, ...]] = ()

    n_features_in_: int

    def save(self, folder: Path) -> None:
        """Write options and fitted arrays into ``folder``."""
        arrays: Arrays = {name: np.asarray(getattr(self, name)) for name in self.fitted_arrays}
        write_model(folder, self.estimator_name, self._description(), arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content, arrays = read_model(folder, cls.estimator_name)
        model = cls._described(content)
        for name in cls.fitted_arrays:
            setattr(model, name, arrays[name])
        return model

    def _description(self) -> dict[str, Any]:
        """Options, and what else than arrays was fitted."""
        options = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        return {"options": options, "n_features_in": int(self.n_features_in_)}

    @classmethod
    def _described(cls, content: dict[str, Any]) -> Self:
        model = cls(**content["options"])
        model.n_features_in_ = content["n_features_in"]
        return model


def _plain(value: Any) -> Any:
    """An option as JSON holds it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value
