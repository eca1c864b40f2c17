"""The parts of the report that show jet images and what models learned from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fivesigma.evaluate import Measurement
from fivesigma.explain import AverageImages, Insight, ModelInsight, MostActivatingImages
from fivesigma.report import figures
from fivesigma.report.blocks import Block, Gallery, Table, Text
from fivesigma.report.plot import Plot, file_stem

Label = Callable[[str], tuple[str, str | None]]
"""From a column's name to its name on axes and its unit."""

FILTERS_SHOWN = 16
NODES_SHOWN = 8


def jet_image_blocks(insight: Insight, extent: float, label: str) -> list[Block]:
    """Average images of both classes and their difference, for all events and in narrow windows."""
    if not insight.average_images:
        return []
    words = f"Each pixel is the weighted mean of its {label} after translation, rotation, re-gridding and flip."
    blocks: list[Block] = [Text(words)]
    for found in insight.average_images:
        if min(found.n_signal, found.n_background) == 0:
            blocks.append(Text(f"{found.description}: no events of one class, so no average."))
            continue
        blocks.append(Gallery(_average_plots(found, extent, label)))
    return blocks


def _average_plots(found: AverageImages, extent: float, label: str) -> tuple[Plot, Plot]:
    stem = file_stem(found.description)
    pictures = {
        f"signal ({found.n_signal:,} jets)": found.signal,
        f"background ({found.n_background:,} jets)": found.background,
    }
    averages = figures.average_images(pictures, extent, name=f"average-images-{stem}", intensity=label)
    caption = f"{found.description}: average signal minus average background image; colours are centred at zero."
    difference = figures.image_difference(
        found.difference,
        extent,
        name=f"image-difference-{stem}",
        title=f"Difference: {found.description}",
        caption=caption,
    )
    return averages, difference


def learned_blocks(insight: Insight, extent: float, label: Label) -> list[Block]:
    """For each model that was looked into: correlations, conditional distributions, filters, activations, importances."""
    blocks: list[Block] = []
    for name, model in insight.models.items():
        blocks += _model_blocks(name, model, extent, label)
    if insight.models:
        blocks.append(_correlation_table(insight))
    return blocks


def _model_blocks(name: str, model: ModelInsight, extent: float, label: Label) -> list[Block]:
    blocks: list[Block] = []
    if model.pixel_correlation:
        maps = {f"{found.description} ({found.n_events:,})": found.correlation for found in model.pixel_correlation}
        blocks.append(figures.pixel_correlations(maps, extent, name=f"pixel-correlations-{file_stem(name)}"))
    if model.filters is not None:
        chosen = slice(0, FILTERS_SHOWN)
        blocks.append(
            Gallery(
                (
                    figures.first_layer_filters(name, model.filters.filters[chosen]),
                    figures.convolved_differences(name, model.filters.difference[chosen]),
                )
            )
        )
    if model.most_activating is not None and len(model.most_activating.node):
        blocks.append(_activating_plot(name, model.most_activating))
    plots = []
    for variable, given in model.conditional.items():
        title, unit = label(variable)
        densities = {"signal": given.signal.T, "background": given.background.T}
        plots.append(
            figures.conditional_distribution(
                name, variable, given.edges, given.score_edges, densities, label=title, unit=unit
            )
        )
    if plots:
        blocks.append(Gallery(tuple(plots)))
    if model.importance is not None:
        found_importance = model.importance
        how = f"permutation, {found_importance.repeats} repeats, with the sample's uncertainty"
        values = {
            label(feature)[0]: Measurement(float(value), float(uncertainty), how)
            for feature, value, uncertainty in zip(
                found_importance.feature, found_importance.importance, found_importance.uncertainty, strict=True
            )
        }
        blocks.append(figures.permutation_importance(name, values))
    return blocks


def _activating_plot(name: str, found: MostActivatingImages) -> Plot:
    """The most signal-like nodes in one row, the most background-like in another."""
    order = np.argsort(-found.signal_fraction, kind="stable")
    shown = min(NODES_SHOWN, max(1, len(order) // 2))
    rows = {"like signal": order[:shown], "like background": order[-shown:]}
    nodes = {}
    for kind, chosen in rows.items():
        fractions = 100 * found.signal_fraction[chosen]
        nodes[f"{kind}: {fractions[0]:.0f}…{fractions[-1]:.0f} % signal"] = [found.average[i] for i in chosen]
    caption = (
        f"For nodes of {found.layer}, the average of the {found.n_images} images that activate each most, ordered by the share "
        f"of signal among them; each on its own logarithmic scale. {len(found.dead)} nodes put out the same for all."
    )
    return figures.most_activating_images(name, nodes, layer=found.layer, caption=caption)


def _correlation_table(insight: Insight) -> Table:
    """Linear correlation of each model's output with each variable, by class."""
    variables = list(next(iter(insight.models.values())).conditional)
    rows = []
    for name, model in insight.models.items():
        for kind in ("signal", "background"):
            cells = [
                Measurement(
                    getattr(model.conditional[v], f"{kind}_correlation"),
                    getattr(model.conditional[v], f"{kind}_correlation_uncertainty"),
                    "Fisher z",
                )
                for v in variables
            ]
            rows.append((name, kind, *cells))
    return Table("Linear correlation of the output with variables", ("model", "class", *variables), tuple(rows))
