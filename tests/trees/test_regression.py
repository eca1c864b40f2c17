"""Regression trees: constants that minimise each loss, a known curve, refused options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import Labelled
from fivesigma.models.training_inputs import InvalidInputsError, InvalidWeightError
from fivesigma.trees import BoostedTreesRegressor, RandomForestRegressor

RNG = np.random.default_rng(1)
ENERGY = RNG.exponential(3.0, 4_000)
NOTHING = np.zeros((4_000, 1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"loss": "squared"}, ENERGY.mean()),
        ({"loss": "absolute"}, np.median(ENERGY)),
        ({"loss": "quantile", "quantile": 0.9}, np.quantile(ENERGY, 0.9)),
        ({"loss": "quantile", "quantile": 0.16}, np.quantile(ENERGY, 0.16)),
    ],
)
def test_without_information_each_loss_has_its_own_constant(options: Any, expected: float) -> None:
    model = BoostedTreesRegressor(trees=5, **options).fit(NOTHING, ENERGY)
    assert model.predict(NOTHING[:1])[0] == pytest.approx(expected, rel=5e-3)


def test_huber_lies_where_its_slopes_balance() -> None:
    x = np.repeat([0.0, 1.0], 2_000)[:, None]
    y = x[:, 0] * 10 + ENERGY
    predicted = BoostedTreesRegressor(loss="huber", huber_width=2.0, trees=200, learning_rate=0.2).fit(x, y).predict(x)
    for value in (0.0, 1.0):
        residual = (y - predicted)[x[:, 0] == value]
        assert abs(np.clip(residual, -2.0, 2.0).mean()) < 0.02


@pytest.mark.parametrize(
    "model",
    [
        BoostedTreesRegressor(trees=100),
        RandomForestRegressor(trees=20),
        RandomForestRegressor(trees=3, loss="absolute", depth=6),
    ],
)
def test_a_known_curve_to_its_noise(model: Any, tmp_path: Path) -> None:
    x = RNG.uniform(-2, 2, (1_500, 1))
    y = x[:, 0] ** 2 + RNG.normal(0, 0.2, 1_500)
    model.fit(x[:1000], y[:1000], np.where(x[:1000, 0] > 0, 2.0, 1.0))
    assert np.std(model.predict(x[1000:]) - x[1000:, 0] ** 2) < 0.15
    model.save(tmp_path)
    np.testing.assert_array_equal(type(model).load(tmp_path).predict(x), model.predict(x))


def test_early_stopping_keeps_the_best() -> None:
    x = RNG.normal(size=(600, 2))
    y = x[:, 0] + RNG.normal(size=600)
    held_out = Labelled(x[300:], y[300:], np.ones(300))
    model = BoostedTreesRegressor(learning_rate=0.3, min_events_in_leaf=5, patience=5)
    model.fit(x[:300], y[:300], validation=held_out)
    best = min(tree["validation_loss"] for tree in model.history_)
    assert np.mean(np.square(model.predict(x[300:]) - y[300:])) == pytest.approx(best, rel=1e-6)


def test_refused_options_and_inputs() -> None:
    for options, message in (
        ({"loss": "hubber"}, "unknown loss 'hubber'; did you mean 'huber'"),
        ({"loss": "quantile", "quantile": 1.0}, "quantile must lie between 0 and 1"),
        ({"loss": "huber", "huber_width": 0.0}, "huber_width must be positive"),
    ):
        with pytest.raises(ConfigError, match=message):
            BoostedTreesRegressor(**options).fit(NOTHING, ENERGY)
    with pytest.raises(ConfigError, match="unknown loss 'huber'"):
        RandomForestRegressor(loss="huber").fit(NOTHING, ENERGY)  # type: ignore[arg-type]
    with pytest.raises(InvalidWeightError, match="cannot learn from negative weights"):
        RandomForestRegressor().fit(NOTHING, ENERGY, -np.ones(4_000))
    with pytest.raises(InvalidInputsError, match="NaN"):
        BoostedTreesRegressor().fit(NOTHING, np.full(4_000, np.nan))
