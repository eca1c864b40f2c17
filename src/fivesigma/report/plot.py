"""A plot: what it shows as data, how it is drawn from those data, and the files it is saved as."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from matplotlib.figure import Figure

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import atomic_path, write_json
from fivesigma.core.progress import Advance, progress
from fivesigma.report.style import figure_style

FORMATS = ("svg", "pdf", "png")
FEWEST_FOR_PROCESSES = 8  # starting a process costs as much as drawing a few figures
LAYOUT_PASSES = 2
"""Titles over images of fixed aspect are in place only in the second pass of matplotlib's constrained layout."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_+.-]{0,99}")
# Dates and program versions would make equal figures differ.
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "ModDate": None},
    "png": {"Software": None},
}


def json_able(value: Any) -> Any:
    """Plain JSON content from numpy arrays, numbers, mappings and sequences; what is not finite becomes None.

    >>> json_able({"x": np.array([1.0, np.inf]), "n": np.int64(2)})
    {'x': [1.0, None], 'n': 2}
    """
    match value:
        case None | bool() | str() | int():
            return value
        case np.ndarray() | np.generic():
            return json_able(value.tolist())
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(k): json_able(v) for k, v in value.items()}
        case Iterable():
            return [json_able(v) for v in value]
    raise TypeError(f"cannot write a {type(value).__name__} into a figure's data: {value!r}")


def file_stem(text: object) -> str:
    """A file name from any text: what is safe is kept, and a digest tells apart what would become equal.

    >>> file_stem("mass+tau21"), file_stem("a b"), file_stem("a/b") == file_stem("a b")
    ('mass+tau21', 'a-b-8044f8', False)
    """
    name = str(text)
    slug = re.sub(r"[^a-z0-9_+]+", "-", name.lower()).strip("-_+")[:60]
    if slug and slug == name:
        return slug
    return f"{slug or 'name'}-{xxhash.xxh3_64_hexdigest(name.encode('utf-8', 'surrogatepass'))[:6]}"


@dataclass(frozen=True)
class Plot:
    """One figure of the report, drawn from nothing but its own data.

    ``data`` is what is saved as JSON beside the picture: numpy arrays are turned into lists on the way in, values that
    are not finite into None. ``draw(figure, data)`` gets an empty matplotlib figure and exactly those data.

    Parameters
    ----------
    name
        file stem: lower-case letters, digits and ``- _ + .`` (see `file_stem`)
    title, caption
        the heading and the sentence under the picture; any text
    data
        everything that is drawn
    draw
        draws the data into the figure
    size
        width and height in inches
    alt
        what someone who cannot see the picture reads; the title and caption where it is empty

    Raises
    ------
    ConfigError
        if the name cannot be a file stem.
    """

    name: str
    title: str
    caption: str
    data: Mapping[str, Any]
    draw: Callable[[Figure, Mapping[str, Any]], None]
    size: tuple[float, float] = (5.6, 4.4)
    alt: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{self.name!r} cannot name a figure's file; use fivesigma.report.file_stem")
        object.__setattr__(self, "data", json_able(self.data))

    @property
    def text_alternative(self) -> str:
        """The alt text: ``alt``, or the title with the caption."""
        return self.alt or f"{self.title}. {self.caption}".strip()

    def content(self) -> dict[str, Any]:
        """What the JSON file beside the picture holds."""
        return {"name": self.name, "title": self.title, "caption": self.caption, "data": self.data}


@dataclass(frozen=True)
class PlotFiles:
    """The files of one saved plot."""

    svg: Path
    pdf: Path
    png: Path
    json: Path


def picture(plot: Plot) -> dict[str, bytes]:
    """The plot as SVG, PDF and PNG bytes; the same data give the same bytes."""
    pictures = {}
    with figure_style():
        figure = Figure(figsize=plot.size, layout="constrained")
        plot.draw(figure, plot.data)
        _lay_out(figure)
        for form in FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, metadata=_METADATA[form])
            pictures[form] = buffer.getvalue()
    return pictures


def _lay_out(figure: Figure) -> None:
    """Find the layout once: matplotlib would find it again for each format, and draw everything once more to do so."""
    engine = figure.get_layout_engine()
    for _ in range(LAYOUT_PASSES):
        if engine is not None and figure.axes:
            engine.execute(figure)
    figure.set_layout_engine(None)


def save_plot(plot: Plot, folder: Path) -> PlotFiles:
    """Write ``<name>.svg``, ``.pdf``, ``.png`` and ``.json`` (the data drawn) into a folder.

    Raises
    ------
    OutputError
        if the folder cannot be written to.
    """
    files = PlotFiles(*(folder / f"{plot.name}.{form}" for form in (*FORMATS, "json")))
    for form, content in picture(plot).items():
        with atomic_path(folder / f"{plot.name}.{form}") as temporary:
            temporary.write_bytes(content)
    write_json(files.json, plot.content())
    return files


def save_plots(plots: Sequence[Plot], folder: Path, workers: int = 1) -> dict[str, PlotFiles]:
    """Save several plots, ``workers`` at a time in processes of their own; the files by the plots' names."""
    with progress(len(plots), "drawing", unit="figures") as advance:
        if workers == 1 or len(plots) < FEWEST_FOR_PROCESSES:
            return {plot.name: _save_and_advance(plot, folder, advance) for plot in plots}
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            futures = {plot.name: pool.submit(save_plot, plot, folder) for plot in plots}
            for future in as_completed(futures.values()):
                future.result()
                advance(1)
        return {name: future.result() for name, future in futures.items()}


def _save_and_advance(plot: Plot, folder: Path, advance: Advance) -> PlotFiles:
    files = save_plot(plot, folder)
    advance(1)
    return files
