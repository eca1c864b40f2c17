"""Nuisances as an adversary learns them: continuous ones standardised, discrete ones numbered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fivesigma.models.training_inputs import InvalidInputsError

MOST_CATEGORIES = 10
"""A nuisance of whole numbers with at most so many different values is discrete."""


@dataclass(frozen=True)
class Nuisances:
    """``tensor`` float32 (event, nuisance), ``categories`` the number of values of each, 0 for a continuous one."""

    tensor: Tensor
    categories: tuple[int, ...]

    @classmethod
    def of(cls, values: NDArray[np.float64], events: int) -> Nuisances:
        """From (event, nuisance).

        Raises
        ------
        InvalidInputsError
            for another shape, values that are not finite, or a nuisance that has one value only.
        """
        if values.ndim != 2 or len(values) != events or values.shape[1] == 0:
            raise InvalidInputsError(f"expected nuisances of shape ({events}, nuisance), got {values.shape}")
        columns, categories = [], []
        for j, z in enumerate(values.T):
            if not (finite := np.isfinite(z)).all():
                entry = int(np.argmin(finite))
                raise InvalidInputsError(
                    f"nuisance {j}: {z[entry]} in entry {entry}, {(~finite).sum():,} of {events:,} not finite"
                )
            distinct, number = np.unique(z, return_inverse=True)
            if len(distinct) < 2:
                raise InvalidInputsError(f"nuisance {j} is {distinct[0]:g} in all events: nothing to be independent of")
            discrete = len(distinct) <= MOST_CATEGORIES and (distinct == np.round(distinct)).all()
            categories.append(len(distinct) if discrete else 0)
            columns.append(number if discrete else (z - z.mean()) / z.std())
        return cls(torch.from_numpy(np.stack(columns, axis=1).astype(np.float32)), tuple(categories))

    def entropy(self, weight: NDArray[np.float64], on: NDArray[np.bool_]) -> float:
        """Upper bound of the differential entropy H(Z) in nats, of the events ``on``: what L_r is at independence.

        Σ over nuisances, as if independent; ½ log 2πeσ², the largest for its variance, of a continuous one.
        """
        total, w = 0.0, np.abs(weight[on])
        for z, n in zip(self.tensor.numpy()[on].T.astype(np.float64), self.categories, strict=True):
            if n:
                p = np.bincount(z.astype(np.intp), w, n) / w.sum()
                total -= float(np.sum(p[p > 0] * np.log(p[p > 0])))
            else:
                variance = np.average((z - np.average(z, weights=w)) ** 2, weights=w)
                total += float(0.5 * np.log(2 * np.pi * math.e * max(variance, 1e-12)))
        return total
