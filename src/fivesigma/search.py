"""Hyper-parameters of one model of a study: searched without its first fold, judged on it once.

Each trial is fitted in turns: one of the other folds judges, the next stops the training early, the rest train. The
first fold sees only the end: the model as declared and the best trial are fitted on all but it, and compared on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.engine import Engine
from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.core.integrity import content_hash, write_json
from fivesigma.core.provenance import provenance
from fivesigma.core.registry import unknown_name
from fivesigma.dataset import Dataset, train_validation_test
from fivesigma.evaluate import METRICS, compare
from fivesigma.evaluate.efficiency import efficiencies
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.learn import ESTIMATORS, Recipe
from fivesigma.learn.cross_validation import fit_recipe, weight_digest
from fivesigma.learn.search import Search, search
from fivesigma.learn.search_space import parse_space, with_parameters
from fivesigma.report.search import write_search_report
from fivesigma.studies import StudyDefinition
from fivesigma.studies.definition import accept_options
from fivesigma.study import convert_study, open_run, recipes_of, reweighted

FEWEST_FOLDS = 4
"""One for the end, one that judges, one that stops early, one that trains."""
_DECIDE_VALUES = ("fivesigma", "torch", "lightgbm", "scikit-learn", "numba", "optuna")


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found: ``content`` is that of search.json."""

    folder: Path
    content: dict[str, Any]
    report: Path

    def rows(self) -> list[dict[str, str]]:
        """The declared model and the five best trials, one a row."""
        rows = []
        for trial in self.content["best_trials"]:
            parameters = ", ".join(f"{name}={value}" for name, value in trial["parameters"].items())
            value = f"{trial['value']:.4f}"
            rows.append({"trial": str(trial["number"]), "value": value, "parameters": parameters or "as declared"})
        return rows


def search_study(
    study: str | Path | StudyDefinition,
    model: str,
    *,
    trials: int = 30,
    turns: int | None = None,
    metric: str = "auc",
    inputs: Mapping[str, str] | None = None,
    output: str | Path | None = None,
    seed: int | None = None,
    engine: Engine | None = None,
    command: str | None = None,
) -> SearchOutcome:
    """Search the ranges that a model declares under ``search``; resumed from what the run directory has.

    Parameters
    ----------
    study, inputs, output, seed, command : see `fivesigma.study.run_study`.
    model : a name under ``models``, without ``scores``.
    trials : beside the model as declared; more than last time adds some.
    turns : folds that judge each trial; all but the first fold if left out.
    metric : a name in `fivesigma.evaluate.METRICS`.

    Raises
    ------
    ConfigError
        if there is nothing to search, or too few folds.
    FivesigmaError
        whatever a stage has to say.
    """
    with open_run(study, inputs, output, None, seed) as (definition, run):
        recipe, space = _searched(definition, model), parse_space(definition.models[model].search)
        n_folds = definition.folds
        judged = list(range(1, n_folds))[: turns or n_folds]
        if n_folds < FEWEST_FOLDS:
            raise ConfigError(f"a search needs `folds` of at least {FEWEST_FOLDS}, the study has {n_folds}")
        dataset = convert_study(definition, run, engine)
        weight, _ = reweighted(definition, dataset)
        made = provenance(seed=definition.seed, command=command)
        words = {name: list(found) for name, found in definition.models[model].search.items()}
        key = content_hash(
            [
                dataset.content_digest,
                weight_digest(weight),
                asdict(recipe),
                words,
                judged,
                n_folds,
                metric,
                {name: v for name, v in made["versions"].items() if name in _DECIDE_VALUES},
            ]
        )[:16]
        folder = run.path / "search" / model

        def judge(parameters: Mapping[str, Any]) -> list[float]:
            tried = _with(recipe, parameters)
            return [_judged(tried, dataset, weight, k, n_folds, metric) for k in judged]

        found = search(judge, space, folder, trials=trials, seed=definition.seed, key=key)
        unseen = _on_unseen(recipe, found, dataset, weight, n_folds, metric, definition.seed)
        content = _content(definition, model, metric, words, found, unseen, made)
        write_json(folder / "search.json", content)
        report = write_search_report(folder / "search.html", content)
    return SearchOutcome(folder, content, report)


def _searched(definition: StudyDefinition, model: str) -> Recipe:
    if model not in definition.models:
        raise UnknownNameError(unknown_name("model", model, definition.models))
    recipe = next(recipe for recipe in recipes_of(definition) if recipe.name == model)
    if recipe.scores or recipe.warm_start:
        raise ConfigError(f"model {model!r} needs other models fitted first: search those")
    for name in definition.models[model].search:
        accept_options("search of model", model, ESTIMATORS[recipe.estimator], {name.split(".")[0]: None})
    return recipe


def _with(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    return replace(recipe, options=with_parameters(recipe.options, parameters))


def _seed(recipe: Recipe, k: int) -> dict[str, Any]:
    known = ESTIMATORS[recipe.estimator]().get_params()
    return {"seed": recipe.seed * 1000 + k} if "seed" in known and "seed" not in recipe.options else {}


def _judged(recipe: Recipe, dataset: Dataset, weight: NDArray[np.float64], k: int, n_folds: int, metric: str) -> float:
    """The figure of merit on fold ``k``, of a model that has seen neither it nor fold 0."""
    following = k % (n_folds - 1) + 1  # among the folds 1 … n − 1
    judging, validation = dataset.fold == k, dataset.fold == following
    train = ~(judging | validation | (dataset.fold == 0))
    fitted = fit_recipe(recipe, dataset, weight, train, validation, more_options=_seed(recipe, k))
    events = scored_events(fitted.score(judging), dataset.y[judging], weight[judging], dataset.event[judging])
    return float(METRICS[metric].of(efficiencies(events)))


def _on_unseen(
    recipe: Recipe,
    found: Search,
    dataset: Dataset,
    weight: NDArray[np.float64],
    n_folds: int,
    metric: str,
    seed: int,
) -> dict[str, Any] | None:
    """Declared and best on fold 0, paired; None if no trial was better than the model as declared."""
    if found.best.number == 0:
        return None
    train, validation, test = train_validation_test(dataset.fold, 0, n_folds)
    scores = {
        name: fit_recipe(
            _with(recipe, parameters), dataset, weight, train, validation, more_options=_seed(recipe, 0)
        ).score(test)
        for name, parameters in (("declared", {}), ("best", found.best.parameters))
    }
    comparison = compare(scores, dataset.y[test], weight[test], dataset.event[test], metrics=[metric], seed=seed)
    return {
        **{name: comparison.measurement(name, metric).to_json() for name in scores},
        "difference": comparison.difference("best", "declared", metric).to_json(),
    }


def _content(
    definition: StudyDefinition,
    model: str,
    metric: str,
    space: Mapping[str, Any],
    found: Search,
    unseen: dict[str, Any] | None,
    made: Mapping[str, Any],
) -> dict[str, Any]:
    values = [trial.value for trial in found.finished]
    gain, error = found.gain
    ranked = sorted((found.declared, *found.finished), key=lambda trial: -trial.value)[:6]
    return {
        "study": definition.study,
        "model": model,
        "metric": metric,
        **{key: made[key] for key in ("command", "seed", "commit", "versions", "machine", "time")},
        "space": dict(space),
        "judged_folds": len(found.declared.values),
        "trials": len(found.trials),
        "failed": len(found.trials) - len(found.finished),
        "declared": found.declared.value,
        "best": {"number": found.best.number, "value": found.best.value, "parameters": found.best.parameters},
        "spread": _quantiles(values),
        "gain": {
            "value": gain,
            "uncertainty": None if np.isnan(error) else error,
            "how": "paired over judged folds; flattered by the choice",
        },
        "gain_on_unseen_fold": unseen,
        "cpu_hours": found.cpu_hours,
        "gain_per_cpu_hour": found.gain_per_cpu_hour,
        "importance": found.importance,
        "importance_method": found.importance_method,
        "best_trials": [{"number": t.number, "value": t.value, "parameters": t.parameters} for t in ranked],
        "all_trials": [
            {**asdict(t), "values": list(t.values), "value": t.value if t.values else None}
            for t in (found.declared, *found.trials)
        ],
    }


def _quantiles(values: list[float]) -> dict[str, float] | None:
    names = ("minimum", "quartile_1", "median", "quartile_3", "maximum")
    return dict(zip(names, np.quantile(values, np.linspace(0, 1, 5)).tolist(), strict=True)) if values else None
