"""Figures of a momentum trigger: curves of several models against pT or η, accepted spectra, tables by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot
from fivesigma.report.style import line_style, plain, watermark

WHAT = "toy spectrometer"


def curves_against(
    models: Mapping[str, Mapping[str, Any]],
    *,
    name: str,
    title: str,
    caption: str,
    x: str,
    y: str,
    log: Sequence[str] = ("x",),
    line: float | None = None,
    vertical: float | None = None,
    first: Mapping[str, int] | None = None,
) -> Plot:
    """Points with intervals, a colour a model; ``log`` names the logarithmic axes, ``line`` and ``vertical`` are marked.

    ``models`` hold ``x, y, low, high``; ``first`` fixes the look of each model, so that figures of some models agree.
    """
    return Plot(
        name=name,
        title=title,
        caption=caption,
        data={
            "models": models,
            "x": x,
            "y": y,
            "log": list(log),
            "line": line,
            "vertical": vertical,
            "looks": first or {model: i for i, model in enumerate(models)},
        },
        draw=_draw_curves,
        size=(7.4, 4.8),
    )


def _draw_curves(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    for value, mark in ((data["line"], axes.axhline), (data["vertical"], axes.axvline)):
        if value is not None:
            mark(value, color="#888888", linewidth=0.9, linestyle=":")
    for model, curve in data["models"].items():
        look = line_style(data["looks"][model])
        x, y, low, high = (array(curve[key]) for key in ("x", "y", "low", "high"))
        known = np.isfinite(y)
        if "y" in data["log"]:
            known &= y > 0
        errors = np.clip(np.stack([y - low, high - y]), 0, None)[:, known]
        axes.errorbar(
            x[known], y[known], errors, fmt=look.marker, linestyle=look.linestyle, color=look.color, linewidth=1.1,
            markersize=4, label=plain(model),
        )  # fmt: skip
    if "x" in data["log"]:
        _log_axis(axes)
    if "y" in data["log"]:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(plain(data["x"], 70))
    axes.set_ylabel(plain(data["y"], 70))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes, WHAT)


def _log_axis(axes: Any) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def accepted_spectra(
    models: Mapping[str, Mapping[str, Any]], *, name: str, title: str, caption: str, threshold: float
) -> Plot:
    """True pT of the muons accepted, as steps; ``models`` hold ``edges, y, uncertainty``."""
    return Plot(
        name=name,
        title=title,
        caption=caption,
        data={"models": models, "threshold": threshold},
        draw=_draw_spectra,
        size=(7.4, 4.8),
    )


def _draw_spectra(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    axes.axvline(data["threshold"], color="#888888", linewidth=0.9, linestyle=":")
    for index, (model, curve) in enumerate(data["models"].items()):
        look = line_style(index)
        edges, y, sigma = (array(curve[key]) for key in ("edges", "y", "uncertainty"))
        y = np.where(y > 0, y, np.nan)
        axes.stairs(y, edges, color=look.color, linestyle=look.linestyle, linewidth=1.4, label=plain(model))
        middle = np.sqrt(edges[1:] * edges[:-1])
        axes.errorbar(middle, y, np.minimum(sigma, 0.9 * y), fmt="none", ecolor=look.color, elinewidth=0.9)
    _log_axis(axes)
    axes.set_yscale("log")
    axes.set_xlabel("true pT [GeV]")
    axes.set_ylabel("accepted per million muons and GeV")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes, WHAT)


def bits_of_inputs(steps: Sequence[Mapping[str, Any]], *, name: str, title: str, caption: str) -> Plot:
    """Bits of each input while bits are taken away, and the loss; ``steps`` hold ``bits`` and ``loss``."""
    return Plot(name=name, title=title, caption=caption, data={"steps": list(steps)}, draw=_draw_bits, size=(7.4, 5.2))


def _draw_bits(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    totals = np.array([sum(step["bits"].values()) for step in data["steps"]])
    bottom = np.zeros(len(totals))
    for index, field in enumerate(data["steps"][0]["bits"]):
        bits = np.array([step["bits"][field] for step in data["steps"]], dtype=float)
        colour = line_style(index).color if index < 6 else "#cccccc"
        axes.bar(totals, bits, bottom=bottom, width=0.86, color=colour, label=plain(field))
        for total, height, start in zip(totals, bits, bottom, strict=True):
            if height:
                axes.text(
                    total, start + height / 2, f"{height:.0f}", ha="center", va="center", fontsize=8, color="white"
                )
        bottom += bits
    loss = array([step["loss"] for step in data["steps"]])
    lower.plot(totals, np.sqrt(loss), marker="o", color=line_style(0).color)
    axes.set_ylabel("bits of the input")
    lower.set_ylabel("rms of ln pT", loc="center")
    lower.set_xlabel("bits of the address")
    lower.set_xticks(totals[::2])
    lower.invert_xaxis()
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper")
    watermark(axes, WHAT)
