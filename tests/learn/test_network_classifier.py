from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ConfigError, FeatureError, ModelError, UnknownNameError
from fivesigma.core.estimator import ESTIMATORS, Estimator, Labelled
from fivesigma.learn import (
    ConvolutionalClassifier,
    DenseClassifier,
    LocallyConnectedClassifier,
    MaxoutClassifier,
    NetworkClassifier,
)
from fivesigma.models.training_inputs import InvalidWeightError

Images = tuple[NDArray[np.float32], NDArray[np.int64]]
SMALL: dict[str, dict[str, Any]] = {
    "dense": {"architecture": {"nodes": [32, 16]}},
    "maxout": {"architecture": {"maxout_nodes": [16], "pieces": 3, "nodes": [8]}},
    "cnn": {"architecture": {"filters": [8, 8], "sizes": [5, 3], "strides": [1, 1], "pools": [2, 2], "nodes": 16}},
    "locally-connected": {"architecture": {"filters": [8], "sizes": [3], "strides": [2], "nodes": 16}},
}


def small(name: str, **options: Any) -> NetworkClassifier:
    model: NetworkClassifier = ESTIMATORS[name](**{"epochs": 8, "batch_size": 64, **SMALL[name], **options})
    return model


@pytest.mark.parametrize("name", SMALL)
def test_networks_learn_where_the_second_spot_is(name: str, images: Images, tmp_path: Path) -> None:
    X, y = images
    # a background spot is in the signal's column in 1 of 9 cases: AUC 1 − 1/18 for whoever knows
    model = small(name, epochs=15).fit(X[:900], y[:900], validation=Labelled(X[900:], y[900:], np.ones(300)))
    p = model.predict_proba(X[900:])
    assert 0.88 < roc_auc_score(y[900:], p[:, 1]) < 0.98
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert isinstance(model, Estimator)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X[900:]), p)
    assert loaded.history == model.history
    assert loaded.training_ == model.training_
    assert loaded.get_params() == model.get_params()


def test_a_network_comes_near_the_known_optimum_of_two_gaussians() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 12_000)
    X = rng.normal(size=(len(y), 4)) + 0.5 * y[:, None]
    model = DenseClassifier(epochs=6, dropout=0.0, architecture={"nodes": [32]}).fit(X[:6000], y[:6000])
    auc = roc_auc_score(y[6000:], model.predict_proba(X[6000:])[:, 1])
    assert auc == pytest.approx(norm.cdf(1.0 / np.sqrt(2)), abs=0.018)  # 3 standard deviations


def test_an_exclusive_or_is_learned() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3000, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = DenseClassifier(epochs=15, batch_size=64, dropout=0.0, architecture={"nodes": [32, 16]}).fit(
        X[:2000], y[:2000]
    )
    assert roc_auc_score(y[2000:], model.predict_proba(X[2000:])[:, 1]) > 0.98


def test_same_seed_same_network_bit_for_bit(images: Images) -> None:
    X, y = images
    first, again, other = (small("cnn", epochs=2, seed=s).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_clone_has_the_options_and_nothing_else(images: Images) -> None:
    model = small("dense", seed=5).fit(*images)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "network_")


def test_weights_count_as_events_do(images: Images) -> None:
    X, y = images
    options = {"precision": "float32", "epochs": 3}
    plain = small("dense", **options).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(small("dense", **options).fit(X, y, np.full(len(y), 4.0)).predict_proba(X), plain)
    heavy = small("dense", **options).fit(X, y, np.where(y == 1, 5.0, 1.0)).predict_proba(X)
    assert heavy[:, 1].mean() > plain[:, 1].mean() + 0.1


def test_signed_weights_are_taken(images: Images) -> None:
    X, y = images
    # background with label 1 and weight −1 cancels background with label 1 and weight 1
    background = X[y == 0]
    X_all = np.concatenate([X, background, background])
    y_all = np.concatenate([y, np.ones(2 * len(background), dtype=int)])
    weight = np.concatenate([np.ones(len(X) + len(background)), -np.ones(len(background))])
    p = small("dense", epochs=10).fit(X_all, y_all, weight).predict_proba(X)[:, 1]
    assert roc_auc_score(y, p) > 0.9


def test_one_class_cannot_sum_to_nothing(images: Images) -> None:
    X, y = images
    with pytest.raises(InvalidWeightError, match="expected a positive sum of weights in class 1"):
        small("dense").fit(X, y, np.where(y == 1, -1.0, 1.0))
    with pytest.raises(InvalidWeightError, match=r"expected one weight per event \(1200,\), got \(3,\)"):
        small("dense").fit(X, y, np.ones(3))
    with pytest.raises(InvalidWeightError, match="1 of 1200 weights are not finite"):
        small("dense").fit(X, y, np.where(np.arange(len(y)) == 7, np.nan, 1.0))


def test_bfloat16_is_kept_only_within_the_tolerance(images: Images) -> None:
    X, y = images
    kept = small("dense", precision="bfloat16", epochs=3).fit(X, y)
    assert kept.training_["precision"] == "bfloat16"
    assert 0.0 < kept.training_["disagreement"] < 0.02
    again = small("dense", precision="bfloat16", precision_tolerance=1e-9, epochs=3).fit(X, y)
    assert again.training_["precision"] == "float32"
    assert "trained again in float32, for in bfloat16 scores differ" in again.training_["statement"]
    exact = small("dense", precision="float32", epochs=3).fit(X, y)
    assert exact.training_["disagreement"] is None
    np.testing.assert_array_equal(exact.predict_proba(X), again.predict_proba(X))


@pytest.mark.parametrize(
    ("cls", "filters", "layer", "shape"),
    [
        (DenseClassifier, (32, 13, 13), "relu1", (5, 32)),
        (MaxoutClassifier, (16 * 3, 13, 13), "maxout1", (5, 16)),
        (ConvolutionalClassifier, (8, 5, 5), "conv1", (5, 8, 13, 13)),
        (LocallyConnectedClassifier, (8, 3, 3), "local1", (5, 8, 6, 6)),
    ],
)
def test_filters_and_layers_can_be_looked_at(
    cls: type[NetworkClassifier], filters: tuple[int, ...], layer: str, shape: tuple[int, ...], images: Images
) -> None:
    X, y = images
    model = small(str(cls.network_name), epochs=1).fit(X, y)
    assert model.first_layer_filters().shape == filters
    assert model.layer_output(X[:5], layer).shape == shape
    logit = model.layer_output(X[:5], "logit")[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), model.predict_proba(X[:5])[:, 1], rtol=1e-5)
    np.testing.assert_allclose(
        model.layer_output(X[:5], "scale"), X[:5] / np.sqrt(np.square(X, dtype=np.float64).mean()), rtol=1e-5
    )
    with pytest.raises(ConfigError, match="no layer 'conv9'; it has scale, "):
        model.layer_output(X, "conv9")


def test_inputs_that_do_not_fit_are_refused(images: Images) -> None:
    X, y = images
    model = small("dense", epochs=1).fit(X, y)
    with pytest.raises(FeatureError, match=r"expected events of shape \(13, 13\), got \(13, 12\)"):
        model.predict_proba(X[:, :, :12])
    broken = X.copy()
    broken[3, 2, 2] = np.nan
    with pytest.raises(FeatureError, match="NaN"):
        small("dense").fit(broken, y)
    with pytest.raises(FeatureError, match="expected two classes, got 1"):
        small("dense").fit(X, np.zeros(len(y)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs ≥ 1"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"optimiser": "adamm"}, "unknown optimiser 'adamm'; did you mean 'adam"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"architecture": {"node": [3]}}, "'dense' cannot be built with .*node"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str, images: Images) -> None:
    with pytest.raises(ConfigError, match=message):
        small("dense", **options).fit(*images)


def test_any_registered_network_by_name(images: Images, tmp_path: Path) -> None:
    X, y = images
    model = NetworkClassifier(network="dense", epochs=1).fit(X, y)
    model.save(tmp_path)
    np.testing.assert_array_equal(NetworkClassifier.load(tmp_path).predict_proba(X), model.predict_proba(X))
    with pytest.raises(UnknownNameError, match="unknown network 'resnet'"):
        NetworkClassifier(network="resnet").fit(X, y)
    with pytest.raises(ConfigError, match="say which network"):
        NetworkClassifier().fit(X, y)


def test_weights_of_another_network_are_refused(images: Images, tmp_path: Path) -> None:
    X, y = images
    model = small("dense", epochs=1).fit(X, y)
    model.architecture = {"nodes": [8]}
    model.save(tmp_path)
    with pytest.raises(ModelError, match="are of another network"):
        DenseClassifier.load(tmp_path)
