"""Events as a study's variations show them: other weights, shifted columns, other samples; and data beside simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, FivesigmaError
from fivesigma.core.jagged import Column
from fivesigma.core.progress import progress
from fivesigma.dataset import Dataset, Reweighting
from fivesigma.evaluate import DataComparison, TwoSampleTest, Variation, classifier_two_sample_test, compare_data
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.features import FEATURES
from fivesigma.learn import load_fold_models, score_out_of_fold, two_sample_scores
from fivesigma.learn.scoring import FoldModel
from fivesigma.read import Expression
from fivesigma.studies import StudyDefinition
from fivesigma.studies.definition import ExplainWords
from fivesigma.studies.evaluation import EvaluateWords, VariationWords

Convert = Callable[[StudyDefinition, bool], Dataset]
"""Convert what a definition asks for; true: its samples are data, without labels."""

Variations = dict[str, dict[str, dict[str, Variation]]]
"""Model → nuisance → direction → events."""

SCORE_EDGES = np.linspace(0.0, 1.0, 21)
"""Bins in which scores of data and simulation are compared."""

MOST_TWO_SAMPLE_ROWS = 100_000
"""Rows of each sample that the classifier two-sample test uses, spread over the sample."""


@dataclass(frozen=True)
class Nominal:
    """The events of a study as it has them."""

    dataset: Dataset
    weight: NDArray[np.float64]  # (event,) after reweighting
    reweighting: Reweighting | None
    scores: Mapping[str, NDArray[Any]]  # by model, (event,) out of fold
    models: Path  # folder of the fitted models


def columns_for_variations(definition: StudyDefinition) -> list[str]:
    """What has to be kept beside the models' inputs, so that weights and shifted columns can be worked out."""
    needed: dict[str, None] = {}
    for variation in _words(definition):
        if variation.weight is not None:
            needed |= dict.fromkeys(sorted(Expression(variation.weight).columns))
        for name, text in variation.columns.items():
            needed |= dict.fromkeys([name, *sorted(Expression(text).columns)])
        for text in _made_again(definition, variation.columns).values():
            needed |= dict.fromkeys(sorted(Expression(text).columns))
    return list(needed)


def varied_events(definition: StudyDefinition, nominal: Nominal, convert: Convert) -> Variations:
    """All variations of all models, scored out of fold where columns or samples change.

    Shifted columns change what models see; selection, labels, weights and folds stay nominal. Other samples are
    converted, selected and weighted as the study says, with the nominal reweighting factors.

    Raises
    ------
    FivesigmaError
        naming the variation, from whatever went wrong with it.
    """
    words = definition.evaluate.variations
    found: Variations = {name: {} for name in nominal.scores}
    if not words:
        return found
    dataset = nominal.dataset
    models = load_fold_models(nominal.models, list(nominal.scores), definition.folds)
    events = {
        name: scored_events(score, dataset.y, nominal.weight, dataset.event) for name, score in nominal.scores.items()
    }
    with progress(sum(map(len, words.values())), "varying", unit="variations") as advance:
        for nuisance, directions in words.items():
            for direction, variation in directions.items():
                with _naming(f"variation {nuisance} {direction}"):
                    for name, varied in _vary(definition, nominal, events, models, variation, convert).items():
                        found[name].setdefault(nuisance, {})[direction] = varied
                advance(1)
    return found


def _vary(
    definition: StudyDefinition,
    nominal: Nominal,
    events: Mapping[str, Any],
    models: Mapping[str, list[FoldModel]],
    variation: VariationWords,
    convert: Convert,
) -> dict[str, Variation]:
    dataset = nominal.dataset
    if variation.samples:
        other = convert(_with_samples(definition, variation), False)
        weight = other.weight
        if (words := definition.reweight) is not None and nominal.reweighting is not None:
            variables = {name: np.asarray(other.column(name)) for name in words.variables}
            weight = weight * nominal.reweighting.factor_of(variables, other.y)
        scores = score_out_of_fold(other.columns, models, other.fold)
        return {
            name: Variation.other_events(scores[name], other.y, weight, other.event, same_events=variation.paired)
            for name in events
        }
    weight = nominal.weight
    if variation.weight is not None:
        factor = Expression(variation.weight)
        weight = weight * np.asarray(factor.evaluate({n: dataset.column(n) for n in factor.columns}), np.float64)
    if not variation.columns:
        return {name: Variation.reweighted(event, weight) for name, event in events.items()}
    shifted = shifted_columns(definition, dataset.columns, variation.columns)
    scores = score_out_of_fold(shifted, models, dataset.fold)
    return {name: Variation.rescored(event, scores[name], weight) for name, event in events.items()}


def shifted_columns(
    definition: StudyDefinition, columns: Mapping[str, Column], shifts: Mapping[str, str]
) -> dict[str, Column]:
    """All columns that models see, with shifts applied to nominal values and new variables worked out of them again.

    Raises
    ------
    ConfigError
        if no model sees any of the shifted columns, directly or through a new variable.
    """
    again = _made_again(definition, shifts)
    seen = _seen(definition)
    if not (set(shifts) | set(again)) & seen:
        raise ConfigError(
            f"no model sees what {', '.join(shifts)} changes; models see {', '.join(sorted(seen))} (and new variables)"
        )
    changed: dict[str, Column] = {}
    for name, text in shifts.items():
        expression = Expression(text)
        changed[name] = expression.evaluate_column({c: columns[c] for c in expression.columns})
    for name, text in again.items():
        expression = Expression(text)
        changed[name] = expression.evaluate_column({c: changed.get(c, columns.get(c)) for c in expression.columns})  # type: ignore[misc]
    return {name: changed[name] if name in changed else columns[name] for name in {*columns, *changed}}


def _made_again(definition: StudyDefinition, shifts: Iterable[str]) -> dict[str, str]:
    """The new variables that depend on shifted columns and that models see, in order, those between them included."""
    used = set(_seen(definition))
    for name, text in reversed(definition.new_variables.items()):
        if name in used:
            used |= Expression(text).columns
    changed, again = set(shifts), {}
    for name, text in definition.new_variables.items():
        if name in used and name not in changed and Expression(text).columns & changed:
            changed.add(name)
            again[name] = text
    return again


def _seen(definition: StudyDefinition) -> set[str]:
    return {name for words in definition.inputs.values() for name in FEATURES[words.features](**words.options).inputs}


def _words(definition: StudyDefinition) -> Iterator[VariationWords]:
    for directions in definition.evaluate.variations.values():
        yield from directions.values()


def _with_samples(definition: StudyDefinition, variation: VariationWords) -> StudyDefinition:
    for name in variation.samples:
        if name not in definition.samples:
            raise ConfigError(f"no sample {name!r} to stand in for; the study's: {', '.join(definition.samples)}")
    plain = definition.evaluate.model_copy(update={"variations": {}, "data": None})
    samples = dict(definition.samples)
    for name, words in variation.samples.items():  # what a variation does not say of a sample is as in the nominal one
        samples[name] = samples[name].model_copy(update={"entries": None, **words.model_dump(exclude_unset=True)})
    return definition.model_copy(update={"samples": samples, "evaluate": plain, "manifest": None})


def compare_with_data(definition: StudyDefinition, nominal: Nominal, convert: Convert) -> DataComparison | None:
    """Data beside simulation (both classes, weights as given) in the variables and scores; None without data.

    A data event's fold is the hash of its identity, as always: its score is by one model, and so is a simulated one's.
    """
    words = definition.evaluate.data
    if words is None:
        return None
    with _naming("data"):
        data = convert(_data_definition(definition), True)
    models = load_fold_models(nominal.models, list(nominal.scores), definition.folds)
    simulation, weight = nominal.dataset, nominal.dataset.weight
    observed = {name: np.asarray(data.column(name)) for name in words.variables}
    expected = {name: np.asarray(simulation.column(name)) for name in words.variables}
    histograms = {
        name: compare_data(
            observed[name], expected[name], edges, data.weight, weight, variable=name, normalise=words.normalise
        )
        for name, edges in words.variables.items()
    }
    for name, score in score_out_of_fold(data.columns, models, data.fold).items():
        title = f"score of {name}"
        histograms[title] = compare_data(
            score, nominal.scores[name], SCORE_EDGES, data.weight, weight, variable=title, normalise=words.normalise
        )
    return DataComparison(histograms, _two_sample(definition, expected, observed, weight, data.weight))


def _two_sample(
    definition: StudyDefinition,
    expected: Mapping[str, NDArray[Any]],
    observed: Mapping[str, NDArray[Any]],
    weight: NDArray[np.float64],
    data_weight: NDArray[np.float64],
) -> TwoSampleTest:
    some = [slice(None, None, max(1, -(-len(w) // MOST_TWO_SAMPLE_ROWS))) for w in (weight, data_weight)]
    thinned = [{n: x[rows] for n, x in s.items()} for s, rows in zip((expected, observed), some, strict=True)]
    weights = weight[some[0]], data_weight[some[1]]
    score, second = two_sample_scores(thinned[0], thinned[1], weights[0], weights[1], seed=definition.seed)
    return classifier_two_sample_test(
        score, second, np.concatenate(weights), n_replicas=definition.evaluate.replicas, seed=definition.seed
    )


def _data_definition(definition: StudyDefinition) -> StudyDefinition:
    """The study's conversion with data in place of simulation: no labels, no weights, nothing but what is compared."""
    words = definition.evaluate.data
    assert words is not None
    samples = {name: sample.model_copy(update={"label": 0}) for name, sample in words.samples.items()}
    wanted = {*_seen(definition), *words.variables, *definition.identity, *definition.row}
    wanted |= {name for text in definition.selection.values() for name in Expression(text).columns}
    variables: dict[str, str] = {}
    for name, text in reversed(definition.new_variables.items()):
        if name in wanted:
            variables = {name: text, **variables}
            wanted |= Expression(text).columns
    return definition.model_copy(
        update={
            "samples": samples,
            "labels": None,
            "weights": None,
            "reweight": None,
            "new_variables": variables,
            "observers": tuple(words.variables),
            "models": {},  # what they were told when they were fitted is not in data
            "evaluate": EvaluateWords(baseline=definition.evaluate.baseline),
            "explain": ExplainWords(),
            "manifest": None,
        }
    )


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say which variation an error is of."""
    try:
        yield
    except FivesigmaError as error:
        error.args = (f"{what}: {error}",)
        raise
