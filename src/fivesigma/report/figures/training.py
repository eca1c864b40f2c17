"""Figure of the training: convergence of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot
from fivesigma.report.style import BACKGROUND_COLOUR, SIGNAL_COLOUR, plain, watermark

Dashes = Literal["-", "--", "-.", ":"]
Fold = Mapping[str, Sequence[float]]
LOSSES: tuple[tuple[str, str, str, Dashes], ...] = (
    ("train", "training", SIGNAL_COLOUR, "-"),
    ("validation", "validation", BACKGROUND_COLOUR, "--"),
)


def convergence(models: Mapping[str, Sequence[Fold]], *, loss: str = "loss", name: str = "convergence") -> Plot:
    """Training and validation loss by epoch: one panel a model, each fold faint, their mean bold.

    ``models`` maps each model to its folds; a fold has ``train`` and ``validation``, each of shape (epoch,). The mean
    goes as far as the longest fold, over the folds that reached that epoch. ``loss`` is the name on the axis.
    """
    rows = math.ceil(len(models) / 2)
    columns = min(len(models), 2)
    return Plot(
        name=name,
        title="Convergence",
        caption="Loss by epoch: training solid, validation dashed; folds faint, their mean bold.",
        data={"loss": loss, "models": {m: [dict(fold) for fold in folds] for m, folds in models.items()}},
        draw=_draw_convergence,
        size=(4.6 * columns + 0.4, 3.0 * rows + 0.5),
    )


def _draw_convergence(figure: Figure, data: Mapping[str, Any]) -> None:
    models = data["models"]
    columns = min(len(models), 2)
    grid = figure.subplots(math.ceil(len(models) / columns), columns, squeeze=False)
    panels = list(grid.flat)
    for axes, (name, folds) in zip(panels, models.items(), strict=False):
        _draw_model(axes, folds)
        axes.set_title(plain(name, longest=32), loc="right", fontsize=11)
        axes.set_xlabel("epoch")
        axes.set_ylabel(plain(data["loss"]))
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], color=c, linestyle=s, label=label, linewidth=2) for _, label, c, s in LOSSES]
    panels[0].legend(handles, [label for _, label, _, _ in LOSSES], loc="upper right")
    watermark(panels[0])


def _draw_model(axes: Axes, folds: Sequence[Fold]) -> None:
    for key, _, colour, dashes in LOSSES:
        losses = [array(fold[key]) for fold in folds if len(fold.get(key, ()))]
        for fold in losses:
            axes.plot(np.arange(1, len(fold) + 1), fold, color=colour, linestyle=dashes, linewidth=0.8, alpha=0.35)
        if losses:
            mean = _mean(losses)
            axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, linestyle=dashes, linewidth=2.0)


def _mean(losses: Sequence[NDArray[Any]]) -> NDArray[Any]:
    table = np.full((len(losses), max(map(len, losses))), np.nan)
    for row, loss in zip(table, losses, strict=True):
        row[: len(loss)] = loss
    known = np.isfinite(table)
    count = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, count, out=np.full(len(count), np.nan), where=count > 0))
