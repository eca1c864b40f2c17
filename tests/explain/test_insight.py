import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fivesigma.core.errors import UnknownNameError
from fivesigma.explain import look_inside


class Pictures:
    def transform(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
        return np.asarray(columns["picture"], dtype=np.float32)


class Numbers:
    inputs = ("mass", "tau21")

    def transform(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
        return np.stack([columns[name] for name in self.inputs], axis=1).astype(np.float32)


class Network:
    """One hidden layer on pixels."""

    layer_names = ("flatten", "dense1", "relu1", "logit")

    def __init__(self) -> None:
        self.filters = np.random.default_rng(0).normal(size=(4, 6, 6)).astype(np.float32)

    def layer_output(self, X: NDArray[Any], layer: str) -> NDArray[Any]:
        assert layer == "relu1"
        hidden: NDArray[Any] = np.maximum(np.einsum("erc,nrc->en", X, self.filters), 0)
        return hidden

    def first_layer_filters(self) -> NDArray[np.float32]:
        return self.filters

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        p = 1 / (1 + np.exp(-X[:, 3, 3]))
        return np.stack([1 - p, p], axis=1)


class Trees:
    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        p = 1 / (1 + np.exp(-X[:, 0]))
        return np.stack([1 - p, p], axis=1)


@pytest.fixture
def columns() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    y = np.arange(200) % 2
    picture = rng.exponential(size=(200, 6, 6))
    picture[:, 3, 3] += 2 * y
    return {"picture": picture, "mass": rng.normal(size=200) + y, "tau21": rng.random(200)}


def test_each_kind_of_model_is_looked_into_as_it_allows(columns: dict[str, Any]) -> None:
    windows = {"heavy": columns["mass"] > 1, "nowhere": np.zeros(200, dtype=bool)}
    found = look_inside(
        {"dense": (Pictures(), Network()), "bdt": (Numbers(), Trees()), "fisher": (Pictures(), Trees3D())},
        columns=columns,
        y=np.arange(200) % 2,
        weight=np.ones(200),
        event=np.arange(200),
        variables=("mass", "tau21"),
        windows=windows,
        n_images=20,
    )
    assert [average.description for average in found.average_images] == ["all events", "heavy", "nowhere"]
    dense, bdt, fisher = (found.models[name] for name in ("dense", "bdt", "fisher"))
    assert [image.description for image in dense.pixel_correlation] == ["all events", "heavy"]
    assert dense.pixel_correlation[0].correlation.argmax() == 3 * 6 + 3
    assert dense.filters is not None
    assert dense.most_activating is not None
    assert dense.most_activating.layer == "relu1"
    assert bdt.importance is not None
    assert bdt.importance.feature == ("mass", "tau21")
    assert fisher.filters is None
    assert set(fisher.conditional) == {"mass", "tau21"}
    assert found.correlations["signal"].names == ("mass", "tau21", "dense", "bdt", "fisher")
    json.dumps(found.to_json(), allow_nan=False)


class Trees3D:
    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        p = 1 / (1 + np.exp(-X.mean(axis=(1, 2))))
        return np.stack([1 - p, p], axis=1)


def test_unknown_variables_and_models_without_features_are_named(columns: dict[str, Any]) -> None:
    rest: dict[str, Any] = {
        "columns": columns,
        "y": np.arange(200) % 2,
        "weight": np.ones(200),
        "event": np.arange(200),
    }
    with pytest.raises(UnknownNameError, match="did you mean 'tau21'"):
        look_inside({}, variables=("tau2",), **rest)
    with pytest.raises(UnknownNameError, match="cnn\\+mass combines other models' scores"):
        look_inside({"cnn+mass": (None, Trees())}, **rest)


def test_given_scores_are_used_and_only_unseen_events_are_put_through_the_model(columns: dict[str, Any]) -> None:
    y, weight, event = np.arange(200) % 2, np.ones(200), np.arange(200)
    scores = {"cnn": np.linspace(0, 1, 200)}
    unseen = np.arange(200) < 60
    found = look_inside(
        {"cnn": (Pictures(), Network())},
        columns=columns,
        y=y,
        weight=weight,
        event=event,
        scores=scores,
        unseen=unseen,
        variables=("mass",),
        windows={"many": np.arange(200) < 100, "few": np.arange(200) < 20},
        n_images=10,
    ).models["cnn"]
    signal = y == 1
    by_hand = np.corrcoef(scores["cnn"][signal], columns["mass"][signal])[0, 1]
    assert found.conditional["mass"].signal_correlation == pytest.approx(by_hand)
    assert [image.description for image in found.pixel_correlation] == ["all events", "many"]
    assert found.most_activating is not None
    hidden = Network().layer_output(columns["picture"][unseen], "relu1")
    best = np.argsort(-hidden[:, found.most_activating.node[0]], kind="stable")[:10]
    assert found.most_activating.average[0] == pytest.approx(columns["picture"][unseen][best].mean(axis=0), rel=1e-4)
