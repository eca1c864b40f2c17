"""What one model is asked about systematics, and what it answers: significance, variations, nuisances, flatness, mass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.evaluate.bootstrap import N_REPLICAS
from fivesigma.evaluate.calibration import Calibration, calibration
from fivesigma.evaluate.calibrator import calibrate_out_of_fold
from fivesigma.evaluate.dependence import N_PERMUTATIONS, Dependence, dependence
from fivesigma.evaluate.flatness import FLATNESS, Flatness, flatness
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.robustness import WORKING_POINTS, Robustness, Variation, robustness
from fivesigma.evaluate.scored_events import ScoredEvents
from fivesigma.evaluate.sculpting import Sculpting, sculpting
from fivesigma.evaluate.significance import SignificanceScan, significance_scan
from fivesigma.evaluate.working_points import Expectation

CLASSES = ("background", "signal")

FLATNESS_BINS = {1: 20, 2: 8}
"""Bins a variable by their number; four for three variables and more."""


@dataclass(frozen=True)
class SystematicQuestions:
    """What to ask of every model. Columns are of shape (event,)."""

    significance: str = "asimov"
    variations: Mapping[str, Mapping[str, Mapping[str, Variation]]] = field(default_factory=dict)  # by model first
    nuisances: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    flatness: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # together
    sculpting: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    working_points: Sequence[float] = WORKING_POINTS
    calibrate: str | None = None
    fold: NDArray[np.integer[Any]] | None = None  # needed to calibrate


@dataclass(frozen=True)
class SystematicAnswers:
    """What came out for one model."""

    significance: SignificanceScan
    robustness: Robustness
    dependence: Mapping[str, Mapping[str, Dependence]]  # nuisance → class
    flatness: Flatness | None
    sculpting: Mapping[str, Sculpting]
    calibrated: Calibration | None

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "significance": self.significance.to_json(),
            "robustness": self.robustness.to_json(),
            "dependence": {
                nuisance: {name: answer.to_json() for name, answer in by_class.items()}
                for nuisance, by_class in self.dependence.items()
            },
            "flatness": None if self.flatness is None else self.flatness.to_json(),
            "sculpting": {name: answer.to_json() for name, answer in self.sculpting.items()},
            "calibrated": None if self.calibrated is None else self.calibrated.to_json(),
        }

    def measurements(self) -> dict[str, Measurement]:
        """Every number by its name in results files."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Measurement]]:
        kind = self.significance.kind.replace("-", "_")
        yield f"{kind}_significance", self.significance.at_chosen_cut
        yield f"{kind}_significance_largest", self.significance.largest
        yield "binned_significance", self.significance.binned
        for shift in self.robustness.shifts:
            which = f"{shift.nuisance}_{shift.direction}"
            yield f"auc_shift_{which}", shift.delta_auc
            for change in shift.changes:
                at = f"at_{change.target:g}_{which}"
                yield f"signal_efficiency_shift_{at}", change.signal
                yield f"background_efficiency_shift_{at}", change.background
                yield f"background_efficiency_ratio_{at}", change.background_ratio
        for nuisance, by_class in self.dependence.items():
            for name, answer in by_class.items():
                for measure, found in answer.measures.items():
                    yield f"{measure}_of_{nuisance}_in_{name}", found.value
                    yield f"{measure}_p_value_of_{nuisance}_in_{name}", p_value_measurement(found.p_value)
        if self.flatness is not None:
            for measure in FLATNESS:
                yield f"flatness_{measure}_in_background", getattr(self.flatness, measure)
        for variable, sculpted in self.sculpting.items():
            for point in sculpted.working_points:
                yield f"jensen_shannon_of_{variable}_at_{point.signal_efficiency:g}", point.divergence
        if self.calibrated is not None:
            yield "expected_calibration_error_calibrated", self.calibrated.expected_calibration_error
            yield "brier_calibrated", self.calibrated.brier


def p_value_measurement(p_value: float, permutations: int = N_PERMUTATIONS) -> Measurement:
    """A permutation p-value with the binomial uncertainty of finitely many permutations."""
    if np.isnan(p_value):
        return Measurement(p_value, p_value, "not defined, as the measure")
    error = float(np.sqrt(p_value * (1 - p_value) / permutations))
    return Measurement(p_value, error, f"{permutations} permutations, binomial")


def answer(
    model: str,
    events: ScoredEvents,
    questions: SystematicQuestions,
    expectation: Expectation,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> SystematicAnswers:
    """Ask one model, by its name in ``questions.variations``."""
    score, y, weight, event = events.score, events.signal, events.weight, events.event
    options: dict[str, Any] = {"n_replicas": n_replicas, "seed": seed}
    masks = {name: y == bool(c) for c, name in enumerate(CLASSES)}
    b = masks["background"]
    calibrated = None
    if questions.calibrate is not None and questions.fold is not None:
        probability, _ = calibrate_out_of_fold(questions.calibrate, score, y, questions.fold, weight)
        calibrated = calibration(np.clip(probability, 0.0, 1.0), y, weight, event, **options)
    return SystematicAnswers(
        significance=significance_scan(
            score, y, weight, event, expectation=expectation, kind=questions.significance, **options
        ),
        robustness=robustness(
            events, questions.variations.get(model, {}), signal_efficiency=questions.working_points, **options
        ),
        dependence={
            nuisance: {
                name: dependence(score[mask], np.asarray(z)[mask], weight[mask], event[mask], name=nuisance, **options)
                for name, mask in masks.items()
            }
            for nuisance, z in questions.nuisances.items()
        },
        flatness=flatness(
            score[b],
            {name: np.asarray(x)[b] for name, x in questions.flatness.items()},
            weight[b],
            event[b],
            bins=FLATNESS_BINS.get(len(questions.flatness), 4),
            **options,
        )
        if questions.flatness
        else None,
        sculpting={
            variable: sculpting(
                score, y, weight, event, values=x, variable=variable,
                signal_efficiency=questions.working_points, **options,
            )
            for variable, x in questions.sculpting.items()
        },
        calibrated=calibrated,
    )  # fmt: skip
