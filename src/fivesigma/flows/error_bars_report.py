"""The report of the flow ``error-bars``: tables of gain, coverage and cost, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fivesigma.evaluate.measurement import CONFIDENCE, Measurement
from fivesigma.report.blocks import Cell, Gallery, Section, Table, Text
from fivesigma.report.figures.coverage import (
    Curve,
    GainPoint,
    coverage_curves,
    gain_against_training,
    width_against_distance,
)
from fivesigma.report.page import write_report
from fivesigma.studies.definition import FlowWords

GAINS = {"classification": "divergence_from_truth", "regression": "nll_above_truth"}
"""The loss whose decrease is the gain: how far the prediction is from the truth, in nats per event."""

GAIN_NAMES = {"classification": "KL from truth", "regression": "−log likelihood"}

TITLES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "divergence_from_truth": "KL from truth [nats]",
    "nll_above_truth": "−log likelihood above truth [nats]",
    "crps": "CRPS",
    "rms_error_of_mean": "rms error of mean",
    "coverage_68": "coverage 68 %",
    "coverage_95": "coverage 95 %",
    "width_68": "width of 68 %",
    "coverage_of_mean_68": "coverage of mean 68 %",
    "coverage_of_mean_95": "coverage of mean 95 %",
    "width_of_mean_68": "width of mean's 68 %",
    "training_cpu_seconds": "training [CPU s]",
    "microseconds_per_event": "prediction [µs/event]",
    "gain_per_cpu_second": "gain per CPU s [nats/s]",
}

PREDICTION = {
    "classification": ("auc", "log_loss", "divergence_from_truth"),
    "regression": ("nll_above_truth", "crps", "rms_error_of_mean"),
}
ERROR_BARS = {
    "classification": ("coverage_68", "coverage_95", "width_68"),
    "regression": (
        "coverage_68", "coverage_95", "width_68", "coverage_of_mean_68", "coverage_of_mean_95", "width_of_mean_68",
    ),
}  # fmt: skip
COST = ("training_cpu_seconds", "microseconds_per_event", "gain_per_cpu_second")

NOTE = (
    "Each number is the mean over {experiments} experiments with {train} training and {test} test events of their own; "
    "uncertainties are standard deviations between experiments / √{experiments}."
)
TOYS = {
    "classification": "Classes: signal is two Gaussian spots on a broad Gaussian background; p(signal | x) is known. "
    "Coverage is that of the known probability.",
    "regression": "Response of a hadron calorimeter with a crack, 2 to 200 GeV, with the resolution "
    "0.6/√E ⊕ 0.05 ⊕ 0.5/E; mean and noise are known. Coverage is that of the measured response of an event, "
    "and of its known mean.",
}
QUANTITIES = {"classification": "the probability", "regression": "the mean response"}

Methods = Mapping[str, Mapping[str, Measurement]]


def write_error_bars_report(
    path: Path,
    words: FlowWords,
    measured: Mapping[str, Methods],
    differences: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the page with its figures; ``measured`` and ``curves`` by task, then method."""
    settings = words.model_dump()
    note = NOTE.format(
        experiments=settings["experiments"], train=settings["train_events"], test=settings["test_events"]
    )
    sections = [
        _section(task, methods, differences, curves[task], settings["baseline"], note)
        for task, methods in measured.items()
    ]
    made = {**provenance, "study": words.model_dump(mode="json")}
    return write_report(path, words.title, sections, made, subtitle=words.reference or "")


def _section(
    task: str,
    methods: Methods,
    differences: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Any],
    baseline: str,
    note: str,
) -> Section:
    gain = GAINS[task]
    gains = [
        GainPoint(
            method=row["first"].removesuffix(f" ({task})"),
            gain=-row["value"],
            uncertainty=row["uncertainty"],
            training_cpu_seconds=methods[row["first"].removesuffix(f" ({task})")]["training_cpu_seconds"].value,
        )
        for row in differences
        if row["metric"] == gain and row["first"].endswith(f"({task})")
    ]
    blocks = (
        Text(TOYS[task]),
        _table("Prediction", methods, PREDICTION[task], note),
        _table("Error bars", methods, ERROR_BARS[task], note),
        _table("Cost", methods, COST, f"{note} The gain is that in {GAIN_NAMES[task]} over {baseline}, paired."),
        Gallery(
            (
                *_coverage_plots(task, curves),
                width_against_distance(
                    _curves(curves, "distance", "width_at_distance"),
                    _curves(curves, "distance", "covered_at_distance"),
                    quantity=QUANTITIES[task],
                    level=CONFIDENCE,
                    name=f"width-against-distance-{task}",
                ),
                gain_against_training(
                    gains, gain=GAIN_NAMES[task], baseline=baseline, name=f"gain-against-cost-{task}"
                ),
            )
        ),
    )
    return Section(task.capitalize(), task, blocks)


def _coverage_plots(task: str, curves: Mapping[str, Any]) -> list[Any]:
    if task == "classification":
        return [coverage_curves(_curves(curves, "level", "covered"), truth="the probability", name=f"coverage-{task}")]
    return [
        coverage_curves(_curves(curves, "level", "covered"), truth="the response", name=f"coverage-{task}"),
        coverage_curves(_curves(curves, "level", "covered_of_mean"), truth="its mean", name=f"coverage-of-mean-{task}"),
    ]


def _table(caption: str, methods: Methods, metrics: Sequence[str], note: str) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (method, *(measured.get(metric) for metric in metrics)) for method, measured in methods.items()
    )
    return Table(caption, ("method", *(TITLES[metric] for metric in metrics)), rows, (note,))


def _curves(curves: Mapping[str, Any], x: str, y: str) -> dict[str, Curve]:
    return {
        method: Curve(found[x]["mean"], found[y]["mean"], found[y]["uncertainty"]) for method, found in curves.items()
    }
