"""Figures of what goes in: input variables, their linear correlations, and the closure of the reweighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fivesigma.report.figures.drawing import array, draw_steps, headroom, legend, two_panels
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import (
    BACKGROUND_COLOUR,
    BACKGROUND_LABEL,
    DIVERGING,
    SIGNAL_COLOUR,
    SIGNAL_LABEL,
    axis_label,
    plain,
    watermark,
)

OUTSIDE = 0.003
"""Share of the events that may lie beyond each end of an axis whose limits are found from the data."""


def input_variable(
    variable: str,
    values: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    label: str | None = None,
    unit: str | None = None,
    bins: int = 40,
    limits: tuple[float, float] | None = None,
) -> Plot:
    """Signal and background in one variable, each normalised to one, with statistical uncertainties √Σw².

    Parameters
    ----------
    variable
        the column's name; also names the file
    values, y, weight
        shape (row,); ``y`` is 1 for signal; values that are not finite are left out and counted in the caption
    label, unit
        of the axis
    limits
        of the axis; by default they leave out at most 0.3 % of the events at each end
    """
    x, signal = np.asarray(values, dtype=float), np.asarray(y) == 1
    w = np.ones(len(x)) if weight is None else np.asarray(weight, dtype=float)
    finite = np.isfinite(x)
    edges = _edges(x[finite], bins, limits)
    classes = {
        name: _fractions(x[finite & chosen], w[finite & chosen], edges)
        for name, chosen in (("signal", signal), ("background", ~signal))
    }
    outside = int(np.sum(finite & ((x < edges[0]) | (x > edges[-1]))))
    notes = [f"{outside} of {len(x)} events lie outside the axis" if outside else ""]
    notes.append(f"{int(np.sum(~finite))} values are not finite and left out" if not finite.all() else "")
    return Plot(
        name=f"input-{file_stem(variable)}",
        title=f"Input variable {variable}",
        caption=". ".join(["Each class normalised to one; bars are statistical (√Σw²)", *(n for n in notes if n)])
        + ".",
        data={"variable": variable, "label": label or variable, "unit": unit, "edges": edges, **classes},
        draw=_draw_input_variable,
    )


def _edges(x: NDArray[Any], bins: int, limits: tuple[float, float] | None) -> NDArray[Any]:
    if limits is None:
        limits = (0.0, 1.0) if not len(x) else tuple(np.quantile(x, [OUTSIDE, 1 - OUTSIDE]).tolist())
    low, high = limits
    integers = len(x) > 0 and np.array_equal(x, np.round(x)) and high - low <= bins
    if integers:  # one bin for each value: multiplicities must not beat against the bins
        return np.asarray(np.arange(np.floor(low), np.ceil(high) + 2) - 0.5)
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def _fractions(x: NDArray[Any], w: NDArray[Any], edges: NDArray[Any]) -> dict[str, NDArray[Any]]:
    sums, _ = np.histogram(x, edges, weights=w)
    squares, _ = np.histogram(x, edges, weights=w**2)
    total = float(w.sum()) or 1.0
    return {"fraction": sums / total, "uncertainty": np.sqrt(squares) / abs(total)}


def _draw_input_variable(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    edges = array(data["edges"])
    looks = (("background", BACKGROUND_LABEL, BACKGROUND_COLOUR), ("signal", SIGNAL_LABEL, SIGNAL_COLOUR))
    handles = [
        draw_steps(
            axes, edges, data[name]["fraction"], data[name]["uncertainty"], colour=colour, label=label,
            hatched=name == "background",
        )
        for name, label, colour in looks
    ]  # fmt: skip
    axes.set_xlim(edges[0], edges[-1])
    headroom(axes, 1.28)
    axes.set_xlabel(axis_label(data["label"], data["unit"]))
    axes.set_ylabel(_per_bin(edges[1] - edges[0], data["unit"]))
    legend(axes, handles[::-1], loc="upper right", ncols=2)
    watermark(axes)


def _per_bin(width: float, unit: str | None) -> str:
    size = f"{width:.3g} {unit}" if unit else f"{width:.3g}"
    return plain("fraction of events" if size == "1" else f"fraction of events / {size}")


def linear_correlations(columns: Mapping[str, ArrayLike], y: ArrayLike, weight: ArrayLike | None = None) -> Plot:
    """Weighted linear (Pearson) correlation coefficients between variables, for signal and for background, in percent.

    ``columns`` maps names to arrays of shape (row,). A coefficient of a variable that does not vary is undefined and is
    left blank.
    """
    names = list(columns)
    table = np.stack([np.asarray(columns[name], dtype=float) for name in names])
    signal = np.asarray(y) == 1
    w = np.ones(table.shape[1]) if weight is None else np.asarray(weight, dtype=float)
    side = max(3.2, 0.5 * len(names) + 1.2)
    return Plot(
        name="linear-correlations",
        title="Linear correlation coefficients",
        caption="Pearson coefficients of the weighted events in percent, signal and background.",
        data={
            "variables": names,
            "signal": _correlation(table[:, signal], w[signal]),
            "background": _correlation(table[:, ~signal], w[~signal]),
        },
        draw=_draw_correlations,
        size=(2 * side + 0.8, side),
    )


def _correlation(table: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    total = weight.sum()
    if not total > 0:
        return np.full((len(table), len(table)), np.nan)
    centred = table - (table @ weight / total)[:, None]
    covariance = (centred * weight) @ centred.T / total
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.outer(spread, spread)
    return np.asarray(np.divide(covariance, scale, out=np.full_like(covariance, np.nan), where=scale > 0))


def _draw_correlations(figure: Figure, data: Mapping[str, Any]) -> None:
    names = [plain(name, longest=18) for name in data["variables"]]
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("signal", "background"), strict=True):
        percent = 100 * array(data[kind])
        picture = axes.imshow(percent, cmap=DIVERGING, vmin=-100, vmax=100)
        for (row, column), value in np.ndenumerate(percent):
            if np.isfinite(value):
                colour = "white" if abs(value) > 65 else "black"
                shown = f"{value:.0f}".replace("-0", "0") if abs(value) < 0.5 else f"{value:.0f}".replace("-", "−")
                axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=10)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(which="both", length=0)
        axes.set_title(kind, loc="left")
    figure.colorbar(picture, ax=panels, label="correlation [%]", shrink=0.9, pad=0.02)


def reweighting_closure(
    variable: str,
    edges: ArrayLike,
    target: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    *,
    target_error: ArrayLike,
    before_error: ArrayLike,
    after_error: ArrayLike,
    target_label: str = "target",
    moved_label: str = "reweighted class",
    label: str | None = None,
    unit: str | None = None,
    note: str = "",
) -> Plot:
    """A variable before and after reweighting against the distribution it should have, and the ratio to it.

    Histograms are sums of weights in the bins of ``edges`` (bin + 1,) with their uncertainties √Σw², all of shape
    (bin,); each is drawn normalised to unit area.
    """
    widths = np.diff(np.asarray(edges, dtype=float))
    histograms = {
        name: _normalised(np.asarray(sums, dtype=float), np.asarray(error, dtype=float), widths)
        for name, sums, error in (
            ("target", target, target_error), ("before", before, before_error), ("after", after, after_error),
        )
    }  # fmt: skip
    return Plot(
        name=f"reweighting-{file_stem(variable)}",
        title=f"Reweighting closure in {variable}",
        caption=f"{moved_label} before and after reweighting against {target_label}; unit areas, bars √Σw². {note}",
        data={
            "variable": variable, "label": label or variable, "unit": unit, "edges": edges, **histograms,
            "target_label": target_label, "moved_label": moved_label,
        },
        draw=_draw_closure,
        size=(5.6, 5.0),
    )  # fmt: skip


def _normalised(sums: NDArray[Any], error: NDArray[Any], widths: NDArray[Any]) -> dict[str, NDArray[Any]]:
    norm = (sums.sum() or 1.0) * widths
    return {"density": sums / norm, "uncertainty": error / abs(norm)}


def _draw_closure(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = two_panels(figure)
    edges = array(data["edges"])
    target = array(data["target"]["density"])
    looks = (
        ("target", data["target_label"], BACKGROUND_COLOUR, True),
        ("before", f"{data['moved_label']}, before", "#717581", False),
        ("after", f"{data['moved_label']}, after", SIGNAL_COLOUR, False),
    )
    handles = []
    for name, label, colour, hatched in looks:
        density, error = array(data[name]["density"]), array(data[name]["uncertainty"])
        handles.append(draw_steps(axes, edges, density, error, colour=colour, label=plain(label), hatched=hatched))
        scale = np.divide(1.0, target, out=np.full_like(target, np.nan), where=target > 0)
        draw_steps(lower, edges, density * scale, error * scale, colour=colour, label=None, filled=False)
    axes.set_xlim(edges[0], edges[-1])
    headroom(axes, 1.4)
    axes.set_ylabel(plain(f"fraction of events per {data['unit'] or 'unit'}"))
    legend(axes, handles, loc="upper right")
    lower.set_ylim(*_around_one(array(data["before"]["density"]), array(data["after"]["density"]), target))
    lower.set_ylabel("ratio", loc="center")
    lower.set_xlabel(axis_label(data["label"], data["unit"]))
    watermark(axes)


def _around_one(before: NDArray[Any], after: NDArray[Any], target: NDArray[Any]) -> tuple[float, float]:
    filled = target > 0
    away = np.abs(np.concatenate([before[filled], after[filled]]) / np.tile(target[filled], 2) - 1)
    reach = float(np.clip(1.15 * away.max(initial=0.1), 0.15, 1.0))
    return 1 - reach, 1 + reach
