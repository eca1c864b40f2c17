"""Calibrators: a monotone map from a model's score to a probability, by isotonic regression or Platt's sigmoid."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import ConfigError, FeatureError, ModelError, WeightError
from fivesigma.core.integrity import write_json
from fivesigma.dataset import apply_weight_policy
from fivesigma.evaluate.scored_events import FloatVector, finite_vector, scored_events

CalibratorKind = Literal["isotonic", "platt"]

LOGIT_CLIP = 1e-6
"""Scores are clipped to [1e-6, 1 − 1e-6] before Platt's sigmoid acts on their logit."""

WEAK_PENALTY = 1e6
"""Inverse strength of the logistic regression's L2 penalty: practically none."""


@dataclass(frozen=True)
class Calibrator:
    """A fitted map of scores in 0…1 to probabilities; saved as JSON.

    ``isotonic``: linear between ``knots`` (score) and ``values`` (probability), constant beyond them; any monotone
    distortion, needs thousands of events. ``platt``: expit(slope · logit(score) + offset), two numbers (J. Platt, 1999,
    on the logit as in Kull et al., AISTATS 2017: the identity is among its maps).
    """

    kind: CalibratorKind
    knots: tuple[float, ...] = field(default=())
    values: tuple[float, ...] = field(default=())
    slope: float = 1.0
    offset: float = 0.0

    @classmethod
    def fit(cls, kind: str, score: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> Self:
        """Fit on events that the model was not trained on.

        Raises
        ------
        WeightError
            negative weights: neither fit is defined for them (pooling averages, a likelihood). Calibrate with
            ``absolute-rescaled`` or ``pair-cancel`` weights, and measure with the signed ones.
        """
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression

        events = scored_events(_probability(score), y, weight)
        if (events.weight < 0).any():
            raise WeightError(
                f"{int((events.weight < 0).sum())} of {len(events)} weights are negative, and a {kind} calibration is not "
                "defined for them; use the weights of the policy absolute-rescaled, pair-cancel or drop-negative"
            )
        if kind == "isotonic":
            fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            fitted.fit(events.score, events.signal.astype(np.float64), sample_weight=events.weight)
            return cls("isotonic", tuple(map(float, fitted.X_thresholds_)), tuple(map(float, fitted.y_thresholds_)))
        if kind == "platt":
            regression = LogisticRegression(C=WEAK_PENALTY)
            weights = events.weight * (len(events) / events.weight.sum())  # the penalty must not depend on their unit
            regression.fit(_logit(events.score)[:, None], events.signal, sample_weight=weights)
            return cls("platt", slope=float(regression.coef_[0, 0]), offset=float(regression.intercept_[0]))
        raise ConfigError(f"calibration: expected isotonic or platt, got {kind!r}")

    def apply(self, score: ArrayLike) -> FloatVector:
        """Probabilities (row,)."""
        p = _probability(score)
        if self.kind == "isotonic":
            return np.interp(p, self.knots, self.values)
        return np.asarray(1 / (1 + np.exp(-(self.slope * _logit(p) + self.offset))))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote; probabilities are identical."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")), str(path))

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        if self.kind == "isotonic":
            return {"kind": self.kind, "knots": list(self.knots), "values": list(self.values)}
        return {"kind": self.kind, "slope": self.slope, "offset": self.offset}

    @classmethod
    def from_json(cls, content: Any, source: str = "calibrator") -> Self:
        """Build from ``to_json``'s content, checked."""
        match content:
            case {"kind": "isotonic", "knots": [*knots], "values": [*values]} if len(knots) == len(values) > 0:
                if all(map(_is_finite, [*knots, *values])) and sorted(knots) == knots and sorted(values) == values:
                    return cls("isotonic", tuple(knots), tuple(values))
            case {"kind": "platt", "slope": slope, "offset": offset} if _is_finite(slope) and _is_finite(offset):
                return cls("platt", slope=slope, offset=offset)
        raise ModelError(f"{source}: expected an isotonic calibrator with rising knots and values, or slope and offset")


def calibrate_out_of_fold(
    kind: str, score: ArrayLike, y: ArrayLike, fold: NDArray[np.integer], weight: ArrayLike | None = None
) -> tuple[FloatVector, tuple[Calibrator, ...]]:
    """Calibrate out-of-fold scores (row,) without using an event for its own map.

    The events of fold k get the map fitted on all other folds' events; returns the probabilities (row,), and the maps
    by fold. Scores of different folds are by different models, whose distortions are taken to be alike. With negative
    weights the maps are fitted under the policy ``absolute-rescaled``: absolute weights, each class with its signed sum.
    """
    s = _probability(score)
    labels, folds = np.asarray(y), np.asarray(fold)
    if folds.shape != s.shape:
        raise FeatureError(f"fold: expected shape {s.shape}, got {folds.shape}")
    weights = np.ones(len(s)) if weight is None else np.asarray(weight, dtype=np.float64)
    calibrated, maps = np.empty(len(s)), []
    for k in np.unique(folds):
        other = folds != k
        positive = apply_weight_policy("absolute-rescaled", labels[other], weights[other], s[other, None]).weight
        fitted = Calibrator.fit(kind, s[other], labels[other], positive)
        calibrated[~other] = fitted.apply(s[~other])
        maps.append(fitted)
    return calibrated, tuple(maps)


def _probability(score: ArrayLike) -> FloatVector:
    p = finite_vector("score", score)
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise FeatureError(f"score: expected 0…1, got {p.min():g} to {p.max():g}")
    return p


def _logit(probability: FloatVector) -> FloatVector:
    p = np.clip(probability, LOGIT_CLIP, 1 - LOGIT_CLIP)
    return np.asarray(np.log(p / (1 - p)))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
