"""One experiment of the flow ``error-bars``: draw events of a toy, fit every method, judge it against the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.engine import Place, Task
from fivesigma.core.estimator import ESTIMATORS
from fivesigma.evaluate.coverage import LEVELS, gaussian_crps, gaussian_nll, log_loss
from fivesigma.evaluate.efficiency import efficiencies
from fivesigma.evaluate.measurement import CONFIDENCE
from fivesigma.evaluate.metrics import area_under_curve
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.flows.known_truth import (
    ClassEvents,
    ResponseEvents,
    at_distance,
    draw_classes,
    draw_responses,
    response,
    signal_probability,
)

FAR_EVENTS = 500
"""Points at each distance from the training data."""

FloatArray = NDArray[np.float64]


class MethodWords(BaseModel):
    """One method of a study: an estimator with error bars."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimator: str = Field(description="a name that `fivesigma studies estimators` lists")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the estimator")


@dataclass(frozen=True)
class ExperimentResult:
    """What one experiment found."""

    task: str
    metrics: Mapping[str, Mapping[str, float]]  # method → metric → value
    curves: Mapping[str, Mapping[str, list[float]]]  # method → curve → points


@dataclass(frozen=True)
class ErrorBarExperiment(Task[ExperimentResult]):
    """See the module; the same fields give the same result, but for what it costs."""

    task: str
    number: int
    seed: int
    train_events: int
    test_events: int
    distances: tuple[float, ...]
    methods: tuple[tuple[str, MethodWords], ...]

    @property
    def place(self) -> Place:
        """What it is about."""
        return Place(f"{self.task} experiment {self.number + 1}")

    def run(self) -> ExperimentResult:
        """Draw, fit, judge."""
        import fivesigma.learn  # noqa: F401 fills the registry; here, so that reading a study does not wait for torch

        train_seed, test_seed, fit_seed, far_seed = (
            int(s) for s in np.random.SeedSequence([self.seed, self.number]).generate_state(4)
        )
        metrics: dict[str, dict[str, float]] = {}
        curves: dict[str, dict[str, list[float]]] = {}
        draw = draw_classes if self.task == "classification" else draw_responses
        train, test = draw(self.train_events, train_seed), draw(self.test_events, test_seed)
        far = [at_distance(train.X, distance, FAR_EVENTS, far_seed) for distance in self.distances]
        for name, words in self.methods:
            self._warm_up(words)
            model = ESTIMATORS[words.estimator](**{"seed": fit_seed, **words.options})
            started = time.process_time()
            model.fit(train.X, train.y)
            fitted = time.process_time()
            draws = model.predict_draws(test.X)
            predicted = time.process_time()
            judged = _judge_classes(draws, test) if isinstance(test, ClassEvents) else _judge_response(draws, test)
            metrics[name], curves[name] = judged
            metrics[name] |= {
                "parameters": float(model.n_parameters),
                "training_cpu_seconds": fitted - started,
                "microseconds_per_event": (predicted - fitted) / len(test.X) * 1e6,
            }
            curves[name] |= self._far_away(model, far)
        return ExperimentResult(self.task, metrics, curves)

    def _warm_up(self, words: MethodWords) -> None:
        """Imports and first calls of torch are no cost of a method."""
        draw = draw_classes if self.task == "classification" else draw_responses
        few = draw(100, 0)
        model = ESTIMATORS[words.estimator](**{**words.options, "epochs": 1})
        model.fit(few.X, few.y).predict_draws(few.X)

    def _far_away(self, model: Any, far: list[FloatArray]) -> dict[str, list[float]]:
        """Width and coverage of the error bars, of the probability or the mean, at each distance."""
        widths, covered = [], []
        for X in far:
            draws = model.predict_draws(X)
            if self.task == "classification":
                limits, truth = draws.interval(CONFIDENCE), signal_probability(X)
            else:
                limits, truth = draws.interval(CONFIDENCE, of="mean"), response(X)
            widths.append(float((limits[:, 1] - limits[:, 0]).mean()))
            covered.append(_covered(limits, truth))
        return {"distance": list(self.distances), "width_at_distance": widths, "covered_at_distance": covered}


def _judge_classes(draws: Any, test: ClassEvents) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Against the known probability: the loss expected over labels, not of one draw of them."""
    probability = draws.mean()
    excess = log_loss(probability, test.truth) - log_loss(test.truth, test.truth)
    metrics = {
        "auc": area_under_curve(efficiencies(scored_events(probability, test.y))),
        "log_loss": float(log_loss(probability, test.y).mean()),
        "divergence_from_truth": float(excess.mean()),
        **_coverages("", draws.interval, test.truth),
        "epistemic": float(draws.uncertainty().epistemic.mean()),
    }
    return metrics, _coverage_curve(draws.interval, test.truth)


def _judge_response(draws: Any, test: ResponseEvents) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Intervals of the target against the target, those of the mean against the known mean."""
    mean, uncertainty = draws.mean(), draws.uncertainty()

    def of_mean(level: float) -> FloatArray:
        return np.asarray(draws.interval(level, of="mean"))

    best = gaussian_nll(test.mean, test.noise, test.y)
    metrics = {
        "nll": float(gaussian_nll(mean, uncertainty.total, test.y).mean()),
        "nll_above_truth": float((gaussian_nll(mean, uncertainty.total, test.y) - best).mean()),
        "crps": float(gaussian_crps(mean, uncertainty.total, test.y).mean()),
        "rms_error_of_mean": float(np.sqrt(np.mean((mean - test.mean) ** 2))),
        **_coverages("", draws.interval, test.y),
        **_coverages("of_mean_", of_mean, test.mean),
        "epistemic": float(uncertainty.epistemic.mean()),
        "aleatoric": float(uncertainty.aleatoric.mean()),
        "true_noise": float(test.noise.mean()),
    }
    target, of_means = _coverage_curve(draws.interval, test.y), _coverage_curve(of_mean, test.mean)
    return metrics, target | {"covered_of_mean": of_means["covered"]}


def _coverages(prefix: str, interval: Any, truth: FloatArray) -> dict[str, float]:
    found = {}
    for name, level in (("68", CONFIDENCE), ("95", 0.95)):
        limits = interval(level)
        found[f"coverage_{prefix}{name}"] = _covered(limits, truth)
        found[f"width_{prefix}{name}"] = float((limits[:, 1] - limits[:, 0]).mean())
    return found


def _coverage_curve(interval: Any, truth: FloatArray) -> dict[str, list[float]]:
    return {"level": list(LEVELS), "covered": [_covered(interval(level), truth) for level in LEVELS]}


def _covered(limits: FloatArray, truth: FloatArray) -> float:
    return float(((limits[:, 0] <= truth) & (truth <= limits[:, 1])).mean())
