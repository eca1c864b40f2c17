"""Figures of what a model learned, for any model: its output against known variables, and what it leans on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fivesigma.report.blocks import Measured
from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import axis_label, plain, watermark


def conditional_distribution(
    model: str,
    variable: str,
    edges: ArrayLike,
    output_edges: ArrayLike,
    densities: Mapping[str, ArrayLike],
    *,
    label: str | None = None,
    unit: str | None = None,
) -> Plot:
    """The output's distribution given a variable: each column of the 2-D histogram is normalised to one.

    Parameters
    ----------
    edges, output_edges
        of shapes (column + 1,) and (row + 1,)
    densities
        a panel's title (such as ``"signal"``) to sums of weights of shape (column, row); normalised here, columns
        without a positive sum stay white
    """
    columns = {title: _per_column(np.asarray(d, dtype=float)) for title, d in densities.items()}
    return Plot(
        name=f"conditional-{file_stem(model)}-{file_stem(variable)}",
        title=f"Output of {model} given {variable}",
        caption="The output in bins of the variable, each column normalised to one; the line is its mean.",
        data={"model": model, "variable": variable, "label": label or variable, "unit": unit, "edges": edges,
              "output_edges": output_edges, "densities": columns},
        draw=_draw_conditional,
        size=(4.3 * len(columns) + 0.9, 4.0),
    )  # fmt: skip


def _per_column(sums: Any) -> Any:
    total = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def _draw_conditional(figure: Figure, data: Mapping[str, Any]) -> None:
    edges, rows = array(data["edges"]), array(data["output_edges"])
    panels = figure.subplots(1, len(data["densities"]), sharey=True, squeeze=False)[0]
    tables = {title: array(table) for title, table in data["densities"].items()}
    lit = np.concatenate([t[t > 0] for t in tables.values()])
    top = float(np.quantile(lit, 0.98)) if len(lit) else 1.0  # columns with a few events would set the scale
    for axes, (title, table) in zip(panels, tables.items(), strict=True):
        shown = np.ma.masked_where(~(table.T > 0), table.T)
        drawn = axes.pcolormesh(edges, rows, shown, cmap="viridis", vmin=0, vmax=top, rasterized=True)
        centres = (edges[:-1] + edges[1:]) / 2
        mean = table @ ((rows[:-1] + rows[1:]) / 2)
        axes.plot(centres, mean, color="white", linewidth=3.2)
        axes.plot(centres, mean, color="#bd1f01", linewidth=1.6)
        axes.set_title(plain(title), loc="right", fontsize=11)
        axes.set_xlabel(axis_label(data["label"], data["unit"]))
        axes.tick_params(which="both", direction="out", top=False, right=False)
    panels[0].set_ylabel(axis_label(f"output of {data['model']}"))
    figure.colorbar(drawn, ax=panels, label="share of the column", shrink=0.95, pad=0.02)
    watermark(panels[0])


def permutation_importance(model: str, importances: Mapping[str, Measured], *, metric: str = "AUC") -> Plot:
    """How much a metric falls when one variable is shuffled among events, with uncertainties, the largest on top."""
    order = sorted(importances, key=lambda name: importances[name].value)
    return Plot(
        name=f"importance-{file_stem(model)}",
        title=f"Permutation importance: {model}",
        caption=f"Loss of {metric} when one variable is shuffled among the events; correlated variables stand in for "
        "each other and then both look small.",
        data={
            "metric": metric,
            "variables": {n: {"loss": importances[n].value, "uncertainty": importances[n].uncertainty} for n in order},
        },
        draw=_draw_importance,
        size=(6.4, 1.1 + 0.34 * max(len(order), 3)),
    )


def _draw_importance(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    names = list(data["variables"])
    rows = np.arange(len(names))
    losses = array([data["variables"][n]["loss"] for n in names])
    errors = array([data["variables"][n]["uncertainty"] for n in names])
    axes.barh(rows, losses, height=0.62, color="#3f90da", alpha=0.3)
    axes.errorbar(losses, rows, xerr=errors, fmt="o", color="#1f5fa8", elinewidth=1.6)
    axes.axvline(0.0, color="#888888", linewidth=0.9)
    axes.set_yticks(rows, [plain(n, longest=28) for n in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel(plain(f"loss of {data['metric']} when shuffled"))
    watermark(axes)
