"""Strokes that several figures share: histograms with uncertainties, bands, two panels, legends that hide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mplhep
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray


def array(values: Any) -> NDArray[np.float64]:
    """A float array from a plot's JSON data; None becomes NaN."""
    return np.asarray(values, dtype=np.float64)


def draw_steps(
    axes: Axes,
    edges: NDArray[Any],
    heights: ArrayLike,
    errors: ArrayLike,
    *,
    colour: str,
    label: str | None,
    hatched: bool = False,
    filled: bool = True,
) -> Artist:
    """A histogram as steps with its uncertainty bars; hatched classes are told apart in print without colours."""
    values, uncertainty = array(heights), array(errors)
    if filled and hatched:
        mplhep.histplot(values, edges, ax=axes, histtype="fill", facecolor="none", edgecolor=colour, hatch="///",
                        linewidth=0, alpha=0.55)  # fmt: skip
    elif filled:
        mplhep.histplot(values, edges, ax=axes, histtype="fill", color=colour, alpha=0.18)
    mplhep.histplot(values, edges, ax=axes, histtype="step", yerr=False, color=colour, linewidth=1.5)
    centres = (edges[:-1] + edges[1:]) / 2
    axes.errorbar(centres, values, uncertainty, fmt="none", ecolor=colour, elinewidth=1.0)
    if hatched:
        return Patch(facecolor="none", edgecolor=colour, hatch="///", linewidth=1.5, label=label)
    return Patch(facecolor=(*_rgb(colour), 0.18), edgecolor=colour, linewidth=1.5, label=label)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def legend(axes: Axes, handles: Sequence[Artist], **options: Any) -> None:
    """A legend of exactly these handles."""
    axes.legend(list(handles), [str(handle.get_label()) for handle in handles], **options)


def headroom(axes: Axes, factor: float) -> None:
    """Start at zero (or below, where something is drawn below) and leave room for a legend above the highest point."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low) if low < -0.02 * high else 0.0, high * factor)


def two_panels(figure: Figure, ratio: float = 3.0) -> tuple[Axes, Axes]:
    """A main panel above a lower one with the same horizontal axis."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(ratio, 1))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    lower.axhline(1.0, color="#888888", linewidth=0.8, linestyle=":")
    return upper, lower
