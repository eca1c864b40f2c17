"""Tabular: scales against closed forms, weights, and refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.core.jagged import Jagged
from fivesigma.features import FEATURES, Features, Tabular, check_names, features_from_json
from fivesigma.features.tabular import Scaling

RNG = np.random.default_rng(4)
COLUMNS = {"jet_mass": RNG.gamma(4, 20, 500), "tau21": RNG.beta(3, 4, 500), "constant": np.full(500, 0.1)}
WEIGHT = RNG.exponential(1.0, 500)
SCALINGS: tuple[Scaling, ...] = ("standard", "log", "quantile", "none")


def test_registered_and_keeps_the_contract() -> None:
    assert FEATURES["tabular"] is Tabular
    assert isinstance(Tabular(), Features)


def test_standard_is_the_weighted_mean_and_deviation() -> None:
    X = Tabular().fit(COLUMNS, WEIGHT).transform(COLUMNS)
    assert X.dtype == np.float32
    assert np.average(X, axis=0, weights=WEIGHT) == pytest.approx([0, 0], abs=1e-6)
    assert np.average(X**2, axis=0, weights=WEIGHT) == pytest.approx([1, 1], rel=1e-5)


def test_integer_weights_are_repetitions() -> None:
    counts = RNG.integers(0, 4, 500)
    repeated = {name: np.repeat(x, counts) for name, x in COLUMNS.items()}
    a, b = Tabular().fit(COLUMNS, counts).scales, Tabular().fit(repeated).scales
    assert a is not None
    assert b is not None
    assert [s.mean for s in a] == pytest.approx([s.mean for s in b])
    assert [s.width for s in a] == pytest.approx([s.width for s in b])


def test_negative_weights_count_with_their_absolute_value() -> None:
    signs = RNG.choice([-1, 1], 500)
    assert Tabular().fit(COLUMNS, signs * WEIGHT) == Tabular().fit(COLUMNS, WEIGHT)


def test_log_takes_the_tail_in() -> None:
    x = {"pt": RNG.lognormal(3, 1.5, 4000)}
    linear, logarithmic = (Tabular(("pt",), scaling=s).fit(x).transform(x) for s in SCALINGS[:2])
    assert linear.max() > 12
    assert np.abs(logarithmic).max() < 8
    assert np.array_equal(np.argsort(linear[:, 0]), np.argsort(logarithmic[:, 0]))


def test_quantile_makes_a_normal_distribution() -> None:
    X = Tabular(scaling="quantile").fit(COLUMNS, WEIGHT).transform(COLUMNS)
    for column in X.T:
        below = [np.average(column < z, weights=WEIGHT) for z in (-1.0, 0.0, 1.0)]
        assert below == pytest.approx([0.1587, 0.5, 0.8413], abs=0.015)
    extremes = {"jet_mass": np.array([-1e9, 1e9]), "tau21": np.array([0.0, 1.0])}
    beyond = Tabular(scaling="quantile").fit(COLUMNS).transform(extremes)
    assert beyond[:, 0] == pytest.approx([-3.0902, 3.0902], abs=1e-3)


def test_quantile_of_a_variable_with_few_values() -> None:
    x = {"n": np.repeat([0.0, 1.0, 2.0], [250, 500, 250])}
    X = Tabular(("n",), scaling="quantile").fit(x).transform(x)[:, 0]
    assert X[300] == pytest.approx(0.0, abs=0.01)
    assert X[0] == pytest.approx(-X[-1], abs=0.01)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SCALINGS), st.integers(0, 2**32 - 1))
def test_scalings_keep_the_order(scaling: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = {"x": rng.exponential(10, 200)}
    X = Tabular(("x",), scaling=scaling).fit(x, rng.normal(size=200)).transform(x)[:, 0]
    assert np.all(np.diff(X[np.argsort(x["x"])]) >= 0)


def test_a_constant_is_only_shifted() -> None:
    features = Tabular(("constant",)).fit(COLUMNS)
    assert not np.abs(features.transform(COLUMNS)).max() > 1e-6
    assert features.transform({"constant": np.array([1.1])}) == pytest.approx(1.0)


def test_none_is_as_it_is_without_fit() -> None:
    X = Tabular(scaling="none").transform(COLUMNS)
    assert np.array_equal(X[:, 0], COLUMNS["jet_mass"].astype(np.float32))


def test_columns_are_taken_by_name_not_by_order() -> None:
    features = Tabular().fit(COLUMNS)
    assert np.array_equal(features.transform(dict(reversed(COLUMNS.items()))), features.transform(COLUMNS))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_json_round_trip_gives_the_same_array(scaling: Any) -> None:
    features = Tabular(scaling=scaling).fit(COLUMNS, WEIGHT)
    again = features_from_json(json.loads(json.dumps(features.to_json())))
    assert again == features
    assert np.array_equal(again.transform(COLUMNS), features.transform(COLUMNS))
    assert Tabular.from_json(Tabular(scaling=scaling).to_json()) == Tabular(scaling=scaling)


def test_scales_of_a_renamed_input_are_missed() -> None:
    content = Tabular().fit(COLUMNS).to_json()
    content["inputs"] = ["jet_mass", "tau32"]
    with pytest.raises(FeatureError, match="expected scales of jet_mass, tau32; got those of jet_mass, tau21"):
        Tabular.from_json(content)
    content["inputs"] = ["tau21", "jet_mass"]  # scales stand by name: another order is another order of columns
    assert np.array_equal(
        Tabular.from_json(content).transform(COLUMNS), Tabular().fit(COLUMNS).transform(COLUMNS)[:, ::-1]
    )


def test_unknown_kind_of_features() -> None:
    with pytest.raises(FeatureError, match="expected the key 'features'"):
        features_from_json({"inputs": []})


def test_missing_column_names_the_nearest() -> None:
    with pytest.raises(FeatureError, match=r"no column 'tau21' .*did you mean 'tau_21'"):
        Tabular().fit(COLUMNS).transform({"jet_mass": np.ones(1), "tau_21": np.ones(1)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_names_column_and_entry(bad: float) -> None:
    tau21 = COLUMNS["tau21"].copy()
    tau21[[31, 77]] = bad
    with pytest.raises(FeatureError, match=f"column 'tau21': {bad} in entry 31, 2 not finite"):
        Tabular().fit({**COLUMNS, "tau21": tau21})


def test_negative_value_has_no_logarithm() -> None:
    features = Tabular(("tau21",), scaling="log").fit(COLUMNS)
    with pytest.raises(FeatureError, match=r"column 'tau21': -0.5 in entry 1 has no logarithm"):
        features.transform({"tau21": np.array([0.1, -0.5])})


def test_columns_of_wrong_kind_or_length() -> None:
    features = Tabular().fit(COLUMNS)
    with pytest.raises(FeatureError, match="'tau21': expected one value per event"):
        features.transform({**COLUMNS, "tau21": Jagged.from_lists([[1.0]])})
    with pytest.raises(FeatureError, match=r"equal lengths, got .*'jet_mass': 500, 'tau21': 3"):
        features.transform({**COLUMNS, "tau21": np.ones(3)})


def test_must_be_fitted() -> None:
    with pytest.raises(FeatureError, match="call fit before transform"):
        Tabular().transform(COLUMNS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "standart"}, "did you mean 'standard'"),
        ({"inputs": ()}, "at least one"),
        ({"inputs": ("a", "a")}, "a, a"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tabular(**options)


@pytest.mark.parametrize(
    ("got", "message"), [(["b", "a"], "permuted"), (["a", "c"], "missing or renamed"), (["a"], "missing or renamed")]
)
def test_names_of_an_array(got: list[str], message: str) -> None:
    check_names(["a", "b"], ("a", "b"))
    with pytest.raises(FeatureError, match=message):
        check_names(["a", "b"], got)
