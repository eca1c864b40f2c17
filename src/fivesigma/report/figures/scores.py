"""Figures of one classifier's output: the overtraining check and the optimal cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fivesigma.report.curve import CURVE_ARRAYS, Curve, curve_data, significance
from fivesigma.report.figures.drawing import array, draw_steps, headroom, legend, two_panels
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import (
    BACKGROUND_COLOUR,
    BACKGROUND_LABEL,
    SIGNAL_COLOUR,
    SIGNAL_LABEL,
    axis_label,
    watermark,
)

if TYPE_CHECKING:
    from fivesigma.evaluate.overtraining import ClassOvertraining, Overtraining

CLASSES = (("background", BACKGROUND_LABEL, BACKGROUND_COLOUR), ("signal", SIGNAL_LABEL, SIGNAL_COLOUR))
RELIABLE = 0.3
"""Largest relative uncertainty of ε_B at which a cut may be called optimal: beyond it, fluctuations win."""


def overtraining_check(model: str, check: Overtraining) -> Plot:
    """Classifier output on training events (filled) and on test events (points), with KS and χ² p-values."""
    data = {"model": model, "signal": _class_data(check.signal), "background": _class_data(check.background)}
    return Plot(
        name=f"overtraining-{file_stem(model)}",
        title=f"Classifier output and overtraining check: {model}",
        caption="Training events as filled histograms, test events as points; unit areas, uncertainties √Σw². The "
        "p-values ask whether both come from one distribution.",
        data=data,
        draw=_draw_overtraining,
        size=(5.6, 5.0),
    )


def _class_data(check: ClassOvertraining) -> dict[str, Any]:
    names = ("edges", "train", "train_uncertainty", "test", "test_uncertainty", "ks_p_value", "chi2", "ndf")
    return {name: getattr(check, name) for name in (*names, "chi2_p_value")}


def _draw_overtraining(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = two_panels(figure)
    handles: list[Any] = []
    for kind, label, colour in CLASSES:
        check = data[kind]
        edges, train, test = array(check["edges"]), array(check["train"]), array(check["test"])
        centres = (edges[:-1] + edges[1:]) / 2
        handles.append(
            draw_steps(
                axes, edges, train, check["train_uncertainty"], colour=colour, label=f"{label}, training",
                hatched=kind == "background",
            )
        )  # fmt: skip
        tests = f"{label}, test: p = {check['ks_p_value']:.2g} (KS), {check['chi2_p_value']:.2g} (χ²)"
        points = axes.errorbar(centres, test, array(check["test_uncertainty"]), fmt="o", color=colour, label=tests)
        handles.append(points)
        pull = _pull(test - train, array(check["test_uncertainty"]), array(check["train_uncertainty"]))
        lower.plot(centres, pull, "o", color=colour, markersize=3)
    lower.lines[0].set_ydata([0, 0])
    axes.set_xlim(edges[0], edges[-1])
    headroom(axes, 1.55)
    axes.set_ylabel("probability density")
    legend(axes, handles, loc="upper left")
    lower.axhspan(-2, 2, color="#888888", alpha=0.12, linewidth=0)
    lower.set_ylim(-4.5, 4.5)
    lower.set_ylabel("pull", loc="center")
    lower.set_xlabel(axis_label(f"output of {data['model']}"))
    watermark(axes)


def _pull(difference: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    error = np.hypot(first, second)
    return np.asarray(np.divide(difference, error, out=np.full_like(error, np.nan), where=error > 0))


def cut_efficiencies(
    model: str, curve: Curve, *, signal: float, background: float, background_uncertainty: float = 0.0
) -> Plot:
    """Efficiencies and S/√(B + σ_B²B²) against the cut on the output, with the optimal cut marked.

    ``signal`` and ``background`` are the expected yields before the cut, ``background_uncertainty`` is relative. The
    optimum is sought only where ε_B is known to 30 % or better.
    """
    arrays = curve_data(curve)
    yields = {"signal": signal, "background": background, "background_uncertainty": background_uncertainty}
    s = signal * arrays["signal_efficiency"]
    bands = {
        name: significance(s, background * arrays[f"background_efficiency{edge}"], background_uncertainty)
        for name, edge in (("significance", ""), ("significance_low", "_high"), ("significance_high", "_low"))
    }
    best = _optimal(arrays, bands["significance"])
    where = "" if best is None else f" The line marks the optimal cut, {arrays['threshold'][best]:.3g}."
    return Plot(
        name=f"cuts-{file_stem(model)}",
        title=f"Cut efficiencies and optimal cut: {model}",
        caption=f"Expected before the cut: S = {signal:g}, B = {background:g} with a relative uncertainty of "
        f"{background_uncertainty:g}; bands are 68 % intervals.{where}",
        data={"model": model, "expected": yields, **arrays, **bands, "optimal_point": best},
        draw=_draw_cuts,
        size=(5.6, 5.4),
    )


def _optimal(arrays: Mapping[str, NDArray[Any]], z: NDArray[Any]) -> int | None:
    b = arrays["background_efficiency"]
    half_band = (arrays["background_efficiency_high"] - arrays["background_efficiency_low"]) / 2
    candidates = np.where((b > 0) & ~(half_band > RELIABLE * b) & np.isfinite(arrays["threshold"]), z, np.nan)
    return None if np.isnan(candidates).all() else int(np.nanargmax(candidates))


def _draw_cuts(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    arrays = {
        name: array(data[name]) for name in (*CURVE_ARRAYS, "significance", "significance_low", "significance_high")
    }
    order = np.argsort(arrays["threshold"], kind="stable")
    x = arrays["threshold"][order]
    (first,) = axes.plot(x, arrays["signal_efficiency"][order], color=SIGNAL_COLOUR, label="signal efficiency")
    _banded(axes, x, arrays, "background_efficiency", order, BACKGROUND_COLOUR)
    second = Line2D([], [], color=BACKGROUND_COLOUR, linestyle="--", label="background efficiency")
    _banded(lower, x, arrays, "significance", order, "#832db6")
    axes.set_ylim(0, 1.25)
    handles = [first, second]
    if data["optimal_point"] is not None:
        cut = arrays["threshold"][data["optimal_point"]]
        for panel in (axes, lower):
            panel.axvline(cut, color="#333333", linewidth=1.0, linestyle=":")
        handles.append(Line2D([], [], color="#333333", linewidth=1.0, linestyle=":", label=f"optimal cut at {cut:.3g}"))
    axes.set_ylabel("efficiency")
    legend(axes, handles, loc="upper right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.9)
    known = arrays["significance"][np.isfinite(arrays["significance"])]
    lower.set_ylim(0.0, 1.45 * (known.max() if len(known) and known.max() > 0 else 1.0))  # the band may go far beyond
    lower.set_ylabel("S / √(B + σ²B²)")
    lower.set_xlabel(axis_label(f"cut on the output of {data['model']}"))
    watermark(axes)


def _banded(
    axes: Axes, x: NDArray[Any], arrays: Mapping[str, NDArray[Any]], name: str, order: NDArray[Any], colour: str
) -> None:
    dashes = "--" if name == "background_efficiency" else "-"
    axes.plot(x, arrays[name][order], color=colour, linestyle=dashes)
    axes.fill_between(
        x, arrays[f"{name}_low"][order], arrays[f"{name}_high"][order], color=colour, alpha=0.25, linewidth=0
    )
