"""What a learner is told at fit only, beside inputs, labels and weights: nuisances, the domain, and whom to learn from.

The columns are kept as observers: no model sees them when it predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.dataset import Dataset
from fivesigma.features.contract import flat_column
from fivesigma.read import Expression


@dataclass(frozen=True)
class Conditions:
    """Of all events of a dataset.

    ``nuisance`` float64 of shape (event, nuisance); ``domain`` int8 of shape (event,), 0 source (labelled), 1 target
    (its labels are ignored); ``learnt_from`` bool of shape (event,); None: not asked for.
    """

    nuisance: NDArray[np.float64] | None = None
    domain: NDArray[np.int8] | None = None
    learnt_from: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, dataset: Dataset, nuisances: Sequence[str], domain: str | None, train_on: str | None) -> Conditions:
        """The columns that a model asks for, checked.

        Raises
        ------
        FeatureError
            if a nuisance is not known for some events, or a domain is not 0 or 1: naming the column and the entries.
        ConfigError
            if no event is left to learn from.
        """
        columns = dataset.columns
        learnt_from = None
        if train_on is not None:
            expression = Expression(train_on)
            learnt_from = np.asarray(expression.evaluate({n: dataset.column(n) for n in expression.columns}), np.bool_)
            if not learnt_from.any():
                raise ConfigError(f"`train_on: {train_on}` leaves none of {len(dataset):,} events to learn from")
        return cls(
            np.stack([flat_column(columns, name) for name in nuisances], axis=1) if nuisances else None,
            None if domain is None else _domain(flat_column(columns, domain), domain),
            learnt_from,
        )

    def trained(self, fold: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of a fold's events, those that are learnt from."""
        return fold if self.learnt_from is None else fold & self.learnt_from

    def validated(self, fold: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of a fold's events, those whose labels may choose the best epoch: learnt from, and not of the target."""
        trained = self.trained(fold)
        return trained if self.domain is None else trained & (self.domain == 0)

    def labels(self, y: NDArray[np.integer]) -> NDArray[np.integer]:
        """Labels as a learner may see them: those of the target are blanked."""
        return y if self.domain is None else np.where(self.domain == 1, np.zeros_like(y), y)

    def arguments(self, events: NDArray[np.bool_]) -> dict[str, NDArray[np.float64] | NDArray[np.int8]]:
        """Keyword arguments of ``fit`` for some events."""
        given = {"nuisance": self.nuisance, "domain": self.domain}
        return {name: values[events] for name, values in given.items() if values is not None}


def require_known(dataset: Dataset, nuisances: Sequence[str], missing: Sequence[float]) -> None:
    """Refuse nuisances that are not known for every event.

    Raises
    ------
    FeatureError
        if a value is not finite, or one of those declared as missing: naming the column and the entries.
    """
    for name in nuisances:
        values = flat_column(dataset.columns, name)
        unknown = np.isin(values, missing)
        if unknown.any():
            entry = int(np.argmax(unknown))
            raise FeatureError(
                f"nuisance {name!r}: {values[entry]:g}, declared as missing, in entry {entry}, {unknown.sum():,} such values "
                "in all; select the events that have it, or set `missing_policy: drop`"
            )


def _domain(values: NDArray[np.float64], column: str) -> NDArray[np.int8]:
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        entry = int(np.argmax(wrong))
        raise FeatureError(
            f"domain {column!r}: expected 0 (source, labelled) or 1 (target), got {values[entry]:g} in entry {entry}, "
            f"{wrong.sum():,} such values in all"
        )
    return values.astype(np.int8)
