"""Figure of the calibration: is an output of 0.7 right 70 % of the time?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot
from fivesigma.report.style import line_style, plain, watermark

if TYPE_CHECKING:
    from fivesigma.evaluate.calibration import Calibration

ARRAYS = ("edges", "predicted", "observed", "observed_low", "observed_high", "fraction")


def reliability(models: Mapping[str, Calibration], *, name: str = "calibration") -> Plot:
    """Observed signal fraction against the predicted one, and below it how the predictions are spread."""
    return Plot(
        name=name,
        title="Calibration",
        caption="Observed signal fraction in bins of the predicted one, with 68 % intervals; a calibrated model lies "
        "on the diagonal. Below: how the sum of weights is spread over the predictions.",
        data={"models": {model: {a: getattr(c, a) for a in ARRAYS} for model, c in models.items()}},
        draw=_draw_reliability,
        size=(8.0, 5.4),
    )


def _draw_reliability(figure: Figure, data: Mapping[str, Any]) -> None:
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.9, linestyle=":")
    for index, (name, model) in enumerate(data["models"].items()):
        look = line_style(index)
        x, y = array(model["predicted"]), array(model["observed"])
        errors = np.abs(np.stack([y - array(model["observed_low"]), array(model["observed_high"]) - y]))
        axes.errorbar(
            x, y, errors, fmt=look.marker, linestyle=look.linestyle, linewidth=1.0, color=look.color,
            label=plain(name, longest=24),
        )  # fmt: skip
        lower.stairs(array(model["fraction"]), array(model["edges"]), color=look.color, linestyle=look.linestyle)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("observed signal fraction")
    lower.set_ylim(bottom=0.0)
    lower.set_ylabel("share", loc="center")
    lower.set_xlabel("predicted signal probability")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    watermark(axes)
