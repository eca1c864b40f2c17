"""Every fold's model, fitted apart: out of fold, reproducible, and nothing resumed that should not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fivesigma.core.errors import ModelError
from fivesigma.dataset import Conversion, Dataset, Sample, convert, train_validation_test
from fivesigma.learn import ESTIMATORS, FoldScores, Recipe, cross_validate, load_fold_model, model_inputs

FOLDS = 3
BDT = Recipe(
    "bdt",
    "boosted-trees",
    {"trees": 20},
    features="tabular",
    feature_options={"inputs": ["tau21", "jet_mass"], "scaling": "standard"},
)
TAU21 = Recipe("tau21", "single-variable", features="tabular", feature_options={"inputs": ["tau21"], "scaling": "none"})
BOTH = Recipe("both", "likelihood-ratio", {"bins": 4}, scores=("bdt", "tau21"))


@pytest.fixture(scope="module", name="dataset")
def _dataset(few_jets: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    conversion = Conversion(
        samples=(Sample(name="jets", files=(str(few_jets),)),),
        columns=("jet_mass", "tau21"),
        label="label == 1",
        identity=("label", "event_number"),
        row=("label", "event_number", "jet_index"),
        n_folds=FOLDS,
    )
    return convert(conversion, tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", name="fitted")
def _fitted(dataset: Dataset, models: Path) -> dict[str, FoldScores]:
    return cross_validate(dataset, dataset.weight, [BDT, TAU21, BOTH], models, n_folds=FOLDS, workers=2)


def test_the_scores_of_a_fold_are_those_of_a_model_fitted_by_hand(
    dataset: Dataset, fitted: dict[str, FoldScores]
) -> None:
    found = fitted["tau21"]
    for k in range(FOLDS):
        train, _, _ = train_validation_test(dataset.fold, k, FOLDS)
        X = np.asarray(dataset.column("tau21"), np.float32)[:, None]
        by_hand = ESTIMATORS["single-variable"]().fit(X[train], dataset.y[train], dataset.weight[train])
        np.testing.assert_allclose(found.by_fold[k], by_hand.predict_proba(X)[:, 1], rtol=1e-6)
    own = found.out_of_fold(dataset.fold)
    assert all(own[i] == found.by_fold[dataset.fold[i], i] for i in range(0, len(dataset), 50))


def test_a_combination_learns_from_the_validation_fold_alone(dataset: Dataset, fitted: dict[str, FoldScores]) -> None:
    found = fitted
    _, validation, _ = train_validation_test(dataset.fold, 0, FOLDS)
    X = model_inputs({}, None, [found["bdt"].by_fold[0], found["tau21"].by_fold[0]])
    assert X.shape == (len(dataset), 2)
    by_hand = ESTIMATORS["likelihood-ratio"](bins=4)
    by_hand.fit(X[validation], dataset.y[validation], dataset.weight[validation])
    np.testing.assert_allclose(found["both"].by_fold[0], by_hand.predict_proba(X)[:, 1], rtol=1e-6)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    one = cross_validate(dataset, dataset.weight, [BDT], tmp_path / "1", n_folds=FOLDS, workers=1)["bdt"]
    two = cross_validate(dataset, dataset.weight, [BDT], tmp_path / "2", n_folds=FOLDS, workers=2)["bdt"]
    np.testing.assert_array_equal(one.by_fold, two.by_fold)


@pytest.mark.slow
def test_other_weights_or_another_seed_are_another_model(dataset: Dataset, tmp_path: Path) -> None:
    def fitted_at() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("tau21/*/done.json"))]

    cross_validate(dataset, dataset.weight, [TAU21], tmp_path, n_folds=FOLDS, workers=1)
    first = fitted_at()
    cross_validate(dataset, dataset.weight, [TAU21], tmp_path, n_folds=FOLDS, workers=1)
    assert fitted_at() == first
    cross_validate(dataset, 2 * dataset.weight, [TAU21], tmp_path, n_folds=FOLDS)
    second = fitted_at()
    assert not set(second) & set(first)
    cross_validate(dataset, 2 * dataset.weight, [replace(TAU21, seed=7)], tmp_path, n_folds=FOLDS)
    assert not set(fitted_at()) & set(second)


def test_a_loaded_model_gives_the_scores_that_were_kept(
    dataset: Dataset, models: Path, fitted: dict[str, FoldScores]
) -> None:
    found = fitted["bdt"]
    recipe, features, estimator = load_fold_model(models / "bdt", 1)
    assert recipe == BDT
    scores = estimator.predict_proba(model_inputs(dataset.columns, features, []))[:, 1]
    np.testing.assert_allclose(scores, found.by_fold[1], rtol=1e-6)


def test_a_failing_fit_names_model_and_fold(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model 'bdt', fold 0"):
        cross_validate(dataset, -dataset.weight, [BDT], tmp_path, n_folds=FOLDS, workers=1)
