"""The report of the flow ``grid-inference``: what each form of each model costs on one core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fivesigma.evaluate.measurement import Measurement
from fivesigma.report.blocks import Cell, Gallery, Section, Table, Text
from fivesigma.report.figures.drawing import array
from fivesigma.report.page import write_report
from fivesigma.report.plot import Plot
from fivesigma.report.style import line_style, plain
from fivesigma.studies.definition import FlowWords

TITLES = {
    "microseconds_per_event": "reading, scoring, writing [µs/event]",
    "events_per_cpu_second": "events per CPU-second",
    "start_cpu_seconds": "before the first event [CPU s]",
    "peak_memory_mb": "peak memory, large file [MB]",
    "memory_growth_mb": "− peak memory, small file [MB]",
    "largest_difference": "largest difference of scores",
}
NOTE = (
    "Each number is the mean of {repeats} runs of the command on one core, its uncertainty their standard deviation / "
    "√{repeats}. The large file has {growth} times the entries of the small one; the time per event is the difference of "
    "the two. Every friend tree had the entries of its input in their order. The fitted run scores every event by the model "
    "of its own fold, and loads those of all; an export is one of these."
)


def write_grid_inference_report(
    path: Path, words: FlowWords, measured: Mapping[str, Mapping[str, Measurement]], provenance: Mapping[str, Any]
) -> Path:
    """Write the page with its figure."""
    settings = words.model_dump(mode="json")
    note = NOTE.format(repeats=settings["repeats"], growth=settings["growth"])
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(metrics.get(metric) for metric in TITLES)) for name, metrics in measured.items()
    )
    table = Table("One core, from ROOT to ROOT", ("model, form", *TITLES.values()), rows, (note,))
    section = Section("Inference on one core", "inference", (Text(words.title), table, Gallery((rates(measured),))))
    return write_report(path, words.title, [section], {**provenance, "study": settings}, subtitle="")


def rates(measured: Mapping[str, Mapping[str, Measurement]]) -> Plot:
    """Events per CPU-second of every form of every model."""
    found = {name: metrics["events_per_cpu_second"] for name, metrics in measured.items()}
    return Plot(
        name="events-per-cpu-second",
        title="Events per CPU-second",
        caption="From ROOT to ROOT on one core, without the start of the job. Bars: spread between runs.",
        data={
            "names": list(found),
            "values": [m.value for m in found.values()],
            "uncertainties": [m.uncertainty for m in found.values()],
        },
        draw=_draw_rates,
        size=(7.6, 0.9 + 0.36 * len(found)),
    )


def _draw_rates(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    names: Sequence[str] = data["names"]
    at = len(names) - 1 - np.arange(len(names))
    look = line_style(0)
    axes.errorbar(array(data["values"]), at, xerr=array(data["uncertainties"]), fmt="o", color=look.color)
    axes.set_yticks(at, [plain(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xscale("log")
    axes.set_xlabel("events per CPU-second")
    axes.grid(axis="x", alpha=0.3)
    axes.minorticks_off()
