"""Figures that compare models: background rejection against signal efficiency, in bins, at one point, against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from fivesigma.report.blocks import Measured
from fivesigma.report.curve import Curve, curve_data, inverse
from fivesigma.report.figures.drawing import array, two_panels
from fivesigma.report.numbers import with_uncertainty
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import axis_label, line_style, plain, watermark

if TYPE_CHECKING:
    from fivesigma.evaluate.binned import BinnedRejection

LOWEST_SIGNAL_EFFICIENCY = 0.1
"""Left end of the curves: tighter cuts leave too few events to draw."""


def background_rejection(
    curves: Mapping[str, Curve], *, reference: str | None = None, name: str = "background-rejection", where: str = ""
) -> Plot:
    """Background rejection 1/ε_B against signal efficiency for several models, with their 68 % bands.

    The lower panel is the ratio to ``reference``, one of the models, if it is given. ``where`` says which events were
    used, such as a restricted phase space; then give another ``name`` to the file.
    """
    models = {model: _rejection_data(curve) for model, curve in curves.items()}
    ratio = f" The lower panel is the ratio to {reference}." if reference else ""
    return Plot(
        name=name,
        title="Background rejection against signal efficiency" + (f" ({where})" if where else ""),
        caption=f"Bands are 68 % intervals; the legend is ordered by rejection at 50 % signal efficiency.{ratio}",
        data={"models": models, "reference": reference, "where": where},
        draw=_draw_rejection,
        size=(8.0, 5.6 if reference else 4.8),
    )


def _rejection_data(curve: Curve) -> dict[str, NDArray[Any]]:
    arrays = curve_data(curve)
    shown = arrays["signal_efficiency"] >= LOWEST_SIGNAL_EFFICIENCY - 1e-9
    return {
        "signal_efficiency": arrays["signal_efficiency"][shown],
        "rejection": inverse(arrays["background_efficiency"][shown]),
        "rejection_low": inverse(arrays["background_efficiency_high"][shown]),
        "rejection_high": inverse(arrays["background_efficiency_low"][shown]),
    }


def _draw_rejection(figure: Figure, data: Mapping[str, Any]) -> None:
    reference = data["reference"]
    axes, lower = two_panels(figure, 2.4) if reference else (figure.add_subplot(), None)
    _draw_curves(axes, data["models"], "rejection")
    axes.set_yscale("log")
    axes.set_ylim(bottom=1.0)
    _plain_log_ticks(axes)
    axes.set_ylabel("background rejection 1 / ε$_B$")
    if lower is not None:
        below = data["models"][reference]
        grid, base = array(below["signal_efficiency"]), array(below["rejection"])
        ratios = {model: _ratio(curve, grid, base) for model, curve in data["models"].items()}
        _draw_curves(lower, ratios, "rejection")
        lower.set_ylabel(plain(f"ratio to {reference}", longest=30), loc="center")
        lower.set_ylim(*_ratio_limits(ratios))
    bottom = axes if lower is None else lower
    bottom.set_xlabel("signal efficiency ε$_S$")
    bottom.set_xlim(LOWEST_SIGNAL_EFFICIENCY, 1.0)
    _side_legend(figure, axes, data["models"])
    watermark(axes, f"simulation, {data['where']}" if data["where"] else "simulation")


def _ratio(curve: Mapping[str, Any], grid: NDArray[Any], base: NDArray[Any]) -> dict[str, NDArray[Any]]:
    x = array(curve["signal_efficiency"])
    below = np.interp(x, grid, base)
    return {"signal_efficiency": x} | {
        name: array(curve[name]) / below for name in ("rejection", "rejection_low", "rejection_high")
    }


def _ratio_limits(ratios: Mapping[str, Mapping[str, NDArray[Any]]]) -> tuple[float, float]:
    values = np.concatenate([curve["rejection"] for curve in ratios.values()])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.5, 1.5
    low, high = np.quantile(values, [0.01, 0.99])
    margin = 0.1 * max(high - low, 0.2)
    return float(max(low - margin, 0.0)), float(high + margin)


def _draw_curves(axes: Axes, models: Mapping[str, Mapping[str, Any]], quantity: str) -> None:
    for index, curve in enumerate(models.values()):
        look = line_style(index)
        x, y = array(curve["signal_efficiency"]), array(curve[quantity])
        low, high = array(curve[f"{quantity}_low"]), array(curve[f"{quantity}_high"])
        axes.plot(x, y, color=look.color, linestyle=look.linestyle)
        drawn = np.isfinite(low) & np.isfinite(high) & (low > 0)
        axes.fill_between(x, low, high, where=drawn, color=look.color, alpha=0.18, linewidth=0)


def _side_legend(
    figure: Figure, axes: Axes, models: Mapping[str, Mapping[str, Any]], quantity: str = "rejection"
) -> None:
    """Beside the axes, the best model first, so that the legend reads in the order of the curves."""
    order = sorted(range(len(models)), key=lambda i: -_at_half(list(models.values())[i], quantity))
    names = list(models)
    handles = []
    for i in order:
        look = line_style(i)
        handles.append(
            axes.plot([], [], color=look.color, linestyle=look.linestyle, label=plain(names[i], longest=24))[0]
        )
    figure.legend(handles, [str(h.get_label()) for h in handles], loc="outside right upper")


def _at_half(curve: Mapping[str, Any], quantity: str) -> float:
    x, y = array(curve["signal_efficiency"]), array(curve[quantity])
    value = float(np.interp(0.5, x, y)) if len(x) else 0.0
    return value if np.isfinite(value) else 0.0


def _plain_log_ticks(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 4, 5, 6, 7, 8, 9), numticks=12))
    low, high = axes.get_ylim()
    if high / low > 100:
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:  # less than two decades: the powers of ten alone would not tell the scale
        axes.yaxis.set_minor_formatter(
            FuncFormatter(lambda value, _: f"{value:g}" if str(f"{value:e}")[0] in "235" else "")
        )
        axes.tick_params(axis="y", which="minor", labelsize=9)


def significance_improvement(curves: Mapping[str, Curve], *, name: str = "significance-improvement") -> Plot:
    """Significance improvement ε_S/√ε_B, by which a cut multiplies S/√B, against signal efficiency."""
    models = {}
    for model, curve in curves.items():
        data = _rejection_data(curve)
        e = data["signal_efficiency"]
        models[model] = {"signal_efficiency": e} | {
            f"improvement{edge}": e * np.sqrt(data[f"rejection{edge}"]) for edge in ("", "_low", "_high")
        }
    return Plot(
        name=name,
        title="Significance improvement",
        caption="By how much a cut at this signal efficiency multiplies S/√B; bands are 68 % intervals.",
        data={"models": models},
        draw=_draw_improvement,
        size=(8.0, 4.6),
    )


def _draw_improvement(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    _draw_curves(axes, data["models"], "improvement")
    axes.set_xlim(LOWEST_SIGNAL_EFFICIENCY, 1.0)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("signal efficiency ε$_S$")
    axes.set_ylabel("significance improvement ε$_S$ / √ε$_B$")
    _side_legend(figure, axes, data["models"], "improvement")
    watermark(axes)


def rejection_in_bins(
    models: Mapping[str, BinnedRejection], *, label: str | None = None, unit: str | None = None
) -> Plot:
    """Rejection in bins of a variable, with a cut of the same signal efficiency chosen in each bin.

    All models must have the same bins; bins where a class is empty are left out.
    """
    first = next(iter(models.values()))
    edges = [first.bins[0].low, *(b.high for b in first.bins)]
    data = {
        model: {
            "rejection": [None if b.own_cut is None else b.own_cut.value for b in binned.bins],
            "uncertainty": [None if b.own_cut is None else b.own_cut.uncertainty for b in binned.bins],
        }
        for model, binned in models.items()
    }
    percent = f"{100 * first.signal_efficiency:g} %"
    return Plot(
        name=f"rejection-in-bins-{file_stem(first.variable)}",
        title=f"Rejection in bins of {label or first.variable}",
        caption=f"Background rejection at {percent} signal efficiency in each bin, with the cut chosen in the bin.",
        data={"variable": first.variable, "label": label or first.variable, "unit": unit, "edges": edges,
              "signal_efficiency": first.signal_efficiency, "models": data},
        draw=_draw_bins,
        size=(8.0, 4.6),
    )  # fmt: skip


def _draw_bins(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    edges = array(data["edges"])
    centres, half = (edges[:-1] + edges[1:]) / 2, np.diff(edges) / 2
    names = list(data["models"])
    for index, name in enumerate(names):
        look, model = line_style(index), data["models"][name]
        # Points of different models stand beside each other in the bin, so that their bars can be seen.
        shift = half * 0.7 * (2 * (index + 0.5) / len(names) - 1)
        axes.errorbar(
            centres + shift, array(model["rejection"]), array(model["uncertainty"]), fmt=look.marker, color=look.color,
            label=plain(name, longest=24), markerfacecolor=look.color if look.linestyle == "-" else "white",
        )  # fmt: skip
    for edge in edges[1:-1]:
        axes.axvline(edge, color="#bbbbbb", linewidth=0.7)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(axis_label(data["label"], data["unit"]))
    axes.set_ylabel(f"background rejection at ε$_S$ = {data['signal_efficiency']:g}")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes)


def rejection_summary(
    models: Mapping[str, Measured], *, signal_efficiency: float = 0.5, name: str = "rejection-summary", where: str = ""
) -> Plot:
    """All models in one picture: the rejection of each with its uncertainty, the best on top."""
    known = sorted(models, key=lambda m: models[m].value if np.isfinite(models[m].value) else -np.inf)
    data = {model: {"rejection": models[model].value, "uncertainty": models[model].uncertainty} for model in known}
    percent = f"{100 * signal_efficiency:g} %"
    return Plot(
        name=name,
        title=f"Background rejection at {percent} signal efficiency" + (f" ({where})" if where else ""),
        caption="One point per model with its uncertainty, the best on top.",
        data={"signal_efficiency": signal_efficiency, "models": data, "where": where},
        draw=_draw_summary,
        size=(7.0, 1.1 + 0.32 * max(len(known), 3)),
    )


def _draw_summary(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    names = list(data["models"])
    values = array([data["models"][n]["rejection"] for n in names])
    errors = array([data["models"][n]["uncertainty"] for n in names])
    rows = np.arange(len(names))
    axes.barh(rows, values, height=0.62, color="#3f90da", alpha=0.3)
    axes.errorbar(values, rows, xerr=errors, fmt="o", color="#1f5fa8", elinewidth=1.6)
    top = np.nanmax(np.append(values + np.nan_to_num(errors), 1.0))
    for row, value, error in zip(rows, values, errors, strict=True):
        text = "undefined" if np.isnan(value) else with_uncertainty(value, error)
        end = 0.0 if np.isnan(value) else value + np.nan_to_num(error)
        axes.text(end + 0.02 * top, float(row), text, va="center", fontsize=10)
    axes.set_xlim(0, top * 1.3)
    axes.set_yticks(rows, [plain(n, longest=28) for n in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel(f"background rejection 1 / ε$_B$ at ε$_S$ = {data['signal_efficiency']:g}")
    watermark(axes, f"simulation, {data['where']}" if data["where"] else "simulation")


@dataclass(frozen=True)
class CostPoint:
    """What a model gives and what it takes."""

    model: str
    rejection: float
    uncertainty: float
    training_cpu_seconds: float | None = None
    microseconds_per_jet: float | None = None


def gain_against_cost(points: Sequence[CostPoint], *, signal_efficiency: float = 0.5) -> Plot:
    """Rejection against the processor time of training and of applying each model; unknown costs are left out."""
    return Plot(
        name="gain-against-cost",
        title="Gain against cost",
        caption=f"Background rejection at {100 * signal_efficiency:g} % signal efficiency against the processor time "
        "of training and of applying each model.",
        data={"signal_efficiency": signal_efficiency, "points": [asdict(p) for p in points]},
        draw=_draw_cost,
        size=(9.6, 4.4),
    )


def _draw_cost(figure: Figure, data: Mapping[str, Any]) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    costs = (("training_cpu_seconds", "training [CPU s]"), ("microseconds_per_jet", "prediction [µs per jet]"))
    handles = {}
    for axes, (cost, label) in zip(panels, costs, strict=True):
        for index, point in enumerate(data["points"]):
            if point[cost] is None or point[cost] <= 0:
                continue
            look = line_style(index)
            handles[plain(point["model"], longest=24)] = axes.errorbar(
                point[cost], point["rejection"], point["uncertainty"], fmt=look.marker, color=look.color, markersize=7,
                markerfacecolor=look.color if look.linestyle == "-" else "white",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.grid(alpha=0.35, linewidth=0.6)
    panels[0].set_ylim(bottom=0.0)
    panels[0].set_ylabel(f"background rejection at ε$_S$ = {data['signal_efficiency']:g}")
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside right upper")
    watermark(panels[0])
