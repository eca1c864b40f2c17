"""The flow ``signed-weights``: what each weight policy does to each learner, on densities that are known.

Every experiment draws its own training and test events; all learners and policies see the same ones. Bias and variance
are those of the signal probability over the experiments, averaged over the plane with the mean of both true densities;
their uncertainties are jackknifed over the experiments. Numbers of single experiments have their standard deviation over
√experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fivesigma.core.engine import Engine, InProcess
from fivesigma.core.processes import Processes
from fivesigma.core.progress import progress
from fivesigma.core.provenance import provenance
from fivesigma.core.run_directory import RunDirectory
from fivesigma.dataset.weight_policy import WeightPolicy
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.results import results_rows
from fivesigma.flows.flow import FlowResult, FlowWords
from fivesigma.flows.signed_experiment import UNSIGNED, Fit, LearnerWords, SignedExperiment, SignedResult
from fivesigma.flows.signed_toy import grid, signal_probability
from fivesigma.flows.signed_weights_report import write_signed_weights_report
from fivesigma.studies.definition import accept_options

FloatArray = NDArray[np.float64]
Measured = dict[Fit, dict[str, Measurement]]

REFERENCE_POLICY = "pair-cancel"
"""What the other policies are compared with: every learner takes its weights."""


class SignedWeightsWords(FlowWords):
    """What a study of this flow says."""

    experiments: int = Field(default=12, ge=3, description="independent draws of training and test events")
    train_events: int = Field(default=2000, ge=50, description="training events of each class and experiment")
    test_events: int = Field(default=10000, ge=100, description="test events of each class and experiment")
    negative_fraction: float = Field(default=0.2, ge=0, lt=0.5, description="share of events with negative weight")
    policies: tuple[WeightPolicy, ...] = Field(
        default=("keep", "pair-cancel", "absolute-rescaled", "drop-negative"), description="weight policies"
    )
    learners: dict[str, LearnerWords] = Field(description="name and estimator of each learner")


class SignedWeightsFlow:
    """Draw, fit, judge; see the module."""

    words = SignedWeightsWords

    def run(self, words: SignedWeightsWords, run: RunDirectory, *, workers: int) -> FlowResult:
        """Do all experiments and write the report.

        Raises
        ------
        UnknownNameError
            an estimator, or an option of one, that is not known.
        """
        from fivesigma.learn import ESTIMATORS  # here, so that checking a study's words does not wait for torch

        for name, learner in words.learners.items():
            accept_options("learners", name, ESTIMATORS[learner.estimator], learner.options)
        found = _experiments(words, workers)
        measured = measurements(found)
        differences = _differences(found)
        refused = {f"{learner}, {policy}": message for (learner, policy), message in found[0].refused.items()}
        maps = {_model(fit): np.mean([one.probability[fit] for one in found], axis=0) for fit in measured}
        made = {**provenance(seed=words.seed, command=None), "study": words.model_dump(mode="json")}
        report = write_signed_weights_report(
            run.path / "report.html", words.title, words.reference or "", measured, refused, maps, made
        )
        return FlowResult(
            sample={
                "generated": "fivesigma.flows.signed_toy",
                "experiments": words.experiments,
                "train_events": 2 * words.train_events,
                "test_events": 2 * words.test_events,
                "negative_fraction": words.negative_fraction,
            },
            results=[row for fit, metrics in measured.items() for row in results_rows(_model(fit), metrics)],
            differences=differences,
            report=report,
            more={"refused": refused},
        )


def _experiments(words: SignedWeightsWords, workers: int) -> list[SignedResult]:
    """All experiments, in their order."""
    tasks = [
        SignedExperiment(
            number,
            words.seed,
            words.train_events,
            words.test_events,
            words.negative_fraction,
            words.policies,
            tuple(words.learners.items()),
        )
        for number in range(words.experiments)
    ]
    engine: Engine = InProcess() if workers == 1 else Processes(workers, deadline_s=None)
    results: dict[int, SignedResult] = {}
    with progress(len(tasks), "signed-weights experiments", unit="experiments") as advance:
        for outcome in engine.run(tasks):
            results[tasks.index(outcome.task)] = outcome.result()  # type: ignore[arg-type]
            advance(1)
    return [results[number] for number in range(words.experiments)]


def measurements(found: Sequence[SignedResult]) -> Measured:
    """Of each learner and policy: bias², variance, mean squared error, AUC and what it lacks to the optimum."""
    points, share = grid()
    truth = signal_probability(points)
    measured: Measured = {}
    for fit in found[0].probability:
        p = np.stack([one.probability[fit] for one in found])  # (experiment, point)
        auc = [one.auc[fit] for one in found]
        measured[fit] = {
            "bias_squared": _jackknife(lambda q: bias_squared(q, truth, share), p),
            "variance": _jackknife(lambda q: variance(q, share), p),
            "mean_squared_error": _mean(np.square(p - truth) @ share),
            "auc": _mean(auc),
            "auc_below_optimum": _mean([one.optimum - own for one, own in zip(found, auc, strict=True)]),
        }
    return measured


def bias_squared(p: FloatArray, truth: FloatArray, share: FloatArray) -> float:
    """⟨(mean over experiments − truth)²⟩ less what the mean's own variance adds; p has shape (experiment, point)."""
    return float(np.square(p.mean(axis=0) - truth) @ share) - variance(p, share) / len(p)


def variance(p: FloatArray, share: FloatArray) -> float:
    """⟨variance between experiments⟩ of p, shape (experiment, point)."""
    return float(p.var(axis=0, ddof=1) @ share)


def _jackknife(statistic: Callable[[FloatArray], float], p: FloatArray) -> Measurement:
    n = len(p)
    left_out = np.array([statistic(np.delete(p, i, axis=0)) for i in range(n)])
    uncertainty = math.sqrt((n - 1) / n * float(np.square(left_out - left_out.mean()).sum()))
    return Measurement(statistic(p), uncertainty, f"over {n} experiments; jackknife")


def _mean(values: Sequence[float] | FloatArray) -> Measurement:
    n = len(values)
    uncertainty = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Measurement(float(np.mean(values)), uncertainty, f"mean of {n} experiments; standard deviation / √{n}")


def _differences(found: Sequence[SignedResult]) -> list[dict[str, Any]]:
    """Every policy minus pair-cancel of the same learner, paired: the same events in each experiment."""
    points, share = grid()
    truth = signal_probability(points)
    rows = []
    for learner, policy in found[0].probability:
        other = (learner, REFERENCE_POLICY)
        if policy in (REFERENCE_POLICY, UNSIGNED) or other not in found[0].probability:
            continue
        own = (learner, policy)
        for metric, values in (
            ("auc", [one.auc[own] - one.auc[other] for one in found]),
            (
                "mean_squared_error",
                [_error(one, own, truth, share) - _error(one, other, truth, share) for one in found],
            ),
        ):
            difference = _mean(values)
            row = {"first": _model(own), "second": _model(other), "metric": metric, **difference.to_json()}
            rows.append(
                row | {"n_sigma": difference.value / difference.uncertainty if difference.uncertainty else None}
            )
    return rows


def _error(one: SignedResult, fit: Fit, truth: FloatArray, share: FloatArray) -> float:
    return float(np.square(one.probability[fit] - truth) @ share)


def _model(fit: Fit) -> str:
    return f"{fit[0]}, {fit[1]}"
