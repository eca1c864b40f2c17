from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ModelError
from fivesigma.core.integrity import file_digest, write_json
from fivesigma.models.model_folder import read_model_json
from fivesigma.models.training_inputs import InvalidWeightError
from fivesigma.trees import RandomForest

RNG = np.random.default_rng(1)
Y = RNG.integers(0, 2, 2_000)
X = RNG.normal(size=(2_000, 2))
X[:, 1] *= np.where(Y == 1, 1.0, 3.0)


def test_separates_two_widths_as_well_as_the_likelihood_ratio() -> None:
    auc = roc_auc_score(Y[1000:], RandomForest(trees=50).fit(X[:1000], Y[:1000]).predict_proba(X[1000:])[:, 1])
    best = roc_auc_score(Y[1000:], -np.abs(X[1000:, 1]))  # the ratio falls with |x|
    assert best - 0.04 < auc < best + 0.02


def test_same_seed_same_forest_with_any_number_of_threads() -> None:
    first, again = (RandomForest(trees=10, threads=n).fit(X, Y).predict_proba(X) for n in (1, 2))
    np.testing.assert_array_equal(first, again)


def test_negative_weights_are_refused() -> None:
    with pytest.raises(InvalidWeightError, match="RandomForest cannot learn from negative weights, and 2000 of 2000"):
        RandomForest().fit(X, Y, -np.ones(len(Y)))


def test_counts_cuts_and_leaf_values() -> None:
    model = RandomForest(trees=4, depth=1).fit(X, Y)
    assert model.n_parameters == 4 * (2 + 2)


def test_a_file_with_other_types_is_not_loaded(tmp_path: Path) -> None:
    RandomForest(trees=2).fit(X, Y).save(tmp_path)
    swap(tmp_path, Path)  # a type that no forest holds
    with pytest.raises(ModelError, match="types that no trees have, and was not loaded"):
        RandomForest.load(tmp_path)
    swap(tmp_path, LogisticRegression())
    with pytest.raises(ModelError, match="holds a LogisticRegression, expected a RandomForestClassifier"):
        RandomForest.load(tmp_path)


def swap(folder: Path, content: object) -> None:
    """Put another object in the forest's place, with its digest."""
    path = folder / "forest.skops"
    path.write_bytes(skops.io.dumps(content))
    write_json(folder / "model.json", read_again(folder) | {"files": {path.name: file_digest(path)}})


def read_again(folder: Path) -> dict[str, object]:
    import json

    described: dict[str, object] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return described


def test_a_complete_folder_is_read(tmp_path: Path) -> None:
    RandomForest(trees=2).fit(X, Y).save(tmp_path)
    assert read_model_json(tmp_path, "random-forest")["options"]["trees"] == 2
