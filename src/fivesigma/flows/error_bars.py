"""The flow ``error-bars``: learners with error bars on toys of known truth, judged by coverage, gain and cost.

Every experiment draws its own training and test events; all methods of a toy see the same ones. A number is the mean
over the experiments, its uncertainty their standard deviation over √experiments: the spread of training events, first
weights and test events together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from fivesigma.core.engine import Engine, InProcess
from fivesigma.core.processes import Processes
from fivesigma.core.progress import progress
from fivesigma.core.provenance import provenance
from fivesigma.core.registry import unknown_name
from fivesigma.core.run_directory import RunDirectory
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.results import ResultRow, results_rows
from fivesigma.flows.error_bars_report import GAINS, write_error_bars_report
from fivesigma.flows.experiment import ErrorBarExperiment, ExperimentResult, MethodWords
from fivesigma.flows.flow import FlowResult, FlowWords
from fivesigma.studies.definition import accept_options


class ErrorBarsWords(FlowWords):
    """What a study of this flow says."""

    experiments: int = Field(default=8, ge=3, description="independent draws of training and test events")
    train_events: int = Field(default=2000, ge=20, description="training events of each experiment")
    test_events: int = Field(default=10000, ge=100, description="test events of each experiment")
    distances: tuple[float, ...] = Field(
        default=(0.5, 1, 2, 3, 4, 6, 8), description="distances from the training data, in their standard deviations"
    )
    baseline: str = Field(description="the method, of both kinds, that all others are compared with")
    classifiers: dict[str, MethodWords] = Field(description="name and estimator of each method for classes")
    regressors: dict[str, MethodWords] = Field(description="name and estimator of each method for a target")

    @model_validator(mode="after")
    def _names_are_known(self) -> ErrorBarsWords:
        for kind, methods in (("classifier", self.classifiers), ("regressor", self.regressors)):
            if self.baseline not in methods:
                raise ValueError(f"baseline: {unknown_name(kind, self.baseline, methods)}")
        return self


class ErrorBarsFlow:
    """Draw, fit, judge; see the module."""

    words = ErrorBarsWords

    def run(self, words: ErrorBarsWords, run: RunDirectory, *, workers: int) -> FlowResult:
        """Do all experiments and write the report.

        Raises
        ------
        UnknownNameError
            an estimator, or an option of one, that is not known.
        FivesigmaError
            whatever a learner has to say.
        """
        _check_methods(words)
        found = {
            "classification": _experiments(words, "classification", words.classifiers, workers),
            "regression": _experiments(words, "regression", words.regressors, workers),
        }
        measured = {task: _measurements(results, words.baseline) for task, results in found.items()}
        differences = [row for task, results in found.items() for row in _differences(task, results, words.baseline)]
        curves = {task: _mean_curves(results) for task, results in found.items()}
        made = provenance(seed=words.seed, command=None)
        report = write_error_bars_report(run.path / "report.html", words, measured, differences, curves, made)
        return FlowResult(
            sample={
                "generated": "fivesigma.flows.known_truth",
                "experiments": words.experiments,
                "train_events": words.train_events,
                "test_events": words.test_events,
            },
            results=[row for task, methods in measured.items() for row in _rows(task, methods)],
            differences=differences,
            report=report,
            more={"curves": curves},
        )


def _check_methods(words: ErrorBarsWords) -> None:
    from fivesigma.learn import ESTIMATORS  # here, so that checking a study's words does not wait for torch

    for kind, methods in (("classifiers", words.classifiers), ("regressors", words.regressors)):
        for name, method in methods.items():
            accept_options(kind, name, ESTIMATORS[method.estimator], method.options)


def _experiments(
    words: ErrorBarsWords, task: str, methods: Mapping[str, MethodWords], workers: int
) -> list[ExperimentResult]:
    """All experiments of one toy, in their order."""
    tasks = [
        ErrorBarExperiment(
            task=task,
            number=number,
            seed=words.seed,
            train_events=words.train_events,
            test_events=words.test_events,
            distances=tuple(words.distances),
            methods=tuple(methods.items()),
        )
        for number in range(words.experiments)
    ]
    engine: Engine = InProcess() if workers == 1 else Processes(workers, deadline_s=None)
    results: dict[int, ExperimentResult] = {}
    with progress(len(tasks), f"{task} experiments", unit="experiments") as advance:
        for outcome in engine.run(tasks):
            results[tasks.index(outcome.task)] = outcome.result()  # type: ignore[arg-type]
            advance(1)
    return [results[number] for number in range(words.experiments)]


Methods = Mapping[str, Mapping[str, Measurement]]


def _measurements(results: Sequence[ExperimentResult], baseline: str) -> Methods:
    """Method → metric → mean over experiments, the gain per CPU-second among them."""
    measured: dict[str, dict[str, Measurement]] = {}
    for method, metrics in results[0].metrics.items():
        measured[method] = {metric: _mean([result.metrics[method][metric] for result in results]) for metric in metrics}
        if method != baseline:
            loss = GAINS[results[0].task]
            gains = [
                (result.metrics[baseline][loss] - result.metrics[method][loss])
                / result.metrics[method]["training_cpu_seconds"]
                for result in results
            ]
            measured[method]["gain_per_cpu_second"] = _mean(gains)
    return measured


def _mean(values: Sequence[float]) -> Measurement:
    n = len(values)
    uncertainty = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Measurement(float(np.mean(values)), uncertainty, f"mean of {n} experiments; standard deviation / √{n}")


def _differences(task: str, results: Sequence[ExperimentResult], baseline: str) -> list[dict[str, Any]]:
    """Every method minus the baseline, paired: the same training and test events in each experiment."""
    rows = []
    for method, metrics in results[0].metrics.items():
        if method == baseline:
            continue
        for metric in metrics:
            difference = _mean([r.metrics[method][metric] - r.metrics[baseline][metric] for r in results])
            known = difference.uncertainty > 0
            rows.append(
                {
                    "first": _model(task, method),
                    "second": _model(task, baseline),
                    "metric": metric,
                    **difference.to_json(),
                    "n_sigma": difference.value / difference.uncertainty if known else None,
                }
            )
    return rows


def _mean_curves(results: Sequence[ExperimentResult]) -> dict[str, dict[str, Any]]:
    """Method → curve → mean and uncertainty of each point."""
    n = len(results)
    return {
        method: {
            curve: {
                "mean": np.mean([r.curves[method][curve] for r in results], axis=0).tolist(),
                "uncertainty": (np.std([r.curves[method][curve] for r in results], axis=0, ddof=1) / n**0.5).tolist(),
            }
            for curve in curves
        }
        for method, curves in results[0].curves.items()
    }


def _rows(task: str, methods: Methods) -> list[ResultRow]:
    return [row for method, metrics in methods.items() for row in results_rows(_model(task, method), metrics)]


def _model(task: str, method: str) -> str:
    return f"{method} ({task})"
