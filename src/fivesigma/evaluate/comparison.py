"""Several models on the same events: each with its uncertainties, and the differences with theirs, paired."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from fivesigma.core.errors import NoEventsError, UnknownNameError
from fivesigma.core.registry import unknown_name
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement
from fivesigma.evaluate.efficiency import efficiencies
from fivesigma.evaluate.measurement import Measurement, finite_or_none
from fivesigma.evaluate.metrics import DEFAULT_METRICS, Metric, metrics_named
from fivesigma.evaluate.roc import metric_replicas
from fivesigma.evaluate.scored_events import FloatVector, scored_events

T = TypeVar("T")


@dataclass(frozen=True)
class Difference:
    """``first`` minus ``second`` in one metric; the uncertainty is that of the paired replicas."""

    first: str
    second: str
    metric: str
    difference: Measurement
    n_sigma: float  # difference / uncertainty
    p_value: float  # two-sided, Gaussian

    def __str__(self) -> str:
        return f"{self.first} − {self.second}, {self.metric}: {self.difference} ({self.n_sigma:+.1f}σ)"

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            **self.difference.to_json(),
            "n_sigma": finite_or_none(self.n_sigma),
            "p_value": finite_or_none(self.p_value),
        }


@dataclass(frozen=True)
class Comparison:
    """All models in all metrics, and all pairs of models, on one set of events."""

    measurements: Mapping[str, Mapping[str, Measurement]]  # model → metric → value
    differences: tuple[Difference, ...]
    description: str
    n_signal: int
    n_background: int

    def measurement(self, model: str, metric: str) -> Measurement:
        """One number; unknown names list the known ones."""
        return _named("metric", metric, _named("model", model, self.measurements))

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """``first`` − ``second``, whichever way round the pair is kept."""
        for kept in self.differences:
            if kept.metric == metric and (kept.first, kept.second) == (first, second):
                return kept
            if kept.metric == metric and (kept.first, kept.second) == (second, first):
                return _reversed(kept)
        known = {f"{d.first} − {d.second}, {d.metric}" for d in self.differences}
        raise UnknownNameError(unknown_name("difference", f"{first} − {second}, {metric}", known))

    def ranking(self, metric: str) -> list[str]:
        """Model names, the best first; undefined values last."""
        values = {model: self.measurement(model, metric).value for model in self.measurements}
        return sorted(values, key=lambda model: -math.inf if math.isnan(values[model]) else values[model], reverse=True)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {
            "description": self.description,
            "n_signal": self.n_signal,
            "n_background": self.n_background,
            "measurements": {
                model: {metric: value.to_json() for metric, value in values.items()}
                for model, values in self.measurements.items()
            },
            "differences": [difference.to_json() for difference in self.differences],
        }


def compare(
    models: Mapping[str, ArrayLike],
    y: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    metrics: Iterable[str] = DEFAULT_METRICS,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
    *,
    mask: ArrayLike | None = None,
    description: str = "all events",
) -> Comparison:
    """Evaluate several models' scores on the same rows, with paired differences.

    Parameters
    ----------
    models : name → score (row,).
    y, weight, event : as in ``scored_events``.
    metrics : names of ``METRICS``.
    mask : (row,) bool, the rows to use: a restricted phase space, said in words in ``description``.

    Raises
    ------
    NoEventsError
        no models, or a class is empty where ``mask`` is true.
    UnknownNameError
        a metric that is not registered.
    """
    if not models:
        raise NoEventsError("no models to compare", remedy="give at least one name and its scores")
    wanted = metrics_named(metrics)
    samples = {name: scored_events(score, y, weight, event) for name, score in models.items()}
    if mask is not None:
        samples = {name: sample.select(np.asarray(mask), description) for name, sample in samples.items()}
    functions = tuple(metric.of for metric in wanted)
    replicas = metric_replicas(list(samples.values()), functions, n_replicas, seed)
    values = np.array([[of(curve) for of in functions] for curve in map(efficiencies, samples.values())])
    measurements = {
        name: {
            metric.name: bootstrap_measurement(float(values[m, i]), replicas[:, m, i])
            for i, metric in enumerate(wanted)
        }
        for m, name in enumerate(samples)
    }
    differences = tuple(_differences(tuple(samples), wanted, values, replicas))
    events = next(iter(samples.values()))
    n_signal = int(events.signal.sum())
    return Comparison(measurements, differences, description, n_signal, len(events) - n_signal)


def _differences(
    names: tuple[str, ...], metrics: tuple[Metric, ...], values: FloatVector, replicas: FloatVector
) -> Iterable[Difference]:
    for (first, second), (i, metric) in itertools.product(
        itertools.combinations(range(len(names)), 2), enumerate(metrics)
    ):
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, and is treated as unknown
            paired = replicas[:, first, i] - replicas[:, second, i]
            value = float(values[first, i] - values[second, i])
        yield paired_difference(names[first], names[second], metric.name, bootstrap_measurement(value, paired))


def paired_difference(first: str, second: str, metric: str, measured: Measurement) -> Difference:
    """A measured ``first`` − ``second`` with its significance and Gaussian p-value."""
    if measured.value == 0 and measured.uncertainty == 0:
        return Difference(first, second, metric, measured, 0.0, 1.0)  # the same ranking: no difference at all
    with_uncertainty = measured.uncertainty > 0  # false for NaN
    n_sigma = measured.value / measured.uncertainty if with_uncertainty else math.nan
    return Difference(first, second, metric, measured, n_sigma, float(2 * ndtr(-abs(n_sigma))))


def _reversed(kept: Difference) -> Difference:
    measured = kept.difference
    interval = None if measured.interval is None else (-measured.interval[1], -measured.interval[0])
    turned = Measurement(-measured.value, measured.uncertainty, measured.how, interval)
    return Difference(kept.second, kept.first, kept.metric, turned, -kept.n_sigma, kept.p_value)


def _named(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise UnknownNameError(unknown_name(kind, name, known))
    return known[name]
