"""What every registered estimator keeps: scikit-learn's contract, and ours for folders on disk and for weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.learn.contract import (
    CHECKABLE,
    CHECKED,
    COSTLY,
    EXCEPTIONS,
    NOT_TABULAR,
    QUICK,
    TABULAR,
    X,
    Y,
    is_regressor,
    predicted,
    told,
)

from fivesigma.core.errors import FeatureError, ModelError, WeightError
from fivesigma.core.estimator import Estimator
from fivesigma.learn import ESTIMATORS

CLASSIFIERS = [name for name in TABULAR if not is_regressor(name)]
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "networks.md"


def quick(name: str, **options: Any) -> Any:
    return ESTIMATORS[name](**QUICK.get(name, {}) | options)


def expected_failures(estimator: Any) -> dict[str, str]:
    name = next(name for name in ESTIMATORS if ESTIMATORS[name] is type(estimator))
    return EXCEPTIONS.get(name, {})


def checked(names: list[str]) -> list[Any]:
    return [ESTIMATORS[name](**CHECKED.get(name, {})) for name in names]


@parametrize_with_checks(
    checked([name for name in CHECKABLE if name not in COSTLY]), expected_failed_checks=expected_failures
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(checked(list(COSTLY)), expected_failed_checks=expected_failures)
def test_scikit_learns_contract_at_length(estimator: Any, check: Any) -> None:
    check(estimator)


def test_exceptions_are_of_estimators_that_there_are_and_documented() -> None:
    assert {*NOT_TABULAR, *EXCEPTIONS, *CHECKED, *QUICK} <= set(ESTIMATORS)
    page = DOCUMENTED.read_text(encoding="utf-8")
    for name, reason in NOT_TABULAR.items():
        assert f"`{name}`" in page, name
        assert reason in page, name
    for name, checks in EXCEPTIONS.items():
        for check, reason in checks.items():
            assert f"| `{name}` | `{check}` | {reason} |" in page, (name, check)


@pytest.mark.parametrize("name", TABULAR)
def test_a_folder_gives_the_same_predictions_and_options(name: str, tmp_path: Path) -> None:
    model = quick(name).fit(X, Y, **told(name))
    assert is_regressor(name) or issubclass(ESTIMATORS[name], Estimator)
    model.save(tmp_path / "a" / "model")
    loaded = ESTIMATORS[name].load(tmp_path / "a" / "model")
    np.testing.assert_array_equal(predicted(loaded, X), predicted(model, X))
    assert json.dumps(loaded.get_params()) == json.dumps(model.get_params())  # JSON has lists, no tuples
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert not list(tmp_path.rglob("*.pkl")) + list(tmp_path.rglob("*.pt"))
    loaded.save(tmp_path / "b")
    files = {path.name for path in (tmp_path / "b").iterdir()}
    if not any(name.endswith(".skops") for name in files):  # skops writes the addresses of objects
        assert (tmp_path / "b" / "model.json").read_bytes() == (tmp_path / "a" / "model" / "model.json").read_bytes()


@pytest.mark.parametrize("name", TABULAR)
def test_a_damaged_folder_is_seen(name: str, tmp_path: Path) -> None:
    quick(name).fit(X, Y, **told(name)).save(tmp_path)
    listed = list(json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["files"])
    path = tmp_path / listed[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{path.name} is damaged: its xxh3 is"):
        ESTIMATORS[name].load(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=f"{path.name} is missing"):
        ESTIMATORS[name].load(tmp_path)
    (tmp_path / "model.json").write_text('{"estimator": "other"}', encoding="utf-8")
    with pytest.raises(ModelError, match=f"holds a model 'other', expected '{name}'"):
        ESTIMATORS[name].load(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(ModelError, match="cannot read the model"):
        ESTIMATORS[name].load(tmp_path)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_keep_their_names_and_the_larger_is_signal(name: str) -> None:
    options = {"epochs": 20, "batch_size": 64} if "epochs" in ESTIMATORS[name]().get_params() else {}
    model = quick(name, **options).fit(X, np.where(Y == 1, "signal", "background"), **told(name))
    assert model.classes_.tolist() == ["background", "signal"]
    assert model.predict_proba([[3.0, 3.0], [-2.0, -2.0]])[:, 1].argmax() == 0


@pytest.mark.parametrize("name", TABULAR)
def test_scikit_learns_searches_try_out_copies_of_any_estimator(name: str) -> None:
    model = quick(name)
    option, values = next(iter(varied(model.get_params()).items()))
    weight = np.where(np.arange(len(Y)) % 2, 1.0, 0.5)
    grid = GridSearchCV(model, {option: values}, cv=2, error_score="raise").fit(X, Y, weight=weight, **told(name))
    assert grid.best_params_[option] in values
    assert predicted(grid.best_estimator_, X).shape[0] == len(X)
    drawn = RandomizedSearchCV(model, {option: values}, n_iter=2, cv=2, random_state=1, error_score="raise")
    drawn.fit(X, Y, **told(name))
    assert len(drawn.cv_results_["mean_test_score"]) == 2
    assert clone(drawn.best_estimator_).get_params() == drawn.best_estimator_.get_params()


def varied(options: dict[str, Any]) -> dict[str, list[Any]]:
    """A few values of one option, whatever it is called."""
    for name in ("learning_rate", "depth", "shrinkage", "bins", "peel", "l2", "epochs", "seed"):
        if name in options:
            return {name: {"depth": [2, 3], "bins": [5, 10], "epochs": [1, 2], "seed": [1, 2]}.get(name, [0.05, 0.1])}
    option, value = next(iter(options.items()))
    return {option: [value, value]}


@pytest.mark.parametrize("name", TABULAR)
def test_weights_that_nothing_can_be_learnt_from_are_refused_by_name(name: str) -> None:
    with pytest.raises(WeightError, match=r"negative|positive sum of weights"):
        quick(name).fit(X, Y, -np.ones(len(Y)), **told(name))
    with pytest.raises(WeightError, match=r"expected one weight per event \(400,\), got \(3,\)"):
        quick(name).fit(X, Y, np.ones(3), **told(name))
    with pytest.raises(WeightError, match="1 of 400 weights are not finite"):
        quick(name).fit(X, Y, np.where(np.arange(len(Y)) == 7, np.nan, 1.0), **told(name))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_class_without_events_or_weight_is_refused_by_name(name: str) -> None:
    with pytest.raises(FeatureError, match="expected two classes, got 1 class"):
        quick(name).fit(X, np.zeros(len(Y)), **told(name))
    with pytest.raises(WeightError, match="expected a positive sum of weights in class 1, got 0"):
        quick(name).fit(X, Y, np.where(Y == 1, 0.0, 1.0), **told(name))
