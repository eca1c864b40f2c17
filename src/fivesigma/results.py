"""``metrics.json``: what machines read of a run, and its table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fivesigma.core.provenance import provenance
from fivesigma.dataset import Dataset
from fivesigma.evaluate import METRICS, Assessment, Comparison, DataComparison, Expectation, Measurement, results_rows
from fivesigma.features import FEATURES, JetImages
from fivesigma.flows import FlowResult
from fivesigma.learn import Cost, FoldScores
from fivesigma.studies import FlowWords, StudyDefinition

if TYPE_CHECKING:
    from fivesigma.report import ModelFacts, StudyFacts

RESTRICTED = "restricted phase space"


def metrics_of(
    definition: StudyDefinition,
    dataset: Dataset,
    scores: Mapping[str, FoldScores],
    assessment: Assessment,
    compared: DataComparison | None = None,
    *,
    cpu_seconds: float,
    command: str | None,
) -> dict[str, Any]:
    """The content of ``metrics.json``: command, seed, commit, versions, sample, CPU-seconds, results, differences."""
    made = provenance(seed=definition.seed, command=command or f"fivesigma.run_study({definition.study!r})")
    baseline = definition.evaluate.baseline
    return {
        "study": definition.study,
        "reference": definition.reference,
        **{key: made[key] for key in ("command", "seed", "commit", "versions", "machine", "time")},
        "sample": {
            "files": dataset.inputs,
            "events": len(dataset),
            "signal": int(np.sum(dataset.y == 1)),
            "background": int(np.sum(dataset.y == 0)),
            "dataset": dataset.config_hash,
        },
        "folds": definition.folds,
        "cpu_seconds": cpu_seconds,
        "results": [row for name in assessment.models for row in _rows(name, definition, scores, assessment)],
        "baseline": baseline,
        "differences": [
            d.to_json() for d in (*assessment.comparison.differences, *assessment.significance_differences)
        ],
        "data": None if compared is None else compared.to_json(),
        "restricted": {
            name: {
                "signal": comparison.n_signal,
                "background": comparison.n_background,
                "results": [row for model in comparison.measurements for row in _plain_rows(model, comparison)],
                "differences": [d.to_json() for d in comparison.differences if baseline in (d.first, d.second)],
            }
            for name, comparison in assessment.restricted.items()
        },
        "variables": [power.to_json() for power in assessment.variables],
    }


def _plain_rows(model: str, comparison: Comparison) -> list[dict[str, Any]]:
    return [dict(row) for row in results_rows(model, comparison.measurements[model])]


def _rows(
    name: str, definition: StudyDefinition, scores: Mapping[str, FoldScores], assessment: Assessment
) -> list[dict[str, Any]]:
    published = {
        metric: {"value": value, "source": definition.reference or ""}
        for metric, value in definition.published.get(name, {}).items()
    }
    measured = {**assessment.comparison.measurements[name], **assessment.models[name].systematics.measurements()}
    rows = [dict(row) for row in results_rows(name, measured, published)]  # type: ignore[arg-type]
    for metric, value in cost_of(name, scores).items():
        rows.append({"model": name, "metric": metric, **value, "reference": None})
    return rows


def cost_of(name: str, scores: Mapping[str, FoldScores]) -> dict[str, dict[str, Any]]:
    """What a model costs, with those whose scores it takes: parameters, CPU-seconds of training, microseconds per event."""
    own = scores[name]
    costs = [scores[part].cost for part in (name, *own.ingredients)]
    folds = len(own.by_fold)
    cost = Cost(
        parameters=sum(c.parameters for c in costs),
        training_cpu_seconds=sum(c.training_cpu_seconds for c in costs),
        training_spread=sum(c.training_spread**2 for c in costs) ** 0.5,
        microseconds_per_event=sum(c.microseconds_per_event for c in costs),
        microseconds_spread=sum(c.microseconds_spread**2 for c in costs) ** 0.5,
    )
    return {
        "parameters": {"value": cost.parameters, "uncertainty": 0.0, "how": "exact"},
        "training_cpu_seconds": {
            "value": cost.training_cpu_seconds,
            "uncertainty": cost.training_spread * folds**0.5,
            "how": f"sum over {folds} folds; spread of folds × √{folds}",
        },
        "microseconds_per_event": {
            "value": cost.microseconds_per_event,
            "uncertainty": cost.microseconds_spread / folds**0.5,
            "how": f"CPU time of predict_proba, mean over {folds} folds; spread of folds / √{folds}",
        },
    }


def facts_of(definition: StudyDefinition, scores: Mapping[str, FoldScores], metrics: Mapping[str, Any]) -> StudyFacts:
    """What the report says of a study beside its results."""
    from fivesigma.report import StudyFacts

    yields = definition.evaluate.yields
    made = {
        key: metrics[key]
        for key in ("command", "seed", "commit", "time", "machine", "versions", "sample", "cpu_seconds")
    }
    return StudyFacts(
        title=definition.title,
        reference=definition.reference,
        baseline=definition.evaluate.baseline,
        n_folds=definition.folds,
        models={name: _model_facts(definition, name, scores) for name in scores},
        expectation=Expectation(yields.signal, yields.background, yields.background_uncertainty),
        provenance={**made, "study": definition.model_dump(mode="json", exclude_defaults=True)},
        titles=definition.titles,
        **_image_facts(definition),
    )


def _image_facts(definition: StudyDefinition) -> dict[str, Any]:
    """Extent and intensity of the jet images that the first model on images sees."""
    for words in definition.inputs.values():
        features = FEATURES[words.features](**words.options)
        if isinstance(features, JetImages):
            unit = " [GeV]" if features.normalise == "none" else f", {features.normalise}-normalised"
            return {"image_extent": features.extent, "image_intensity": features.intensity + unit}
    return {}


def _model_facts(definition: StudyDefinition, name: str, scores: Mapping[str, FoldScores]) -> ModelFacts:
    from fivesigma.report import ModelFacts

    words, cost = definition.models[name], cost_of(name, scores)
    seen = [*(f"score of {other}" for other in words.scores), *words.input_names]
    return ModelFacts(
        estimator=words.estimator,
        inputs=", ".join(seen),
        weight_policy=words.weight_policy,
        parameters=cost["parameters"]["value"],
        training_cpu_seconds=Measurement(**cost["training_cpu_seconds"]),
        microseconds_per_event=Measurement(**cost["microseconds_per_event"]),
        histories=scores[name].histories,
        statements=[training["statement"] for training in scores[name].trainings if "statement" in training],
    )


def manifest_of(metrics: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """The content of a run's ``manifest.json``: what went in, what made it, how long it took."""
    kept = ("study", "command", "seed", "commit", "versions", "machine", "time", "sample", "cpu_seconds")
    return {**{key: metrics[key] for key in kept}, "seconds": seconds}


def cost_rows(scores: Mapping[str, FoldScores]) -> list[dict[str, Any]]:
    """One row a model: parameters, CPU-seconds, microseconds per event."""
    return [{"model": name, **{k: round(v["value"], 3) for k, v in cost_of(name, scores).items()}} for name in scores]


def flow_metrics(words: FlowWords, result: FlowResult, *, cpu_seconds: float, command: str | None) -> dict[str, Any]:
    """The content of ``metrics.json`` of a study of another flow."""
    made = provenance(seed=words.seed, command=command or f"fivesigma.run_study({words.study!r})")
    return {
        "study": words.study,
        "flow": words.flow,
        "reference": words.reference,
        **{key: made[key] for key in ("command", "seed", "commit", "versions", "machine", "time")},
        "sample": dict(result.sample),
        "cpu_seconds": cpu_seconds,
        "results": [dict(row) for row in result.results],
        "differences": result.differences,
        **result.more,
    }


def results_table(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """One model a row, one metric a column, each number with its uncertainty, best AUC last."""
    table: dict[str, dict[str, str]] = {}
    auc: dict[str, float] = {}
    for row in metrics["results"]:
        if row["metric"] not in METRICS and "flow" not in metrics:
            continue
        title = METRICS[row["metric"]].title if row["metric"] in METRICS else row["metric"]
        if row["value"] is None:
            text = "undefined"
        else:
            text = str(
                Measurement(row["value"], np.nan if row["uncertainty"] is None else row["uncertainty"], row["how"])
            )
        table.setdefault(row["model"], {"model": row["model"]})[title] = text
        if row["metric"] == "auc":
            auc[row["model"]] = row["value"] or 0.0
    return sorted(table.values(), key=lambda line: auc.get(line["model"], 0.0))
