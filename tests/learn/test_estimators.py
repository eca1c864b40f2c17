"""What every registered estimator keeps: scikit-learn's contract, and ours for folders on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fivesigma.core.errors import ModelError
from fivesigma.core.estimator import ESTIMATORS, Estimator
from fivesigma.learn import (
    BoostedTrees,
    Cuts,
    DenseClassifier,
    Fisher,
    LikelihoodRatio,
    MaxoutClassifier,
    RandomForest,
    SingleVariable,
)

RNG = np.random.default_rng(7)
Y = RNG.integers(0, 2, 400)
X = RNG.normal(size=(400, 2)) + Y[:, None]
TABULAR = ["boosted-trees", "cuts", "dense", "fisher", "likelihood-ratio", "maxout", "random-forest", "single-variable"]
QUICK: dict[str, dict[str, Any]] = {
    "boosted-trees": {"trees": 5},
    "random-forest": {"trees": 3},
    "dense": {"epochs": 1, "architecture": {"nodes": [4]}},
    "maxout": {"epochs": 1, "architecture": {"maxout_nodes": [4], "nodes": [4]}},
}


def expected_failures(estimator: Any) -> dict[str, str]:
    """Checks that cannot pass, each with its reason; pytest counts one that passes as an error."""
    if isinstance(estimator, SingleVariable):
        return {"check_classifiers_train": "wants an accuracy that needs both of its two variables"}
    return {}


@parametrize_with_checks(
    [
        Fisher(),
        Cuts(),
        SingleVariable(),
        LikelihoodRatio(),
        RandomForest(trees=10, min_events_in_leaf=1),
        BoostedTrees(trees=20, min_events_in_leaf=1),
        DenseClassifier(epochs=30, batch_size=16, learning_rate=0.01, dropout=0.0, architecture={"nodes": [8]}),
        MaxoutClassifier(
            epochs=30, batch_size=16, learning_rate=0.01, dropout=0.0, architecture={"maxout_nodes": [8], "nodes": [4]}
        ),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_every_estimator_of_the_study_is_registered() -> None:
    assert set(ESTIMATORS) == {*TABULAR, "cnn", "locally-connected"}


@pytest.mark.parametrize("name", TABULAR)
def test_a_folder_gives_the_same_predictions_and_options(name: str, tmp_path: Path) -> None:
    model = ESTIMATORS[name](**QUICK.get(name, {})).fit(X, Y)
    assert issubclass(ESTIMATORS[name], Estimator)
    model.save(tmp_path / "a" / "model")
    loaded = ESTIMATORS[name].load(tmp_path / "a" / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    if name != "random-forest":  # skops writes the addresses of objects
        loaded.save(tmp_path / "b")
        assert (tmp_path / "b" / "model.json").read_bytes() == (tmp_path / "a" / "model" / "model.json").read_bytes()


@pytest.mark.parametrize("name", TABULAR)
def test_a_damaged_folder_is_seen(name: str, tmp_path: Path) -> None:
    ESTIMATORS[name](**QUICK.get(name, {})).fit(X, Y).save(tmp_path)
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


@pytest.mark.parametrize("name", TABULAR)
def test_labels_keep_their_names_and_the_larger_is_signal(name: str) -> None:
    options = QUICK.get(name, {}) | ({"epochs": 20, "batch_size": 64} if name in {"dense", "maxout"} else {})
    model = ESTIMATORS[name](**options).fit(X, np.where(Y == 1, "signal", "background"))
    assert model.classes_.tolist() == ["background", "signal"]
    assert model.predict_proba([[3.0, 3.0], [-2.0, -2.0]])[:, 1].argmax() == 0
