"""Optimised rectangular cuts: a family of nested boxes, one for every signal efficiency."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.models.binary_classifier import BinaryClassifier, two_columns
from fivesigma.models.monotone_probability import fit_monotone_probability, monotone_probability
from fivesigma.models.training_inputs import prediction_inputs, training_inputs


@ESTIMATORS.register("cuts")
class Cuts(BinaryClassifier):
    """lower < x < upper in every variable, tightened step by step.

    As TMVA's ``MethodCuts`` it maximises the background rejection over signal efficiencies, but by peeling (PRIM:
    Friedman and Fisher, Stat. Comput. 9 (1999) 123) instead of random search: starting from a box around all events,
    each step cuts off, on one side of one variable, the slice with ``peel`` of the remaining signal that takes most
    background with it. Boxes are nested by construction, so the step that removes an event is a score; no random
    numbers are used. Greedy: a box can be beaten by an exhaustive search, on smooth distributions by a few per cent
    of rejection (``tests/models``).

    Parameters
    ----------
    peel
        fraction of the signal in the box that one step cuts off.
    lowest_efficiency
        stop when less than this fraction of the signal is left.

    Signed weights are allowed; a slice counts with the sum of its weights.
    """

    estimator_name = "cuts"
    accepts_negative_weight = True
    fitted_arrays = ("boxes_", "signal_efficiency_", "background_efficiency_", "knots_", "probability_")

    boxes_: NDArray[np.float64]  # (box, variable, 2): lower and upper cut, loosest box first
    signal_efficiency_: NDArray[np.float64]  # (box,)
    background_efficiency_: NDArray[np.float64]  # (box,)
    knots_: NDArray[np.float64]
    probability_: NDArray[np.float64]

    def __init__(self, *, peel: float = 0.02, lowest_efficiency: float = 0.02) -> None:
        self.peel = peel
        self.lowest_efficiency = lowest_efficiency

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on X of shape (event, variable); ``validation`` is not needed.

        Raises
        ------
        ConfigError
            if an option is outside (0, 1).
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        if not (0.0 < self.peel < 1.0 and 0.0 < self.lowest_efficiency < 1.0):
            raise ConfigError(f"peel and lowest_efficiency lie in (0, 1), got {self.peel}, {self.lowest_efficiency}")
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight)
        # normalised classes: the choice of slices does not depend on the cross-sections
        weight = weight / np.where(y == 1, weight[y == 1].sum(), weight[y == 0].sum())
        self.boxes_, self.signal_efficiency_, self.background_efficiency_ = _peel(
            X, y, weight, self.peel, self.lowest_efficiency
        )
        self.knots_, self.probability_ = fit_monotone_probability(self._depth(X), y, weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """A probability in the order of the boxes, shape (event, 2)."""
        return two_columns(
            monotone_probability(self._depth(prediction_inputs(self, X)), self.knots_, self.probability_)
        )

    def box_at(self, signal_efficiency: float) -> NDArray[np.float64]:
        """The tightest box that keeps at least this fraction of the training signal, shape (variable, 2)."""
        last = max(int((self.signal_efficiency_ >= signal_efficiency).sum()) - 1, 0)
        return np.asarray(self.boxes_[last])

    def _depth(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many boxes an event passes, shape (event,): boxes are nested, so sides can be searched one by one."""
        depth = np.full(len(X), len(self.boxes_), dtype=np.intp)
        for variable in range(X.shape[1]):
            lower, upper = self.boxes_[:, variable, 0], self.boxes_[:, variable, 1]
            depth = np.minimum(depth, np.searchsorted(lower, X[:, variable], side="left"))  # lower < x
            depth = np.minimum(depth, np.searchsorted(-upper, -X[:, variable], side="left"))  # x < upper
        return depth.astype(np.float64)


class _Slice(NamedTuple):
    merit: float  # background cut off minus its share if it were spread as the signal
    variable: int
    side: int  # 0: raise the lower cut, 1: lower the upper cut
    cut: float


def _peel(
    X: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64], peel: float, lowest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    box = np.stack([np.full(X.shape[1], -np.inf), np.full(X.shape[1], np.inf)], axis=1)  # (variable, 2)
    boxes, signal, background = [box.copy()], [1.0], [1.0]
    while signal[-1] > lowest and background[-1] > 0:
        slices = [
            found
            for variable in range(X.shape[1])
            for side in (0, 1)
            if (found := _best_slice(X[:, variable], y, weight, variable, side, peel)) is not None
        ]
        if not slices:
            break
        best = max(slices, key=lambda found: round(found.merit, 9))  # equal but for rounding: the first
        box[best.variable, best.side] = best.cut
        inside = X[:, best.variable] > best.cut if best.side == 0 else X[:, best.variable] < best.cut
        X, y, weight = X[inside], y[inside], weight[inside]
        boxes.append(box.copy())
        signal.append(float(weight[y == 1].sum()))
        background.append(float(weight[y == 0].sum()))
    # with signed weights a tighter box can hold more: the envelope keeps efficiencies falling
    return np.stack(boxes), np.minimum.accumulate(signal), np.minimum.accumulate(background)


def _best_slice(
    x: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64], variable: int, side: int, peel: float
) -> _Slice | None:
    """The slice at one side of one variable that holds ``peel`` of the signal left."""
    x = x if side == 0 else -x  # from here on the slice is at small values
    values = x[y == 1]
    if len(values) < 2:
        return None
    total = weight[y == 1].sum()
    order = np.argsort(values)
    cumulative = np.maximum.accumulate(np.cumsum(weight[y == 1][order]))
    # the tolerance keeps cuts the same when weights are rescaled
    position = np.searchsorted(cumulative, peel * total * (1 - 1e-9))
    cut = float(values[order[min(int(position), len(values) - 1)]])
    removed = x <= cut
    if not removed.any() or removed.all():
        return None
    lost = float(weight[removed & (y == 1)].sum())
    rejected = float(weight[removed & (y == 0)].sum())
    left = float(weight[y == 0].sum())
    # per unit of signal lost: ties and thin tails make slices of different size
    merit = (rejected / left) / max(lost / total, peel / 4)
    return _Slice(merit, variable, side, cut if side == 0 else -cut)
