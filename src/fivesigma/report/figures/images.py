"""Figures of jet images: averages, differences, filters, what activates a node, correlation with the output.

Images are arrays of shape (φ, η): rows rise in φ, columns in η, as `fivesigma.features` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from fivesigma.report.figures.drawing import array
from fivesigma.report.plot import Plot, file_stem
from fivesigma.report.style import DIVERGING, SEQUENTIAL, plain, watermark

ETA_LABEL, PHI_LABEL = "η (translated, rotated)", "φ (translated, rotated)"
DECADES = 5.0
"""Decades of intensity that the logarithmic scale shows below the brightest pixel."""


def average_images(
    images: Mapping[str, ArrayLike], extent: float, *, name: str = "average-images", intensity: str = "pt [GeV]"
) -> Plot:
    """Average images side by side on one logarithmic scale, such as ``{"signal": …, "background": …}``.

    Each image is of shape (φ, η) over −extent … extent. Pixels that are zero or negative take the lowest colour.
    """
    return Plot(
        name=name,
        title="Average jet images",
        caption=f"Mean of each pixel, {' and '.join(images)}; one logarithmic scale over five decades.",
        data={"images": dict(images), "extent": extent, "intensity": intensity},
        draw=_draw_averages,
        size=(4.3 * len(images) + 0.9, 4.3),
    )


def _draw_averages(figure: Figure, data: Mapping[str, Any]) -> None:
    pictures = {title: array(image) for title, image in data["images"].items()}
    top = max((float(np.nanmax(p)) for p in pictures.values()), default=1.0)
    top = top if top > 0 else 1.0
    bottom = top / 10**DECADES
    norm = LogNorm(bottom, top, clip=True)
    panels = figure.subplots(1, len(pictures), sharey=True, squeeze=False)[0]
    for axes, (title, picture) in zip(panels, pictures.items(), strict=True):
        lit = np.where(picture > bottom, picture, bottom)
        drawn = _draw_image(axes, lit, data["extent"], norm=norm, cmap=SEQUENTIAL)
        axes.set_title(plain(title), loc="right", fontsize=11)
        axes.set_xlabel(ETA_LABEL)
    panels[0].set_ylabel(PHI_LABEL)
    figure.colorbar(drawn, ax=panels, label=plain(f"mean {data['intensity']} per pixel"), shrink=0.92, pad=0.02)
    watermark(panels[0])


def _draw_image(axes: Axes, image: NDArray[Any], extent: float, **options: Any) -> AxesImage:
    box = (-extent, extent, -extent, extent)
    axes.tick_params(which="both", direction="out", top=False, right=False)
    return axes.imshow(image, origin="lower", extent=box, interpolation="none", **options)


def image_difference(
    difference: ArrayLike,
    extent: float,
    *,
    name: str = "image-difference",
    title: str = "Difference of the average images",
    caption: str = "Average signal minus average background image; colours are centred at zero.",
    scale: str = "signal − background [GeV]",
) -> Plot:
    """A signed image (φ, η) on a diverging scale centred at zero."""
    return Plot(
        name=name,
        title=title,
        caption=caption,
        data={"image": difference, "extent": extent, "scale": scale},
        draw=_draw_difference,
        size=(5.4, 4.3),
    )


def _draw_difference(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    picture = array(data["image"])
    drawn = _draw_image(axes, picture, data["extent"], cmap=DIVERGING, **_centred(picture))
    axes.set_xlabel(ETA_LABEL)
    axes.set_ylabel(PHI_LABEL)
    figure.colorbar(drawn, ax=axes, label=plain(data["scale"]), shrink=0.95, pad=0.02)
    watermark(axes)


def _centred(values: NDArray[Any]) -> dict[str, float]:
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    return {"vmin": -largest, "vmax": largest}


def first_layer_filters(model: str, filters: ArrayLike, *, columns: int = 8) -> Plot:
    """The filters of a network's first layer, shape (filter, row, column), each on its own scale centred at zero."""
    images = np.asarray(filters, dtype=float)
    return _grid(
        f"filters-{file_stem(model)}",
        f"First-layer filters: {model}",
        "Each filter on its own diverging scale centred at zero (blue negative, red positive).",
        images,
        columns,
    )


def convolved_differences(model: str, differences: ArrayLike, *, columns: int = 8) -> Plot:
    """Average signal minus average background image after each first-layer filter, shape (filter, φ, η)."""
    images = np.asarray(differences, dtype=float)
    return _grid(
        f"convolved-{file_stem(model)}",
        f"Convolved differences: {model}",
        "Average signal image minus average background image, each convolved with a first-layer filter: red where "
        "signal activates the filter more, blue where background does. Each on its own scale.",
        images,
        columns,
    )


def _grid(name: str, title: str, caption: str, images: NDArray[Any], columns: int) -> Plot:
    rows = math.ceil(len(images) / columns)
    return Plot(
        name=name,
        title=title,
        caption=caption,
        data={"images": images, "columns": columns},
        draw=_draw_grid,
        size=(1.12 * columns, 1.12 * rows + 0.15),
    )


def _draw_grid(figure: Figure, data: Mapping[str, Any]) -> None:
    images = [image / _centred(image)["vmax"] for image in map(array, data["images"])]
    axes = figure.add_subplot()
    rows = [images[i : i + data["columns"]] for i in range(0, len(images), data["columns"])]
    _draw_mosaic(axes, rows, cmap=DIVERGING, vmin=-1, vmax=1)


def _draw_mosaic(axes: Axes, rows: Sequence[Sequence[NDArray[Any]]], **options: Any) -> None:
    """Equal images in rows, the first row on top, as one picture: hundreds of axes would take seconds to lay out."""
    height, width = rows[0][0].shape
    gap = max(1, width // 12)
    columns = max(map(len, rows))
    mosaic = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for r, row in enumerate(rows):
        bottom = (len(rows) - 1 - r) * (height + gap)
        for c, image in enumerate(row):
            mosaic[bottom : bottom + height, c * (width + gap) : c * (width + gap) + width] = image
    axes.imshow(mosaic, origin="lower", interpolation="none", **options)
    axes.set_facecolor("#c8c8c8")
    axes.tick_params(which="both", length=0)
    axes.set_xticks([])
    axes.set_yticks([(len(rows) - 1 - r) * (height + gap) + height / 2 for r in range(len(rows))], [""] * len(rows))
    axes.minorticks_off()
    axes.spines[:].set_visible(False)


def most_activating_images(
    model: str, nodes: Mapping[str, Sequence[ArrayLike]], *, layer: str = "the last hidden layer", caption: str = ""
) -> Plot:
    """Rows of images that activate nodes most; logarithmic scale.

    ``nodes`` maps a row's label, such as ``"node 3 (87 % signal)"``, to images of shape (φ, η): a node's images, the
    strongest on the left, or with a ``caption`` that says so something else, such as the averages of several nodes.
    """
    most = max((len(images) for images in nodes.values()), default=1)
    return Plot(
        name=f"most-activating-{file_stem(model)}",
        title=f"Most activating images: {model}",
        caption=caption
        or f"Jets that activate nodes of {layer} most, the strongest on the left; each on its own logarithmic scale.",
        data={"nodes": {label: list(images) for label, images in nodes.items()}, "layer": layer},
        draw=_draw_activating,
        size=(1.05 * most + 1.9, 1.08 * max(len(nodes), 1) + 0.15),
    )


def _draw_activating(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    nodes = data["nodes"]
    _draw_mosaic(axes, [[_log_scaled(array(i)) for i in images] for images in nodes.values()], cmap=SEQUENTIAL)
    axes.set_yticklabels([plain(label, longest=30) for label in nodes])


def _log_scaled(image: NDArray[Any], decades: float = 4.0) -> NDArray[Any]:
    """0…1 over the decades below the brightest pixel."""
    top = float(np.nanmax(image))
    relative = np.maximum(image / (top if top > 0 else 1.0), 10**-decades)
    return np.asarray(1 + np.log10(relative) / decades)


def pixel_correlations(images: Mapping[str, ArrayLike], extent: float, *, name: str = "pixel-correlations") -> Plot:
    """Linear correlation of each pixel with a model's output, one panel per entry (a model, or a phase space).

    Each image is of shape (φ, η) with coefficients −1…1; pixels that never vary may be NaN and stay grey. All panels
    share one scale centred at zero.
    """
    columns = min(len(images), 3)
    rows = math.ceil(len(images) / columns)
    return Plot(
        name=name,
        title="Correlation of pixels with the output",
        caption="Pearson correlation of each pixel's intensity with the output: red where more intensity means more "
        "signal-like. Grey pixels never vary.",
        data={"images": dict(images), "extent": extent},
        draw=_draw_pixel_correlations,
        size=(3.5 * columns + 1.0, 3.5 * rows + 0.2),
    )


def _draw_pixel_correlations(figure: Figure, data: Mapping[str, Any]) -> None:
    pictures = {title: array(image) for title, image in data["images"].items()}
    columns = min(len(pictures), 3)
    grid = figure.subplots(math.ceil(len(pictures) / columns), columns, squeeze=False, sharex=True, sharey=True)
    scale = _centred(np.concatenate([p.ravel() for p in pictures.values()]))
    panels = list(grid.flat)
    for axes, (title, picture) in zip(panels, pictures.items(), strict=False):
        axes.set_facecolor("#dddddd")
        drawn = _draw_image(axes, picture, data["extent"], cmap=DIVERGING, **scale)
        axes.set_title(plain(title, longest=34), loc="right", fontsize=10.5)
    for axes in panels[len(pictures) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel(ETA_LABEL)
    for axes in grid[:, 0]:
        axes.set_ylabel(PHI_LABEL)
    figure.colorbar(drawn, ax=grid, label="correlation with the output", shrink=0.9, pad=0.02)
