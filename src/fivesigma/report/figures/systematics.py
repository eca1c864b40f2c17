"""Figures of what a classifier withstands: significance scan, shifted ROC, nuisance profile, sculpting, data/simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fivesigma.report.figures.drawing import array, draw_steps, headroom, two_panels
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import BACKGROUND_COLOUR, SIGNAL_COLOUR, axis_label, line_style, plain, watermark

if TYPE_CHECKING:
    from fivesigma.evaluate.data_simulation import DataSimulation
    from fivesigma.evaluate.dependence import Dependence
    from fivesigma.evaluate.flatness import Flatness
    from fivesigma.evaluate.robustness import Robustness
    from fivesigma.evaluate.roc import RocCurve
    from fivesigma.evaluate.sculpting import Sculpting
    from fivesigma.evaluate.significance import SignificanceScan

KINDS = {"asimov": "Asimov Z", "ams": "AMS", "s-over-sqrt-b": "S/√(B + σ²B²)"}
DIRECTION_LINES = {"up": "-", "down": "--"}
LOWEST_SIGNAL_EFFICIENCY = 0.1


def significance_scan(scans: Mapping[str, SignificanceScan]) -> Plot:
    """Significance against the signal efficiency of the cut, with 68 % bands; the cross-fitted value as a point."""
    models = {
        model: {
            **{
                a: getattr(s, a) for a in ("signal_efficiency", "significance", "significance_low", "significance_high")
            },
            "chosen": s.at_chosen_cut.value,
            "chosen_uncertainty": s.at_chosen_cut.uncertainty,
            "binned": s.binned.value,
            "binned_uncertainty": s.binned.uncertainty,
        }
        for model, s in scans.items()
    }
    first = next(iter(scans.values()))
    e = first.expectation
    return Plot(
        name="significance-scan",
        title="Significance against the cut",
        caption=f"{KINDS[first.kind]} for S = {e.signal:g}, B = {e.background:g} ± {100 * e.background_uncertainty:g} % before "
        "the cut; 68 % bands with the cut held fixed. Right: at the cut chosen on other events (filled), and of all bins of "
        "the output together (open).",
        data={"kind": first.kind, "models": models},
        draw=_draw_scan,
        size=(8.6, 4.4),
    )


def _draw_scan(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    for index, (name, model) in enumerate(data["models"].items()):
        look = line_style(index)
        x = array(model["signal_efficiency"])
        low, high = array(model["significance_low"]), array(model["significance_high"])
        axes.plot(x, array(model["significance"]), color=look.color, linestyle=look.linestyle, label=plain(name, 24))
        axes.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)
        for offset, which, face in ((-0.12, "chosen", look.color), (0.12, "binned", "white")):
            right.errorbar(
                index + offset, array(model[which]), array(model[f"{which}_uncertainty"]), fmt=look.marker,
                color=look.color, markerfacecolor=face,
            )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("signal efficiency ε$_S$ of the cut")
    axes.set_ylabel(KINDS[data["kind"]] + " [σ]")
    right.set_xlim(-0.6, len(data["models"]) - 0.4)
    right.set_xticks([])
    right.set_xlabel("cut chosen / binned")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes)


def shifted_roc(model: str, nominal: RocCurve, answers: Robustness) -> Plot:
    """Background rejection of the nominal events and of every variation, and their ratios to nominal."""
    curves = {"nominal": _curve(nominal)}
    directions = {"nominal": "nominal"}
    for shift in answers.shifts:
        name = f"{shift.nuisance} {shift.direction}"
        curves[name] = _curve(shift.roc)
        directions[name] = shift.direction
    return Plot(
        name=f"shifted-roc-{file_stem(model)}",
        title=f"Background rejection under variations: {model}",
        caption="The lower panel is the ratio to nominal; the band is the nominal 68 % interval. Variations of the same "
        "events fluctuate with nominal: the table has the uncertainty of each change.",
        data={"curves": curves, "directions": directions},
        draw=_draw_shifted,
        size=(8.0, 5.4),
    )


def _curve(roc: RocCurve) -> dict[str, Any]:
    shown = roc.signal_efficiency >= LOWEST_SIGNAL_EFFICIENCY - 1e-9
    names = ("signal_efficiency", "rejection", "rejection_low", "rejection_high")
    return {name: getattr(roc, name)[shown] for name in names}


def _draw_shifted(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = two_panels(figure, 2.4)
    nominal = data["curves"]["nominal"]
    x, base = array(nominal["signal_efficiency"]), array(nominal["rejection"])
    axes.plot(x, base, color="black", label="nominal")
    low, high = array(nominal["rejection_low"]), array(nominal["rejection_high"])
    axes.fill_between(x, low, high, color="black", alpha=0.15, linewidth=0)
    lower.fill_between(x, low / base, high / base, color="black", alpha=0.15, linewidth=0)
    nuisances = list(dict.fromkeys(n.rsplit(" ", 1)[0] for n in data["curves"] if n != "nominal"))
    for name, curve in data["curves"].items():
        if name == "nominal":
            continue
        colour = line_style(nuisances.index(name.rsplit(" ", 1)[0]) + 0).color
        dashes = DIRECTION_LINES.get(data["directions"][name], ":")
        axes.plot(x, array(curve["rejection"]), color=colour, linestyle=dashes, label=plain(name, 24))
        lower.plot(x, array(curve["rejection"]) / base, color=colour, linestyle=dashes)
    axes.set_yscale("log")
    axes.set_ylim(bottom=1.0)
    lower.set_ylim(*_limits_around_one([array(c["rejection"]) / base for c in data["curves"].values()]))
    axes.set_xlim(LOWEST_SIGNAL_EFFICIENCY, 1.0)
    axes.set_ylabel("background rejection 1 / ε$_B$")
    lower.set_ylabel("to nominal", loc="center")
    lower.set_xlabel("signal efficiency ε$_S$")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes)


def _limits_around_one(ratios: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """What 98 % of the points need, and at least 0.9 to 1.1."""
    values = np.concatenate(ratios)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.01, 0.99]) if len(values) else (1.0, 1.0)
    return min(float(low) - 0.05, 0.9), max(float(high) + 0.05, 1.1)


def nuisance_profile(
    models: Mapping[str, Mapping[str, Dependence]], *, nuisance: str, label: str, unit: str | None = None
) -> Plot:
    """Mean score (and its 16…84 % quantiles, shaded) in bins of the nuisance, by class: one panel a model."""
    arrays = ("edges", "mean", "mean_error", "low", "high")
    data = {
        model: {
            name: {
                **{a: getattr(found.profile, a) for a in arrays},
                "p_value": found.measures["distance_correlation"].p_value,
            }
            for name, found in by_class.items()
        }
        for model, by_class in models.items()
    }
    return Plot(
        name=f"nuisance-{file_stem(nuisance)}",
        title=f"Score against {label}",
        caption="Mean score in equally populated bins, with its uncertainty; shaded: where 68 % of the scores lie. "
        "p: permutation test of the distance correlation.",
        data={"models": data, "label": axis_label(label, unit)},
        draw=_draw_profile,
        size=(4.3 * len(data) + 0.4, 3.8),
    )


def _draw_profile(figure: Figure, data: Mapping[str, Any]) -> None:
    panels = figure.subplots(1, len(data["models"]), sharey=True, squeeze=False)[0]
    colours = {"signal": SIGNAL_COLOUR, "background": BACKGROUND_COLOUR}
    for axes, (model, by_class) in zip(panels, data["models"].items(), strict=True):
        for name, found in by_class.items():
            edges, mean = array(found["edges"]), array(found["mean"])
            axes.stairs(
                array(found["high"]), edges, baseline=array(found["low"]), fill=True, color=colours[name], alpha=0.15
            )
            p = found["p_value"]
            text = name if p is None else f"{name}: p = {p:.2g}"
            axes.errorbar(
                (edges[:-1] + edges[1:]) / 2, mean, array(found["mean_error"]), np.diff(edges) / 2, fmt="o",
                color=colours[name], label=text,
            )  # fmt: skip
        axes.set_title(plain(model, longest=28), loc="right", fontsize=11)
        axes.set_xlabel(data["label"])
        axes.set_ylim(-0.02, 1.3)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("score")
    watermark(panels[0])


def mass_sculpting(models: Mapping[str, Sculpting], *, label: str, unit: str | None = None) -> Plot:
    """Jensen–Shannon divergence of the background's mass against background rejection; dotted: random cuts."""
    names = ("rejection", "divergence", "divergence_low", "divergence_high", "if_not_sculpted")
    first = next(iter(models.values()))
    return Plot(
        name=f"sculpting-{file_stem(first.variable)}",
        title=f"Sculpting of the background's {label}",
        caption="Left: Jensen–Shannon divergence (bits) of the background before and after the cut, with 68 % bands; "
        "dotted: random cuts of the same rejection, the least that this sample can show. Right: shares of the bins after "
        "the middle working point over those before.",
        data={
            "label": axis_label(label, unit),
            "models": {model: {n: getattr(s, n) for n in names} for model, s in models.items()},
            "edges": first.edges,
            "ratio": {m: s.after[len(s.after) // 2] / s.before for m, s in models.items() if len(s.after)},
        },
        draw=_draw_sculpting,
        size=(10.0, 4.2),
    )


def _draw_sculpting(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    edges = array(data["edges"])
    for index, (name, model) in enumerate(data["models"].items()):
        look = line_style(index)
        x = array(model["rejection"])
        axes.plot(x, array(model["divergence"]), color=look.color, linestyle=look.linestyle, marker=look.marker,
                  label=plain(name, 24))  # fmt: skip
        axes.fill_between(
            x,
            array(model["divergence_low"]),
            array(model["divergence_high"]),
            color=look.color,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(x, array(model["if_not_sculpted"]), color=look.color, linestyle=":", linewidth=1.0)
        if name in data["ratio"]:
            right.stairs(array(data["ratio"][name]), edges, baseline=None, color=look.color, linestyle=look.linestyle)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("background rejection 1 / ε$_B$")
    axes.set_ylabel("Jensen–Shannon divergence [bits]")
    right.axhline(1.0, color="#888888", linewidth=0.8, linestyle=":")
    right.set_ylim(bottom=0.0)
    right.set_xlabel(data["label"])
    right.set_ylabel("after / before the cut")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes)


def flatness_summary(models: Mapping[str, Flatness], *, labels: Sequence[str]) -> Plot:
    """SDE, Theil index and CvM of each model with what a flat classifier would show."""
    measures = ("sde", "theil", "cvm")
    data = {
        model: {m: [getattr(f, m).value, getattr(f, m).uncertainty, f.if_flat[m]] for m in measures}
        for model, f in models.items()
    }
    return Plot(
        name="flatness",
        title=f"Flatness of the background efficiency in {', '.join(labels)}",
        caption="Each measure with its uncertainty; the dotted tick is what a perfectly flat classifier shows in this "
        "sample. Smaller is flatter.",
        data={"models": data},
        draw=_draw_flatness,
        size=(9.6, 1.3 + 0.34 * max(len(data), 3)),
    )


def _draw_flatness(figure: Figure, data: Mapping[str, Any]) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    names = list(data["models"])
    titles = {"sde": "standard deviation", "theil": "Theil index", "cvm": "Cramér–von Mises"}
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        rows = np.arange(len(names))
        table = array([data["models"][name][measure] for name in names])
        axes.barh(rows, table[:, 0], height=0.62, color=BACKGROUND_COLOUR, alpha=0.25)
        axes.errorbar(table[:, 0], rows, xerr=table[:, 1], fmt="o", color=BACKGROUND_COLOUR)
        for row, floor in zip(rows, table[:, 2], strict=True):
            axes.plot([floor, floor], [row - 0.4, row + 0.4], color="black", linestyle=":", linewidth=1.4)
        axes.set_xlim(left=0.0)
        axes.set_xlabel(title)
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(np.arange(len(names)), [plain(name, longest=26) for name in names])
    panels[0].tick_params(axis="y", which="both", length=0)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    watermark(panels[0])


def data_simulation(comparison: DataSimulation, *, label: str, unit: str | None = None) -> Plot:
    """Data as points on simulation as a filled histogram, and their ratio with both uncertainties."""
    names = ("edges", "data", "data_error", "simulation", "simulation_error", "ratio", "ratio_error", "band")
    c = comparison
    tests = f"χ²/ndf = {c.chi2:.1f}/{c.ndf}, p = {c.chi2_p_value:.2g}; KS p = {c.ks_p_value:.2g}"
    how = "Simulation is scaled to the data's sum. " if c.normalised else ""
    return Plot(
        name=f"data-{file_stem(c.variable)}",
        title=f"Data and simulation: {label}",
        caption=f"{how}Points: data with √Σw²; hatched: the simulation's statistical uncertainty. {tests}.",
        data={name: getattr(c, name) for name in names} | {"label": axis_label(label, unit), "tests": tests},
        draw=_draw_data,
        size=(5.6, 5.0),
    )


def _draw_data(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = two_panels(figure)
    edges = array(data["edges"])
    centres = (edges[:-1] + edges[1:]) / 2
    handle = draw_steps(
        axes, edges, data["simulation"], data["simulation_error"], colour=SIGNAL_COLOUR, label="simulation"
    )
    points = axes.errorbar(
        centres, array(data["data"]), array(data["data_error"]), fmt="o", color="black", label="data"
    )
    axes.set_xlim(edges[0], edges[-1])
    headroom(axes, 1.35)
    axes.set_ylabel("events")
    axes.legend(
        [points, handle], ["data", "simulation"], loc="upper right", title=plain(data["tests"], 70), title_fontsize=9
    )
    _ratio_panel(lower, edges, data)
    lower.set_xlabel(data["label"])
    watermark(axes, "data and simulation")


def _ratio_panel(axes: Axes, edges: Any, data: Mapping[str, Any]) -> None:
    band = np.nan_to_num(array(data["band"]))
    axes.stairs(1 + band, edges, baseline=1 - band, fill=True, color=SIGNAL_COLOUR, alpha=0.25)
    centres = (edges[:-1] + edges[1:]) / 2
    axes.errorbar(centres, array(data["ratio"]), array(data["ratio_error"]), fmt="o", color="black", markersize=3.5)
    axes.set_ylim(0.5, 1.5)
    axes.set_ylabel("data / sim.", loc="center")
