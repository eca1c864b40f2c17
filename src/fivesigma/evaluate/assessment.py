"""Everything that is measured of a study's models, on the same events: what the report shows and ``metrics.json`` keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.progress import progress
from fivesigma.evaluate.binned import BinnedRejection, rejection_in_bins
from fivesigma.evaluate.bootstrap import N_REPLICAS
from fivesigma.evaluate.calibration import Calibration, calibration
from fivesigma.evaluate.comparison import Comparison, Difference, compare
from fivesigma.evaluate.metrics import DEFAULT_METRICS
from fivesigma.evaluate.overtraining import Overtraining, overtraining_check
from fivesigma.evaluate.roc import RocCurve, roc_curve
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.evaluate.significance import significance_differences
from fivesigma.evaluate.single_variable import VariablePower, single_variable_power
from fivesigma.evaluate.systematics import SystematicAnswers, SystematicQuestions, answer
from fivesigma.evaluate.working_points import Expectation, OptimalCut, WorkingPoint, optimal_cut, working_points

BINNED_SIGNAL_EFFICIENCY = 0.5
"""Signal efficiency at which rejection is shown in bins of a variable."""


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """One model's scores: out of fold for all events, and of one fold's model for the events it trained and tested on."""

    score: NDArray[Any]  # (event,) out of fold
    one_fold: NDArray[Any]  # (event,) by the model of one fold
    train: NDArray[np.bool_]  # (event,) what that model was trained on
    test: NDArray[np.bool_]  # (event,) what it has never seen


@dataclass(frozen=True, eq=False)
class Questions:
    """What to measure, beside the ROC curve of each model."""

    metrics: Sequence[str] = DEFAULT_METRICS
    bins: Mapping[str, tuple[NDArray[Any], Sequence[float]]] = field(default_factory=dict)  # variable → values, edges
    restricted: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # description → events inside
    variables: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # judged alone
    expectation: Expectation = field(default_factory=lambda: Expectation(100.0, 1000.0, 0.1))
    systematics: SystematicQuestions = field(default_factory=SystematicQuestions)
    replicas: int = N_REPLICAS
    seed: int = 0


@dataclass(frozen=True)
class ModelAssessment:
    """One model."""

    roc: RocCurve
    working_points: tuple[WorkingPoint, ...]
    optimal_cut: OptimalCut
    overtraining: Overtraining
    calibration: Calibration
    bins: Mapping[str, BinnedRejection]  # by variable
    systematics: SystematicAnswers


@dataclass(frozen=True)
class Assessment:
    """All models, inclusively and in restricted phase spaces, and each variable alone."""

    comparison: Comparison
    restricted: Mapping[str, Comparison]
    models: Mapping[str, ModelAssessment]
    variables: tuple[VariablePower, ...]
    significance_differences: tuple[Difference, ...]  # of all pairs of models, paired

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON; ROC curves and histograms are in the data of the figures."""
        return {
            "comparison": self.comparison.to_json(),
            "restricted": {name: comparison.to_json() for name, comparison in self.restricted.items()},
            "variables": [power.to_json() for power in self.variables],
            "models": {
                name: {
                    "optimal_cut": model.optimal_cut.to_json(),
                    "calibration": model.calibration.to_json(),
                    "systematics": model.systematics.to_json(),
                    "bins": {variable: binned.to_json() for variable, binned in model.bins.items()},
                }
                for name, model in self.models.items()
            },
        }


def assess(
    models: Mapping[str, ScoredModel],
    y: NDArray[Any],
    weight: NDArray[Any],
    event: NDArray[np.uint64],
    questions: Questions,
) -> Assessment:
    """Measure all models on the same events with the same bootstrap replicas.

    Parameters
    ----------
    models : name → scores.
    y, weight, event : (event,) labels, signed weights, event hashes; rows of one event share its hash.
    questions : what to measure.
    """
    q = questions
    scores = {name: model.score for name, model in models.items()}
    metrics = tuple(q.metrics)
    with progress(len(models) + len(q.restricted) + 2, "evaluating", unit="steps") as advance:
        comparison = compare(scores, y, weight, event, metrics, q.replicas, q.seed)
        advance(1)
        restricted = {}
        for name, mask in q.restricted.items():
            restricted[name] = compare(
                scores, y, weight, event, metrics, q.replicas, q.seed, mask=mask, description=name
            )
            advance(1)
        assessed = {}
        for name, model in models.items():
            assessed[name] = _assess_one(name, model, y, weight, event, q)
            advance(1)
        variables = single_variable_power(
            q.variables, y, weight, event, metrics=metrics, n_replicas=q.replicas, seed=q.seed
        )
        advance(1)
    scans = {name: model.systematics.significance for name, model in assessed.items()}
    return Assessment(comparison, restricted, assessed, variables, significance_differences(scans))


def _assess_one(
    name: str, model: ScoredModel, y: NDArray[Any], weight: NDArray[Any], event: NDArray[np.uint64], q: Questions
) -> ModelAssessment:
    score, replicas, seed = model.score, q.replicas, q.seed
    return ModelAssessment(
        roc=roc_curve(score, y, weight, event, n_replicas=replicas, seed=seed),
        working_points=working_points(score, y, weight, expectation=q.expectation),
        optimal_cut=optimal_cut(score, y, weight, event, expectation=q.expectation, n_replicas=replicas, seed=seed),
        overtraining=overtraining_check(
            model.one_fold[model.train],
            y[model.train],
            model.one_fold[model.test],
            y[model.test],
            weight[model.train],
            weight[model.test],
        ),
        calibration=calibration(score, y, weight, event, n_replicas=replicas, seed=seed),
        bins={
            variable: rejection_in_bins(
                score,
                y,
                weight,
                event,
                values=values,
                edges=edges,
                variable=variable,
                signal_efficiency=BINNED_SIGNAL_EFFICIENCY,
                n_replicas=replicas,
                seed=seed,
            )
            for variable, (values, edges) in q.bins.items()
        },
        systematics=answer(name, scored_events(score, y, weight, event), q.systematics, q.expectation, replicas, seed),
    )
