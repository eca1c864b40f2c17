"""JetImages: applied by name, refusing bad input by column and entry, the same after a round trip."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.features.toy_jets import as_columns, toy_jet

from fivesigma.core.errors import ConfigError, FeatureError, UnknownNameError
from fivesigma.core.jagged import Jagged
from fivesigma.features import FEATURES, Features, JetImages, features_from_json

JETS = [toy_jet(seed) for seed in range(12)]
COLUMNS = as_columns(JETS)


def test_registered_and_keeps_the_contract() -> None:
    assert FEATURES["jet-images"] is JetImages
    assert isinstance(JetImages(), Features)
    with pytest.raises(UnknownNameError, match="did you mean 'jet-images'"):
        FEATURES["jet-image"]


def test_columns_are_taken_by_name_not_by_order() -> None:
    backwards = dict(reversed(COLUMNS.items()))
    assert np.array_equal(JetImages().transform(backwards), JetImages().transform(COLUMNS))


def test_other_names_of_columns() -> None:
    renamed = {f"fatjet_{name}": column for name, column in COLUMNS.items()}
    features = JetImages(columns=tuple(f"fatjet_{name}" for name in JetImages().inputs))
    assert np.array_equal(features.transform(renamed), JetImages().transform(COLUMNS))


def test_missing_column_names_the_nearest() -> None:
    renamed = {name.replace("subjet_phi", "subjets_phi"): column for name, column in COLUMNS.items()}
    with pytest.raises(FeatureError, match=r"no column 'subjet_phi' .*did you mean 'subjets_phi'"):
        JetImages().transform(renamed)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["constituent_pt", "subjet_eta"])
def test_not_finite_names_column_and_entry(name: str, bad: float) -> None:
    values = COLUMNS[name].values.copy()
    values[COLUMNS[name].offsets[7] + 1] = bad
    with pytest.raises(FeatureError, match=rf"column '{name}': {bad} in entry 7 \(value 1 of it\), 1 not finite"):
        JetImages().transform({**COLUMNS, name: Jagged(values, COLUMNS[name].offsets)})


def test_jet_without_constituents() -> None:
    empty = JETS[2]._replace(pt=np.empty(0), eta=np.empty(0), phi=np.empty(0))
    with pytest.raises(FeatureError, match="no constituents in entry 2"):
        JetImages().transform(as_columns([*JETS[:2], empty, *JETS[3:]]))


def test_columns_of_unequal_lengths() -> None:
    with pytest.raises(FeatureError, match=r"'subjet_pt': expected 12 jets .* got 11"):
        JetImages().transform({n: c[:11] if n.startswith("subjet") else c for n, c in COLUMNS.items()})
    shifted = Jagged(COLUMNS["constituent_eta"].values, COLUMNS["constituent_eta"].offsets.copy())
    shifted.offsets[3] += 1
    with pytest.raises(FeatureError, match="'constituent_eta': numbers of values per event differ"):
        JetImages().transform({**COLUMNS, "constituent_eta": shifted})


def test_flat_column_where_a_jagged_one_belongs() -> None:
    with pytest.raises(FeatureError, match="'subjet_pt': expected a jagged column"):
        JetImages().transform({**COLUMNS, "subjet_pt": np.ones(12)})


def test_no_jets_give_no_images() -> None:
    assert JetImages().transform({name: column[:0] for name, column in COLUMNS.items()}).shape == (0, 25, 25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regrid": "cubc"}, "unknown regrid 'cubc'; did you mean 'cubic'"),
        ({"normalise": "l3"}, "Known: l1, l2, none, pt-sum"),
        ({"size": 1}, "expected size ≥ 2"),
        ({"extent": float("nan")}, "extent nan"),
        ({"tower": 0.0}, "0 < tower < 1"),
        ({"columns": ("pt", "eta", "phi")}, "expected six columns"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JetImages(**options)


def test_standard_scale_makes_the_weighted_mean_square_one() -> None:
    weight = np.linspace(-1, 3, 12)
    features = JetImages(scale="standard").fit(COLUMNS, weight)
    images = features.transform(COLUMNS)
    mean_square = np.average((images**2).mean(axis=(1, 2)), weights=np.abs(weight))
    assert mean_square == pytest.approx(1.0, rel=1e-5)
    raw = JetImages().transform(COLUMNS)
    assert features.unit is not None
    assert images * features.unit == pytest.approx(raw, rel=1e-6)


def test_scale_must_be_fitted() -> None:
    with pytest.raises(FeatureError, match="call fit before transform"):
        JetImages(scale="standard").transform(COLUMNS)


@pytest.mark.parametrize(
    ("weight", "message"),
    [(np.ones(3), "one weight for each of 12 events"), (np.zeros(12), "cannot fit"), (np.full(12, np.nan), "entry 0")],
)
def test_weights_that_fit_nothing(weight: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        JetImages(scale="standard").fit(COLUMNS, weight)


@pytest.mark.parametrize("features", [JetImages(), JetImages(size=9, regrid="area", tower=0.1, scale="standard")])
def test_json_round_trip_gives_the_same_images(features: JetImages) -> None:
    fitted = replace(features).fit(COLUMNS)
    again = features_from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert np.array_equal(again.transform(COLUMNS), fitted.transform(COLUMNS))
