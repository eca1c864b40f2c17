"""The report of the flow ``signed-weights``: bias and variance of each learner under each policy, and their maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fivesigma.evaluate.measurement import Measurement
from fivesigma.flows.signed_experiment import UNSIGNED, Fit
from fivesigma.flows.signed_toy import HIGH, LOW, POINTS, grid, signal_probability
from fivesigma.report.blocks import Cell, Section, Table, Text
from fivesigma.report.figures.drawing import array
from fivesigma.report.page import write_report
from fivesigma.report.plot import Plot
from fivesigma.report.style import DIVERGING, MARKERS, PALETTE

LARGEST_BIAS = 0.3
"""End of the colour scale of the maps."""

TITLES = {
    "bias_squared": "bias²",
    "variance": "variance",
    "mean_squared_error": "mean squared error",
    "auc": "AUC",
    "auc_below_optimum": "optimum − AUC",
}
TOY = """Two classes in the plane with known densities. A share of the events of each has weight −1 and lies where the
positive events are too many, so that the weighted sum is the truth. Bias and variance are those of the signal
probability over the experiments, averaged over the plane with the mean of both true densities.

The row of no negative weights is a sample without any, drawn from the truth, of as many events as the signed ones are
worth by (Σw)²/Σw²."""

Measured = Mapping[Fit, Mapping[str, Measurement]]


def write_signed_weights_report(
    path: Path,
    title: str,
    subtitle: str,
    measured: Measured,
    refused: Mapping[str, str],
    maps: Mapping[str, NDArray[np.float64]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the page; ``maps`` holds the mean probability on the grid by "learner, policy"."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (*fit, *(metrics[name] for name in TITLES)) for fit, metrics in measured.items()
    )
    sections = [
        Section(
            "Bias and variance",
            "bias-variance",
            (
                Text(TOY),
                bias_and_variance(measured),
                below_optimum(measured),
                Table("All learners and policies", ("learner", "policy", *TITLES.values()), rows),
            ),
        ),
        Section("Where the bias is", "maps", tuple(bias_maps(learner, maps) for learner in _learners(measured))),
    ]
    if refused:
        said = tuple((name, message) for name, message in refused.items())
        sections.append(
            Section("Refused", "refused", (Table("What learners said", ("learner, policy", "said"), said),))
        )
    return write_report(path, title, sections, provenance, subtitle=subtitle)


def bias_and_variance(measured: Measured) -> Plot:
    """Bias² and variance side by side, a row for each learner."""
    return Plot(
        "signed-bias-variance",
        "Bias² and variance of the signal probability",
        "Mean over the plane; uncertainties are jackknifed over the experiments.",
        _points(measured, ("bias_squared", "variance")),
        _draw_points,
        size=(8.4, 0.75 * len(_learners(measured)) + 2.0),
    )


def below_optimum(measured: Measured) -> Plot:
    """What the AUC on signed events lacks to that of the true likelihood ratio."""
    return Plot(
        "signed-auc",
        "What the AUC lacks to the optimum",
        "AUC of the true likelihood ratio less that of the learner, on the same signed test events; mean and its "
        "uncertainty over the experiments.",
        _points(measured, ("auc_below_optimum",)),
        _draw_points,
        size=(5.6, 0.75 * len(_learners(measured)) + 2.0),
    )


def bias_maps(learner: str, maps: Mapping[str, NDArray[np.float64]]) -> Plot:
    """Mean probability minus truth over the plane, one panel a policy."""
    truth = signal_probability(grid()[0])
    panels = {
        name.removeprefix(f"{learner}, "): (mean - truth).reshape(POINTS, POINTS)
        for name, mean in maps.items()
        if name.startswith(f"{learner}, ")
    }
    return Plot(
        f"signed-bias-{learner}",
        f"Bias of {learner}",
        "Mean over the experiments of the learned signal probability, minus the true one.",
        {"policies": list(panels), "bias": list(panels.values()), "low": LOW, "high": HIGH},
        _draw_maps,
        size=(2.6 * len(panels) + 0.8, 3.0),
    )


def _learners(measured: Measured) -> list[str]:
    return list(dict.fromkeys(learner for learner, _ in measured))


def _points(measured: Measured, metrics: tuple[str, ...]) -> dict[str, Any]:
    learners = _learners(measured)
    policies = list(dict.fromkeys(policy for _, policy in measured))
    return {
        "learners": learners,
        "policies": policies,
        "panels": [
            {
                "title": TITLES[metric],
                "points": [
                    {
                        "learner": learners.index(fit[0]),
                        "policy": policies.index(fit[1]),
                        "value": metrics_of[metric].value,
                        "uncertainty": metrics_of[metric].uncertainty,
                    }
                    for fit, metrics_of in measured.items()
                ],
            }
            for metric in metrics
        ],
    }


def _draw_points(figure: Figure, data: Mapping[str, Any]) -> None:
    panels, policies = data["panels"], data["policies"]
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for policy, name in enumerate(policies):
            points = [point for point in panel["points"] if point["policy"] == policy]
            height = [point["learner"] + 0.13 * (policy - (len(policies) - 1) / 2) for point in points]
            ax.errorbar(
                [point["value"] for point in points],
                height,
                xerr=[point["uncertainty"] for point in points],
                fmt=MARKERS[policy],
                color=PALETTE[policy],
                label=name,
                markerfacecolor="white" if name == UNSIGNED else None,
            )
        ax.axvline(0.0, color="#888888", linewidth=0.8)
        ax.set_xlabel(panel["title"])
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes[0].set_yticks(range(len(data["learners"])), data["learners"])
    axes[0].set_ylim(len(data["learners"]) - 0.5, -0.5)
    axes[0].tick_params(axis="y", which="minor", left=False, right=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _draw_maps(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots(1, len(data["policies"]), sharey=True, squeeze=False)[0]
    extent = (data["low"], data["high"], data["low"], data["high"])
    for ax, policy, bias in zip(axes, data["policies"], data["bias"], strict=True):
        image = ax.imshow(
            array(bias), origin="lower", extent=extent, cmap=DIVERGING, vmin=-LARGEST_BIAS, vmax=LARGEST_BIAS
        )
        ax.set_title(policy)
        ax.set_xlabel("first variable")
    axes[0].set_ylabel("second variable")
    figure.colorbar(image, ax=list(axes), label="mean − truth", extend="both")
