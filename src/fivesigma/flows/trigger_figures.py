"""Figures of the flow ``topological-trigger``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fivesigma.evaluate.measurement import Measurement
from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot
from fivesigma.report.style import BACKGROUND_COLOUR, SIGNAL_COLOUR, line_style, plain, watermark

WHAT = "simulation, forward spectrometer"


def efficiency_against_rate(curves: Mapping[str, Any], points: Mapping[str, Any]) -> Plot:
    """``curves``: model → rate, efficiency; ``points``: model → rate, value, uncertainty."""
    return Plot(
        "efficiency-against-rate",
        "Efficiency against output rate",
        "Share of decays in acceptance that are kept by a candidate of their own tracks, against the rate of collisions "
        "without beauty that pass. Points: bootstrap over signal and background events, the threshold found anew each time.",
        {"curves": curves, "points": points},
        _draw_rates,
        size=(6.4, 4.8),
    )


def _draw_rates(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    for i, (model, curve) in enumerate(data["curves"].items()):
        look = line_style(i)
        axes.plot(array(curve["rate"]), array(curve["efficiency"]), color=look.color, linestyle=look.linestyle)
        point = data["points"][model]
        shifted = array(point["rate"]) * (1 + 0.03 * (i - (len(data["curves"]) - 1) / 2))
        axes.errorbar(
            shifted,
            array(point["value"]),
            array(point["uncertainty"]),
            fmt=look.marker,
            color=look.color,
            label=plain(model),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_ylim(0, 1)
    axes.set_xlabel("output rate without beauty [kHz]")
    axes.set_ylabel("efficiency")
    axes.legend(loc="lower right")
    watermark(axes, WHAT)


def efficiency_by_decay(
    models: Mapping[str, Sequence[Measurement]], decays: Sequence[str], rate: float, unseen: Sequence[str]
) -> Plot:
    """Each model's efficiency for each decay at one rate."""
    return Plot(
        "efficiency-by-decay",
        f"Efficiency by decay at {rate:g} kHz",
        f"The same threshold, of {rate:g} kHz, for all decays. No model was trained on: {', '.join(unseen) or 'none'}.",
        {
            "decays": list(decays),
            "models": {
                model: {"value": [m.value for m in found], "uncertainty": [m.uncertainty for m in found]}
                for model, found in models.items()
            },
        },
        _draw_decays,
        size=(7.6, 0.55 * len(decays) + 1.6),
    )


def _draw_decays(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    n = len(data["models"])
    for i, (model, found) in enumerate(data["models"].items()):
        look = line_style(i)
        height = np.arange(len(data["decays"])) + 0.14 * (i - (n - 1) / 2)
        axes.errorbar(
            array(found["value"]),
            height,
            xerr=array(found["uncertainty"]),
            fmt=look.marker,
            color=look.color,
            label=plain(model),
        )
    axes.set_yticks(range(len(data["decays"])), [plain(decay) for decay in data["decays"]])
    axes.set_ylim(len(data["decays"]) - 0.5, -0.5)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_xlabel("efficiency")
    axes.set_xlim(0, 1)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")


def efficiency_in(
    name: str,
    title: str,
    label: str,
    edges: Sequence[float],
    models: Mapping[str, Mapping[str, list[float]]],
    rate: float,
) -> Plot:
    """Efficiency of signal events with a candidate in bins of one variable."""
    return Plot(
        name,
        title,
        f"Share of signal events with a candidate that pass at {rate:g} kHz; Clopper–Pearson intervals.",
        {"label": label, "edges": list(edges), "models": models},
        _draw_bins,
        size=(6.0, 4.4),
    )


def _draw_bins(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    edges = array(data["edges"])
    centre, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    n = len(data["models"])
    for i, (model, found) in enumerate(data["models"].items()):
        look = line_style(i)
        value, low, high = (array(found[key]) for key in ("value", "low", "high"))
        axes.errorbar(
            centre + 0.08 * width * (i - (n - 1) / 2),
            value,
            [value - low, high - value],
            fmt=look.marker,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.0,
            label=plain(model),
        )
    axes.set_xlabel(data["label"])
    axes.set_ylabel("efficiency, given a candidate")
    axes.set_ylim(0, 1.25)
    axes.legend(loc="upper center", ncols=2)
    watermark(axes, WHAT)


def loss_against_size(series: Mapping[str, Any], rate: float) -> Plot:
    """``series``: way → cells, loss, uncertainty."""
    return Plot(
        "loss-against-size",
        "Table size against loss",
        f"Efficiency at {rate:g} kHz of the model less that of the table, paired over 100 bootstrap replicas.",
        {"series": series},
        _draw_sizes,
        size=(6.4, 4.4),
    )


def _draw_sizes(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    for i, (way, found) in enumerate(data["series"].items()):
        look = line_style(i)
        axes.errorbar(
            array(found["cells"]),
            array(found["loss"]),
            array(found["uncertainty"]),
            fmt=look.marker,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.0,
            label=plain(way),
        )
    axes.set_xscale("log")
    axes.set_xlabel("cells")
    axes.set_ylabel("loss of efficiency")
    axes.legend()
    watermark(axes, WHAT)


def stability_of(rows: Sequence[Mapping[str, Any]], rate: float) -> Plot:
    """Rows of model, variation, and value and uncertainty of both changes."""
    return Plot(
        "stability",
        "A detector that is not what the trigger takes it for",
        f"Thresholds stay at those of {rate:g} kHz; the same events in all variations; paired bootstrap.",
        {"rows": list(rows)},
        _draw_stability,
        size=(8.6, 4.4),
    )


def _draw_stability(figure: Figure, data: Mapping[str, Any]) -> None:
    variations = list(dict.fromkeys(row["variation"] for row in data["rows"]))
    models = list(dict.fromkeys(row["model"] for row in data["rows"]))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, key, label in zip(
        axes, ("rate", "efficiency"), ("relative change of rate", "change of efficiency"), strict=True
    ):
        for i, model in enumerate(models):
            look = line_style(i)
            rows = [row for row in data["rows"] if row["model"] == model]
            height = [variations.index(row["variation"]) + 0.13 * (i - (len(models) - 1) / 2) for row in rows]
            ax.errorbar(
                [row[key] for row in rows],
                height,
                xerr=[row[f"{key}_uncertainty"] for row in rows],
                fmt=look.marker,
                color=look.color,
                label=plain(model),
            )
        ax.axvline(0.0, color="#888888", linewidth=0.8)
        ax.set_xlabel(label)
        ax.tick_params(axis="y", which="minor", left=False, right=False)
    axes[0].set_yticks(range(len(variations)), [plain(name) for name in variations])
    axes[0].set_ylim(len(variations) - 0.5, -0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(models))


def rates_in_time(name: str, title: str, rates: Mapping[str, Any], change: int | None) -> Plot:
    """``rates``: rate → value, low, high, reference; one a slice of time."""
    after = "" if change is None else f" The detector changes after slice {change}."
    return Plot(
        name,
        title,
        f"Rates by slice of time over that of the reference, Clopper–Pearson.{after}",
        {"rates": rates, "change": change},
        _draw_time,
        size=(7.0, 1.7 * len(rates) + 0.8),
    )


def _draw_time(figure: Figure, data: Mapping[str, Any]) -> None:
    all_axes = figure.subplots(len(data["rates"]), 1, sharex=True, squeeze=False)[:, 0]
    for i, (ax, (rate, found)) in enumerate(zip(all_axes, data["rates"].items(), strict=True)):
        look = line_style(i)
        value, low, high = (array(found[key]) / found["reference"] for key in ("value", "low", "high"))
        slices = np.arange(1, len(value) + 1)
        ax.errorbar(slices, value, [value - low, high - value], fmt=look.marker, color=look.color)
        ax.axhline(1.0, color="#888888", linewidth=0.8)
        if data["change"] is not None:
            ax.axvline(data["change"] + 0.5, color="#888888", linestyle="--", linewidth=0.9)
        ax.set_title(plain(rate), loc="right")
        ax.set_ylabel("ratio")
        ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    all_axes[-1].set_xlabel("slice of time")


def p_values(name: str, title: str, drift: Mapping[str, Any], change: int | None) -> Plot:
    """All comparisons of one run, alarms marked."""
    return Plot(
        name,
        title,
        f"−log₁₀ p of each comparison with the reference; circles: alarms, p < {drift['threshold']:.1e}, which a stable "
        f"detector raises anywhere in this table with a probability of {drift['false_alarm_rate']:.0%}.",
        {**drift, "change": change},
        _draw_p_values,
        size=(7.6, 0.36 * len(drift["quantities"]) + 1.4),
    )


def _draw_p_values(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    p = array(data["p_value"])
    shown = -np.log10(np.maximum(p, 1e-8)).T  # (quantity, slice)
    image = axes.imshow(shown, aspect="auto", cmap="Blues", vmin=0, vmax=8)
    rows, columns = np.nonzero(data["threshold"] > p.T)
    axes.plot(
        columns, rows, "o", markersize=9, markerfacecolor="none", markeredgecolor=BACKGROUND_COLOUR, markeredgewidth=1.8
    )
    if data["change"] is not None:
        axes.axvline(data["change"] - 0.5, color="#444444", linestyle="--", linewidth=1.0)
    axes.set_yticks(range(len(data["quantities"])), [plain(name) for name in data["quantities"]])
    axes.set_xticks(range(p.shape[0]), [str(i + 1) for i in range(p.shape[0])])
    axes.tick_params(which="minor", left=False, right=False, bottom=False, top=False)
    axes.set_xlabel("slice of time")
    figure.colorbar(image, ax=axes, label="−log₁₀ p")


def inputs_of(panels: Sequence[Mapping[str, Any]]) -> Plot:
    """Each input of signal and background, with the edges of the bonsai tree's bins."""
    return Plot(
        "inputs",
        "What describes a candidate",
        "Training candidates, each event with weight one. Grey lines: edges of the bins that bonsai trees see.",
        {"panels": list(panels)},
        _draw_inputs,
        size=(10.0, 5.2),
    )


def _draw_inputs(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots(2, 4).ravel()
    for ax, panel in zip(axes, data["panels"], strict=True):
        edges = array(panel["edges"])
        for label, colour in (("signal", SIGNAL_COLOUR), ("background", BACKGROUND_COLOUR)):
            ax.stairs(array(panel[label]), edges, color=colour, label=label)
        for cut in panel["cuts"]:
            ax.axvline(cut, color="#bbbbbb", linewidth=0.7, zorder=0)
        if panel["log"]:
            ax.set_xscale("log")
        ax.set_xlim(edges[0], edges[-1])
        ax.set_xlabel(plain(panel["name"]))
        ax.set_yticks([])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
