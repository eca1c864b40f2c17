"""Figures of error bars: coverage against the nominal level, width away from the training data, gain against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot
from fivesigma.report.style import line_style, plain, watermark


@dataclass(frozen=True)
class Curve:
    """One method's points with their uncertainties."""

    x: Sequence[float]
    y: Sequence[float]
    uncertainty: Sequence[float]


@dataclass(frozen=True)
class GainPoint:
    """What a method gains over the baseline, and the processor time of its training."""

    method: str
    gain: float
    uncertainty: float
    training_cpu_seconds: float


def coverage_curves(methods: Mapping[str, Curve], *, truth: str, name: str) -> Plot:
    """Fraction of intervals that hold the truth against their nominal content."""
    return Plot(
        name=name,
        title=f"Coverage of {truth}",
        caption=f"Fraction of central intervals that hold {truth}, against their nominal content; on the diagonal the "
        "error bars are right, below it they are too small. Bars: spread between experiments. Below: the difference.",
        data={"methods": {method: asdict(curve) for method, curve in methods.items()}},
        draw=_draw_coverage,
        size=(7.4, 5.6),
    )


def _draw_coverage(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.9, linestyle=":")
    lower.axhline(0, color="#888888", linewidth=0.9, linestyle=":")
    for index, (method, curve) in enumerate(data["methods"].items()):
        look = line_style(index)
        x, y, uncertainty = array(curve["x"]), array(curve["y"]), array(curve["uncertainty"])
        style: dict[str, Any] = {"fmt": look.marker, "linestyle": look.linestyle, "color": look.color, "linewidth": 1.2}
        axes.errorbar(x, y, uncertainty, label=plain(method), **style)
        lower.errorbar(x, y - x, uncertainty, **style)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("fraction that holds the truth")
    lower.set_ylabel("difference", loc="center")
    lower.set_xlabel("nominal content of the interval")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes, "toy of known truth")


def width_against_distance(
    widths: Mapping[str, Curve], covered: Mapping[str, Curve], *, quantity: str, level: float, name: str
) -> Plot:
    """Mean width of the intervals, and how often they hold the truth, away from the training data."""
    return Plot(
        name=name,
        title=f"Error bars of {quantity} away from the training data",
        caption=f"Mean width of the {100 * level:.0f} % interval of {quantity} against the distance from the mean of "
        "the training events, in their standard deviations, averaged over directions. Below: how often it holds the truth.",
        data={
            "quantity": quantity,
            "level": level,
            "widths": {method: asdict(curve) for method, curve in widths.items()},
            "covered": {method: asdict(curve) for method, curve in covered.items()},
        },
        draw=_draw_distance,
        size=(7.4, 5.6),
    )


def _draw_distance(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.8, 1))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    lower.axhline(data["level"], color="#888888", linewidth=0.9, linestyle=":")
    for panel, key in ((axes, "widths"), (lower, "covered")):
        for index, (method, curve) in enumerate(data[key].items()):
            look = line_style(index)
            panel.errorbar(
                array(curve["x"]), array(curve["y"]), array(curve["uncertainty"]), fmt=look.marker,
                linestyle=look.linestyle, color=look.color, linewidth=1.2, label=plain(method),
            )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"width of interval of {plain(data['quantity'])}")
    lower.set_ylim(-0.02, 1.02)
    lower.set_ylabel("coverage", loc="center")
    lower.set_xlabel("distance from the training data [standard deviations]")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes, "toy of known truth")


def gain_against_training(points: Sequence[GainPoint], *, gain: str, baseline: str, name: str) -> Plot:
    """Gain over the baseline against the processor time of training."""
    return Plot(
        name=name,
        title=f"Gain in {gain} against cost",
        caption=f"How much smaller {gain} is than that of {baseline}, paired in each experiment, against the processor "
        "time of training. Bars: spread between experiments.",
        data={"gain": gain, "baseline": baseline, "points": [asdict(point) for point in points]},
        draw=_draw_gain,
        size=(6.4, 4.4),
    )


def _draw_gain(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    axes.axhline(0, color="#888888", linewidth=0.9, linestyle=":")
    for index, point in enumerate(data["points"], 1):  # the baseline has the first look in the other figures
        look = line_style(index)
        axes.errorbar(
            [point["training_cpu_seconds"]], [point["gain"]], [point["uncertainty"]], fmt=look.marker,
            markersize=7, color=look.color, label=plain(point["method"]),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("processor time of training [s]")
    axes.set_ylabel(f"gain in {plain(data['gain'])} [nats/event]")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes, "toy of known truth")
