import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ConfigError
from fivesigma.models import LikelihoodRatio, SingleVariable


def test_two_gaussians_come_near_the_optimum() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60_000)
    X = rng.normal(size=(len(y), 2)) + y[:, None] * np.array([0.8, 0.6])
    half = len(y) // 2
    auc = roc_auc_score(y[half:], LikelihoodRatio().fit(X[:half], y[:half]).predict_proba(X[half:])[:, 1])
    optimum = norm.cdf(1.0 / np.sqrt(2))
    assert optimum - 0.015 < auc < optimum + 0.009  # binning loses; three standard deviations


def test_a_correlation_is_seen_where_each_variable_alone_says_nothing() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 20_000)
    first, second = rng.normal(size=(2, len(y)))
    X = np.stack([first, np.where(y == 1, 1, -1) * 0.9 * first + 0.4 * second], axis=1)
    half = len(y) // 2
    auc = roc_auc_score(y[half:], LikelihoodRatio().fit(X[:half], y[:half]).predict_proba(X[half:])[:, 1])
    alone = roc_auc_score(y[half:], SingleVariable(column=1).fit(X[:half], y[:half]).predict_proba(X[half:])[:, 1])
    assert auc > 0.85
    assert alone == pytest.approx(0.5, abs=0.03)


def test_probability_is_the_counted_ratio() -> None:
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 30)[:, None]
    y = np.repeat([0, 0, 1, 0, 1, 1], [30, 20, 10, 10, 20, 30])
    model = LikelihoodRatio(bins=4, smoothing=1e-9).fit(x, y)
    np.testing.assert_allclose(model.predict_proba([[0.0], [1.0], [2.0], [3.0]])[:, 1], [0, 1 / 3, 2 / 3, 1], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.125, 3.0, 1e4]))
def test_integer_weights_are_copies_of_events_and_a_common_factor_is_nothing(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.arange(300) % 2
    X = rng.normal(size=(300, 2)) + y[:, None]
    copies = 2  # the same for all: the effective number of events, which sets the smoothing, is then that of the copies
    weighted = LikelihoodRatio(bins=5, smoothing=copies).fit(np.repeat(X, copies, axis=0), np.repeat(y, copies))
    rescaled = LikelihoodRatio(bins=5).fit(X, y, np.full(len(y), factor))
    np.testing.assert_allclose(weighted.predict_proba(X), rescaled.predict_proba(X), rtol=1e-9)


def test_a_bin_with_negative_sum_counts_as_empty() -> None:
    x = np.array([[0.0], [0.0], [1.0], [1.0], [1.0]])
    model = LikelihoodRatio(bins=2).fit(x, [0, 1, 0, 1, 1], [5.0, -1.0, 1.0, 3.0, 3.0])
    assert 0.0 < model.predict_proba([[0.0]])[0, 1] < 0.5 < model.predict_proba([[1.0]])[0, 1]


@pytest.mark.parametrize("options", [{"bins": 1}, {"events_per_bin": 0.0}, {"smoothing": 0.0}])
def test_options_that_cannot_be_meant_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="bins ≥ 2"):
        LikelihoodRatio(**options).fit([[0.0], [1.0]], [0, 1])  # type: ignore[arg-type]
