"""All that is seen inside a study's models, in one call and one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import UnknownNameError
from fivesigma.core.progress import progress
from fivesigma.core.registry import unknown_name
from fivesigma.explain.average_image import AverageImages, average_images
from fivesigma.explain.conditional import ConditionalDistribution, conditional_distribution
from fivesigma.explain.convolved_difference import ConvolvedDifference, convolved_difference
from fivesigma.explain.correlation import (
    LinearCorrelations,
    PixelCorrelation,
    linear_correlations,
    pixel_correlation,
)
from fivesigma.explain.most_activating import MostActivatingImages, most_activating_images
from fivesigma.explain.permutation_importance import PermutationImportance, permutation_importance

FEWEST_IN_WINDOW = 50
"""Events below which a window's pixel correlations (of 1/√n and more by chance alone) show nothing but noise."""


class FittedFeatures(Protocol):
    """What is asked of features: columns to arrays."""

    def transform(self, columns: Mapping[str, Any]) -> NDArray[Any]:
        """(event, …)."""


@dataclass(frozen=True, eq=False)
class ModelInsight:
    """One model; what does not apply to its kind is empty."""

    pixel_correlation: tuple[PixelCorrelation, ...]  # all events, then each window with enough of them
    conditional: Mapping[str, ConditionalDistribution]  # by variable
    filters: ConvolvedDifference | None
    most_activating: MostActivatingImages | None
    importance: PermutationImportance | None

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "pixel_correlation": [image.to_json() for image in self.pixel_correlation],
            "conditional": {name: found.to_json() for name, found in self.conditional.items()},
            "filters": None if self.filters is None else self.filters.to_json(),
            "most_activating": None if self.most_activating is None else self.most_activating.to_json(),
            "importance": None if self.importance is None else self.importance.to_json(),
        }


@dataclass(frozen=True, eq=False)
class Insight:
    """All models that were looked into, the average images they see, and how the variables correlate."""

    average_images: tuple[AverageImages, ...]  # empty without a model on images
    models: Mapping[str, ModelInsight]
    correlations: Mapping[str, LinearCorrelations]  # "signal" and "background"; empty without variables

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "average_images": [average.to_json() for average in self.average_images],
            "models": {name: model.to_json() for name, model in self.models.items()},
            "correlations": {name: found.to_json() for name, found in self.correlations.items()},
        }


def look_inside(
    models: Mapping[str, tuple[FittedFeatures | None, Any]],
    *,
    columns: Mapping[str, Any],
    y: ArrayLike,
    weight: ArrayLike,
    event: ArrayLike,
    scores: Mapping[str, ArrayLike] | None = None,
    unseen: ArrayLike | None = None,
    variables: Sequence[str] = (),
    windows: Mapping[str, NDArray[np.bool_]] | None = None,
    n_images: int = 500,
    seed: int = 0,
) -> Insight:
    """Look inside fitted models.

    Correlations and conditional distributions are of ``scores`` and all events; what needs the model itself (activations,
    importance by permutation) is of the events that it has not seen.

    Parameters
    ----------
    models : name → fitted features and fitted estimator.
    columns : name → flat or jagged column of these events.
    y, weight, event : (event,) labels, signed weights, identities.
    scores : name → out-of-fold score (event,); what the models predict if left out.
    unseen : (event,) bool, what these models were not trained on; all events if left out.
    variables : names of flat columns that the outputs are compared with.
    windows : description → mask (event,), the restricted phase spaces.
    n_images : for each node, how many of the most activating images are averaged.
    """
    labels, weights, regions = np.asarray(y), np.asarray(weight, dtype=np.float64), dict(windows or {})
    judged = {name: np.asarray(_column(columns, name), dtype=np.float64) for name in variables}
    averages: tuple[AverageImages, ...] = ()
    found: dict[str, ModelInsight] = {}
    judged_scores: dict[str, NDArray[Any]] = {}
    new = np.ones(len(labels), dtype=bool) if unseen is None else np.asarray(unseen, dtype=bool)
    with progress(len(models), "looking inside", unit="models") as advance:
        for name, (features, estimator) in models.items():
            X = _inputs(name, features, columns)
            score = np.asarray(scores[name] if scores else estimator.predict_proba(X)[:, 1], dtype=np.float64)
            judged_scores[name] = score
            conditional = {
                variable: conditional_distribution(
                    score, values, labels, weights, bins=_central_edges(values), name=variable
                )
                for variable, values in judged.items()
            }
            if X.ndim == 3:
                averages = averages or average_images(X, labels, weights, windows=regions)
                found[name] = _image_model(estimator, X, score, labels, weights, new, regions, conditional, n_images)
            else:
                names = getattr(features, "inputs", None)
                importance = permutation_importance(
                    estimator, X[new], labels[new], weights[new], np.asarray(event)[new], features=names, seed=seed
                )
                found[name] = ModelInsight((), conditional, None, None, importance)
            advance(1)
    correlations = {
        label: linear_correlations(judged | judged_scores, weights, mask=labels == value, description=label)
        for label, value in (("signal", 1), ("background", 0))
        if judged or judged_scores
    }
    return Insight(averages, found, correlations)


def _image_model(
    estimator: Any,
    images: NDArray[Any],
    score: NDArray[np.float64],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    unseen: NDArray[np.bool_],
    regions: Mapping[str, NDArray[np.bool_]],
    conditional: Mapping[str, ConditionalDistribution],
    n_images: int,
) -> ModelInsight:
    enough = {k: m for k, m in regions.items() if m.sum() >= FEWEST_IN_WINDOW and weight[m].sum() > 0}
    correlations = [pixel_correlation(images, score, weight)]
    correlations += [pixel_correlation(images, score, weight, mask=m, description=k) for k, m in enough.items()]
    if not hasattr(estimator, "layer_output"):  # Fisher, trees: no layers to look into
        return ModelInsight(tuple(correlations), conditional, None, None, None)
    filters = convolved_difference(estimator.first_layer_filters(), images, y, weight)
    last_hidden = estimator.layer_names[-2]
    activating = most_activating_images(estimator, images[unseen], last_hidden, n_images, y=y[unseen])
    return ModelInsight(tuple(correlations), conditional, filters, activating, None)


def _inputs(name: str, features: FittedFeatures | None, columns: Mapping[str, Any]) -> NDArray[Any]:
    if features is None:
        raise UnknownNameError(f"{name} combines other models' scores and has no features of its own to look into")
    return np.asarray(features.transform(columns))


def _column(columns: Mapping[str, Any], name: str) -> Any:
    if name not in columns:
        raise UnknownNameError(unknown_name("column", name, columns))
    return columns[name]


def _central_edges(values: NDArray[np.float64], bins: int = 25) -> NDArray[np.float64]:
    """Equal slices over the central 99 %: a few far values would leave all others in one slice."""
    low, high = np.quantile(values, [0.005, 0.995])
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)
