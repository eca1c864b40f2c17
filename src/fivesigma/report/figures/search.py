"""Figures of a search: what it reached for what it cost, what the parameters did, which of them mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import BACKGROUND_COLOUR, SIGNAL_COLOUR, plain

_MOST_CHOICES = 12  # names on an axis


def progress_of_search(
    trials: Sequence[Mapping[str, Any]], declared: float, *, metric: str, name: str = "search-progress"
) -> Plot:
    """Value of each trial and the best so far against the processor's hours, beside the model as declared.

    ``trials`` have ``value`` (None if failed) and ``cpu_seconds``.
    """
    hours = np.cumsum([trial["cpu_seconds"] for trial in trials]) / 3600.0
    values = array([trial["value"] for trial in trials])
    best = np.fmax.accumulate(np.fmax(values, declared))
    return Plot(
        name=name,
        title="What the search reached",
        caption="Each trial, and the best so far, against processor time; the dotted line is the model as declared.",
        data={"metric": metric, "hours": hours, "values": values, "best": best, "declared": declared},
        draw=_draw_progress,
        size=(6.4, 4.2),
    )


def _draw_progress(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    hours = array(data["hours"])
    unit, factor = ("h", 1.0) if hours[-1] > 1.0 else ("min", 60.0) if hours[-1] > 1.0 / 60.0 else ("s", 3600.0)
    spent = factor * hours
    axes.plot(spent, array(data["values"]), "o", color=BACKGROUND_COLOUR, markerfacecolor="none", label="trials")
    axes.step(
        [0.0, *spent], [data["declared"], *array(data["best"])], where="post", color=SIGNAL_COLOUR, label="best so far"
    )
    axes.axhline(data["declared"], color="#666666", linestyle=":", label="as declared")
    axes.set_xlabel(f"processor time [{unit}]")
    axes.set_ylabel(plain(data["metric"]))
    figure.legend(loc="outside upper center", ncols=3)


def values_by_parameter(
    parameter: str, words: Sequence[Any], trials: Sequence[Mapping[str, Any]], *, metric: str
) -> Plot:
    """Value of each trial against one parameter; ``words`` are its range as declared."""
    shown = [trial for trial in trials if trial["value"] is not None]
    found = [trial["parameters"][parameter] for trial in shown]
    choices = [str(choice) for choice in words[:-1]] if words[-1] == "choice" else None
    return Plot(
        name=file_stem(f"search-{parameter}"),
        title=parameter,
        caption=f"Each trial by {parameter}; later trials are darker.",
        data={
            "parameter": parameter,
            "metric": metric,
            "log": "log" in words,
            "choices": choices,
            "x": [choices.index(str(x)) for x in found] if choices else found,
            "values": [trial["value"] for trial in shown],
        },
        draw=_draw_parameter,
        size=(4.6, 3.6),
    )


def _draw_parameter(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    x = array(data["x"])
    axes.scatter(
        x, array(data["values"]), c=np.arange(len(x)), cmap="Blues", edgecolors=SIGNAL_COLOUR, s=28, vmin=-len(x) / 3
    )
    if data["choices"] is not None:
        names = [plain(choice, longest=16) for choice in data["choices"]][:_MOST_CHOICES]
        axes.set_xticks(range(len(names)), names, rotation=20 if max(map(len, names)) > 6 else 0)
        axes.set_xlim(-0.6, len(data["choices"]) - 0.4)
        axes.minorticks_off()
    elif data["log"]:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(plain(data["parameter"]))
    axes.set_ylabel(plain(data["metric"]))


def importance_of_parameters(importance: Mapping[str, float], *, name: str = "search-importance") -> Plot:
    """Bars, the most important parameter on top."""
    ordered = sorted(importance.items(), key=lambda item: item[1])
    return Plot(
        name=name,
        title="Which parameters mattered",
        caption="Share of the variance of the trials' values that each parameter explains (fANOVA).",
        data={"names": [key for key, _ in ordered], "shares": [share for _, share in ordered]},
        draw=_draw_importance,
        size=(5.6, 1.4 + 0.4 * len(ordered)),
    )


def _draw_importance(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    places = np.arange(len(data["names"]))
    axes.barh(places, array(data["shares"]), color=SIGNAL_COLOUR, height=0.6)
    axes.set_yticks(places, [plain(key, longest=24) for key in data["names"]])
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("share of the variance")
