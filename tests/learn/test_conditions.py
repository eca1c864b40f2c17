"""Nuisances, domains, chosen events and warm starts on their way from a study's columns to ``fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError, FeatureError, ModelError
from fivesigma.core.estimator import Labelled
from fivesigma.dataset import Conversion, Dataset, Sample, convert, train_validation_test
from fivesigma.learn import FoldScores, GradientReversalClassifier, PivotClassifier, Recipe, cross_validate
from fivesigma.learn.conditions import Conditions, require_known
from fivesigma.studies import load_study, parse_study, resolve_study

FOLDS, SIZE = 3, 600
NETWORK: dict[str, Any] = {"architecture": {"nodes": [6]}, "epochs": 2, "precision": "float32"}
X_OF: dict[str, Any] = {"features": "tabular", "feature_options": {"inputs": ["a", "b"], "scaling": "none"}}


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder, rng = tmp_path_factory.mktemp("events"), np.random.default_rng(1)
    label = rng.integers(0, 2, SIZE).astype(np.int32)
    z = rng.normal(size=SIZE)
    columns = {
        "event": np.arange(SIZE),
        "label": label,
        **{name: rng.normal(label, 1.0).astype(np.float32) for name in ("a", "b")},
        "z": z,
        "broken": np.where(np.arange(SIZE) == 7, np.nan, z),
        "part": np.where(np.arange(SIZE) == 9, -999.0, z),
        "data": (np.arange(SIZE) % 3 == 0).astype(np.int32),
    }
    with uproot.recreate(folder / "events.root") as file:
        file.mktree("events", {name: values.dtype for name, values in columns.items()}).extend(columns)
    conversion = Conversion(
        samples=(Sample(name="events", files=(str(folder / "events.root"),)),),
        columns=("a", "b"),
        observers=("z", "broken", "part", "data"),
        label="label",
        identity=("event",),
        n_folds=FOLDS,
        nan="keep",
    )
    return convert(conversion, folder / "dataset")


def by_hand(dataset: Dataset, k: int) -> tuple[Any, Any, Any, Any]:
    train, validation, _ = train_validation_test(dataset.fold, k, FOLDS)
    return (
        np.stack([np.asarray(dataset.column(n), np.float32) for n in ("a", "b")], axis=1),
        dataset.y,
        train,
        validation,
    )


PIVOT: dict[str, Any] = {
    "network_options": NETWORK,
    "iterations": 2,
    "adversary_steps": 2,
    "adversary_pretraining": 2,
}
REVERSAL: dict[str, Any] = {"network_options": NETWORK, "epochs": 1}


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", name="found")
def _found(dataset: Dataset, models: Path) -> dict[str, FoldScores]:
    plain = Recipe("plain", "dense", NETWORK, **X_OF)
    pivot = Recipe("pivot", "pivot", PIVOT, nuisances=("z",), warm_start="plain", **X_OF)
    reversal = Recipe("reversal", "gradient-reversal", REVERSAL, domain="data", train_on="a > -1", **X_OF)
    return cross_validate(dataset, dataset.weight, [pivot, plain, reversal], models, n_folds=FOLDS, workers=1)


def test_a_pivot_is_told_the_nuisances_of_its_training_events(
    dataset: Dataset, models: Path, found: dict[str, FoldScores]
) -> None:
    X, y, train, _ = by_hand(dataset, 1)
    z = np.asarray(dataset.column("z"))[train, None]
    model = PivotClassifier(**PIVOT, seed=1001, warm_start=models / "plain" / "fold-1" / "estimator")
    score = model.fit(X[train], y[train], nuisance=z).predict_proba(X)[:, 1]
    np.testing.assert_allclose(found["pivot"].by_fold[1], score, rtol=1e-5)


def test_labels_of_a_target_are_blanked_and_choose_no_epoch(dataset: Dataset, found: dict[str, FoldScores]) -> None:
    X, y, train, validation = by_hand(dataset, 0)
    data, chosen = np.asarray(dataset.column("data")), X[:, 0] > -1
    conditions = Conditions.of(dataset, (), "data", "a > -1")
    np.testing.assert_array_equal(conditions.trained(train), train & chosen)
    np.testing.assert_array_equal(conditions.validated(validation), validation & chosen & (data == 0))
    assert not conditions.labels(dataset.y)[data == 1].any()
    train, validation = train & chosen, validation & chosen & (data == 0)
    model = GradientReversalClassifier(**REVERSAL, seed=1000)
    held_out = Labelled(X[validation], y[validation], np.ones(validation.sum()))
    model.fit(X[train], y[train], domain=data[train], validation=held_out)
    np.testing.assert_allclose(found["reversal"].by_fold[0], model.predict_proba(X)[:, 1], rtol=1e-5)


def test_nuisances_that_are_not_known_are_named_with_their_entries(dataset: Dataset, tmp_path: Path) -> None:
    place = int(np.flatnonzero(np.isnan(np.asarray(dataset.column("broken"))))[0])
    with pytest.raises(FeatureError, match=rf"column 'broken': nan in entry {place}, 1 not finite in all"):
        Conditions.of(dataset, ("broken",), None, None)
    recipe = Recipe("pivot", "pivot", nuisances=("broken",), **X_OF)
    with pytest.raises(ModelError, match="model 'pivot', fold 0: column 'broken'"):
        cross_validate(dataset, dataset.weight, [recipe], tmp_path, n_folds=FOLDS, workers=1)
    with pytest.raises(FeatureError, match=r"nuisance 'part': -999, declared as missing, in entry \d+, 1 such value"):
        require_known(dataset, ("z", "part"), (-999.0,))
    with pytest.raises(FeatureError, match="domain 'a': expected 0"):
        Conditions.of(dataset, (), "a", None)
    with pytest.raises(ConfigError, match="leaves none of 600 events"):
        Conditions.of(dataset, (), None, "a > 100")


def test_words_for_estimators_that_know_nothing_of_them_are_refused() -> None:
    content = load_study("w-tagging").model_dump(mode="json")
    for word, value, said in (
        ("nuisances", ["jet_pt"], "models.dense.nuisances: the estimator 'dense' takes none; those that do: .*pivot"),
        ("domain", "label", "models.dense.domain: the estimator 'dense' takes none; those that do: gradient-reversal"),
    ):
        content["models"]["dense"][word] = value
        with pytest.raises(ConfigError, match=said):
            resolve_study(parse_study(content))
        del content["models"]["dense"][word]
    content["models"]["fisher"]["warm_start"] = "dense"
    with pytest.raises(ConfigError, match=r"models\.fisher\.warm_start: the estimator 'fisher' is no network"):
        resolve_study(parse_study(content))
    content["models"]["fisher"]["warm_start"] = "dens"
    with pytest.raises(ConfigError, match="did you mean 'dense'"):
        parse_study(content)
