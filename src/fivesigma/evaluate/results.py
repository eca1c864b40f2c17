"""Rows of ``metrics.json`` and ``docs/results/<study>.json``: the same for every study and every model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import write_json
from fivesigma.evaluate.measurement import Measurement, finite_or_none


class Reference(TypedDict):
    """A published value and where it stands."""

    value: float
    source: str


class ResultRow(TypedDict):
    """One number of one model."""

    model: str
    metric: str
    value: float | None
    uncertainty: float | None
    how: str
    reference: Reference | None


COSTS = {
    "parameters": "trained numbers in the model",
    "training_cpu_seconds": "processor time of fit, all threads",
    "microseconds_per_event": "time of predict_proba per event, one thread",
}
"""Names of what a model costs, beside ``METRICS``, what it gains."""


def results_rows(
    model: str, measurements: Mapping[str, Measurement], reference: Mapping[str, Reference] | None = None
) -> list[ResultRow]:
    """Rows for one model, a metric each; values that are not defined become ``None`` and ``how`` says why.

    >>> results_rows("cnn", {"auc": Measurement(0.874, 0.002, "bootstrap, 200 replicas")})[0]["value"]
    0.874
    """
    published = reference or {}
    unused = set(published) - set(measurements)
    if unused:
        raise ConfigError(f"{model}: references for {sorted(unused)}, which were not measured: {sorted(measurements)}")
    return [
        ResultRow(
            model=model,
            metric=metric,
            value=finite_or_none(measured.value),
            uncertainty=finite_or_none(measured.uncertainty),
            how=_how(measured),
            reference=published.get(metric),
        )
        for metric, measured in measurements.items()
    ]


def write_results(path: Path, header: Mapping[str, Any], rows: list[ResultRow]) -> None:
    """Write a results file atomically: header (study, command, seed, commit, versions, sample, cpu_seconds), then rows.

    Raises
    ------
    ConfigError
        a header key is missing, or one model has two rows of the same metric.
    """
    required = ("study", "command", "seed", "commit", "versions", "sample", "cpu_seconds")
    missing = [key for key in required if key not in header]
    if missing:
        raise ConfigError(f"results header: missing {missing}; expected {list(required)}")
    names = [(row["model"], row["metric"]) for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"results: more than one row for {twice}")
    write_json(path, {**header, "results": rows})


def _how(measured: Measurement) -> str:
    if measured.interval is None or math.isfinite(measured.uncertainty) or not math.isfinite(measured.interval[0]):
        return measured.how
    return f"{measured.how}; above {measured.interval[0]:.3g} at 84 % confidence"
