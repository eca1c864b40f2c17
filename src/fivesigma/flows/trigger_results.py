"""Results of the flow ``topological-trigger`` as rows, differences, and what pages need."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivesigma.deploy.artifact import Artifact
from fivesigma.evaluate.bootstrap import bootstrap_measurement
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.results import ResultRow, results_rows
from fivesigma.evaluate.trigger_rate import threshold_at_rate
from fivesigma.flows.topological_trigger import ALL, TriggerStudy
from fivesigma.flows.trigger_measures import TableChoice
from fivesigma.simulate.charged_tracks import BOTTOM, CHARM, PROMPT


def composition(study: TriggerStudy, name: str, rate: float) -> dict[str, Measurement]:
    """Rates at the threshold of collisions that are light, with charm, with beauty, and all together."""
    cut = threshold_at_rate(study.scores[name].background, study.test.given, rate)
    nominal = study.seen["nominal"]
    passed = study.test.collisions & (study.test.best(nominal.score[name], nominal.candidates) >= cut)
    flavour = study.sample.column("flavour")
    kinds = {"light": flavour == PROMPT, "charm": flavour == CHARM, "beauty": flavour == BOTTOM}
    found = {
        f"rate_khz_of_{kind}_at_{rate:g}_khz": study.test.given.output(int((passed & chosen).sum()))
        for kind, chosen in kinds.items()
    }
    return found | {f"rate_khz_of_all_at_{rate:g}_khz": study.test.given.output(int(passed.sum()))}


def rows_of(study: TriggerStudy) -> list[ResultRow]:
    """One row a model, or what it is deployed as, and metric."""
    rows: list[ResultRow] = []
    compared = study.comparison
    for name in study.models:
        measured = {}
        for rate in compared.rates:
            for part in compared.parts:
                where = "" if part == ALL else f"_of_{part}"
                measured[f"efficiency{where}_at_{rate:g}_khz"] = compared.efficiency(name, part, rate)
            measured |= composition(study, name, rate)
        for one in study.stable:
            if one.model == name:
                measured[f"relative_rate_change, {one.variation}"] = one.rate
                measured[f"efficiency_change, {one.variation}"] = one.efficiency
        for (uniform, variable), found in study.uneven.items():
            for model in (uniform, uniform.removeprefix("uniform-")):
                if model == name:
                    measured[f"flatness_cvm_in_{variable}"] = found[name]
        rows += results_rows(name, measured)
    for name, artifact in study.deployed.items():
        rows += results_rows(name, parity(study, name, artifact))
    for name, taken in study.times.items():
        rows += results_rows(name, {"nanoseconds_per_candidate": taken})
    return rows


def parity(study: TriggerStudy, name: str, artifact: Artifact) -> dict[str, Measurement]:
    """Largest difference of a deployed model from the trained one on all candidates of the study; decisions that differ."""
    model = study.models[name.split(" ")[0]]
    X = study.seen["nominal"].candidates.X
    exact = study.seen["nominal"].score[name.split(" ")[0]]
    predictor: Any = artifact.predictor
    got = predictor.predict(X)
    how = f"all {len(X):,} candidates"
    largest = Measurement(float(np.abs(got - exact).max()), 0.0, how)
    found = {"largest_difference_of_scores": largest}
    if model.axes is not None:
        again = study.test.scores(got, study.seen["nominal"].candidates)
        first = study.scores[name.split(" ")[0]]
        different = 0
        for rate in study.words.output_rates_khz:
            cut = threshold_at_rate(first.background, study.test.given, rate)
            pairs = ((first.signal, again.signal), (first.background, again.background))
            different += sum(int(((a >= cut) != (b >= cut)).sum()) for a, b in pairs)
        found["decisions_that_differ"] = Measurement(float(different), 0.0, "events of the test, at all output rates")
        found["cells"] = Measurement(float(artifact.manifest["details"]["cells"]), 0.0, "exact")
        found["bytes"] = Measurement(float(artifact.manifest["details"]["bytes"]), 0.0, "exact")
    return found


def differences_of(study: TriggerStudy) -> list[dict[str, Any]]:
    """Paired differences: first minus second on the same events."""
    rows = []
    pairs = [
        ("bdt", "cuts"),
        ("bonsai", "cuts"),
        ("bonsai", "bdt"),
        ("uniform-bdt", "bdt"),
        ("uniform-bonsai", "bonsai"),
    ]
    for first, second in pairs:
        if not {first, second} <= set(study.models):
            continue
        for rate in study.comparison.rates:
            for part in study.comparison.parts:
                where = "" if part == ALL else f"_of_{part}"
                found = study.comparison.difference(first, second, part, rate)
                rows.append(_difference(first, second, f"efficiency{where}_at_{rate:g}_khz", found))
    for (uniform, variable), found_of in study.uneven.items():
        plain = uniform.removeprefix("uniform-")
        rows.append(_difference(uniform, plain, f"flatness_cvm_in_{variable}", found_of["difference"]))
    by = {(one.model, one.variation): one for one in study.stable}
    for (model, variation), one in by.items():
        if model == "bonsai":
            other = by["bdt", variation]
            drawn = np.abs(one.replicas[0]) - np.abs(other.replicas[0])
            value = abs(one.rate.value) - abs(other.rate.value)
            rows.append(
                _difference(
                    "bonsai", "bdt", f"size of relative_rate_change, {variation}", bootstrap_measurement(value, drawn)
                )
            )
    return rows


def _difference(first: str, second: str, metric: str, found: Measurement) -> dict[str, Any]:
    sigmas = found.value / found.uncertainty if found.uncertainty > 0 else None
    return {"first": first, "second": second, "metric": metric, **found.to_json(), "n_sigma": sigmas}


def more_of(study: TriggerStudy) -> dict[str, Any]:
    """Curves and tables that pages need."""

    def sizes(chosen: list[TableChoice]) -> list[dict[str, Any]]:
        return [{"how": c.how, "bins": dict(c.bins), "cells": c.cells, "loss": c.loss.to_json()} for c in chosen]

    return {
        "table_sizes": {"bonsai, pruned": sizes(study.sizes), "bdt, tabulated": sizes(study.tabulated)},
        "memory": dict(study.memory),
        "monitoring": {name: drift.to_json() for name, (_, drift) in study.watched.items()},
    }
