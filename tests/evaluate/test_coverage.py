"""Coverage and scores of error bars, on Gaussians whose answers are known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from fivesigma.core.errors import ConfigError, FeatureError, WeightError
from fivesigma.evaluate.coverage import (
    LEVELS,
    coverage,
    coverage_curve,
    gaussian_crps,
    gaussian_nll,
    log_loss,
    mean_score,
    pulls,
    sample_crps,
)

N = 8_000
RNG = np.random.default_rng(3)
MEAN, DEVIATION = RNG.normal(size=N), RNG.uniform(0.5, 2.0, N)
TRUTH = MEAN + DEVIATION * RNG.normal(size=N)


def gaussian_intervals(scale: float) -> Any:
    """Intervals of a tool that takes its deviations ``scale`` times what they are."""
    return lambda level: np.stack([MEAN + s * norm.ppf((1 + level) / 2) * scale * DEVIATION for s in (-1, 1)], axis=1)


def test_right_intervals_cover_at_every_level_and_their_width_is_known() -> None:
    for found in coverage_curve(gaussian_intervals(1.0), TRUTH):
        assert abs(found.n_sigma) < 3
        assert found.covered.uncertainty == pytest.approx(np.sqrt(found.level * (1 - found.level) / N), rel=0.15)
        assert found.width.value == pytest.approx(2 * norm.ppf((1 + found.level) / 2) * DEVIATION.mean())


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_wrong_deviations_cover_as_the_gaussian_says(scale: float) -> None:
    for found in coverage_curve(gaussian_intervals(scale), TRUTH, levels=LEVELS[4:]):
        expected = 2 * norm.cdf(scale * norm.ppf((1 + found.level) / 2)) - 1
        assert found.covered.value == pytest.approx(expected, abs=4 * found.covered.uncertainty)


def test_weights_count_as_events_do_and_signed_pairs_cancel() -> None:
    low, high, truth = np.zeros(3), np.ones(3), np.array([0.5, 2.0, 0.0])
    assert coverage(low, high, truth, 0.68, weight=[1.0, 2.0, 1.0]).covered.value == 0.5
    cancelled = coverage(np.zeros(5), np.ones(5), [0.5, 2.0, 0.0, 2.0, 2.0], 0.68, weight=[1, 2, 1, 1, -1])
    assert cancelled.covered.value == 0.5
    with pytest.raises(WeightError, match="positive sum of weights"):
        coverage(low, high, truth, 0.68, weight=[1.0, -1.0, 0.0])


def test_pulls_have_the_width_of_the_error_of_the_error() -> None:
    right, small = pulls(MEAN, DEVIATION, TRUTH), pulls(MEAN, DEVIATION / 2, TRUTH + 0.1 * DEVIATION)
    assert abs(right.mean.value) < 3 * right.mean.uncertainty
    assert abs(right.width.value - 1) < 3 * right.width.uncertainty
    assert small.width.value == pytest.approx(2.0, abs=3 * small.width.uncertainty)
    assert small.mean.value == pytest.approx(0.2, abs=3 * small.mean.uncertainty)


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(-2, 2), deviation=st.floats(0.2, 3), truth=st.floats(-5, 5))
def test_crps_is_its_integral(mean: float, deviation: float, truth: float) -> None:
    below, _ = quad(lambda t: norm.cdf(t, mean, deviation) ** 2, mean - 40, truth, limit=200)
    above, _ = quad(lambda t: norm.sf(t, mean, deviation) ** 2, truth, mean + 40, limit=200)
    assert gaussian_crps([mean], [deviation], [truth])[0] == pytest.approx(below + above, abs=1e-6)


def test_crps_of_samples_is_the_double_mean_and_tends_to_the_closed_form() -> None:
    samples = RNG.normal(size=(5, 3))
    truth = np.array([0.0, 1.0, -2.0])
    pairs = [np.abs(a - b) for i, a in enumerate(samples) for j, b in enumerate(samples) if i != j]
    obvious = np.abs(samples - truth).mean(axis=0) - np.mean(pairs, axis=0) / 2
    np.testing.assert_allclose(sample_crps(samples, truth), obvious)
    many = MEAN[:4000] + DEVIATION[:4000] * RNG.normal(size=(10, 4000))
    closed = gaussian_crps(MEAN[:4000], DEVIATION[:4000], TRUTH[:4000])
    difference = mean_score(sample_crps(many, TRUTH[:4000]) - closed)
    assert abs(difference.value) < 3 * difference.uncertainty


def test_nll_and_log_loss_are_those_of_scipy_and_smallest_for_the_truth() -> None:
    np.testing.assert_allclose(gaussian_nll(MEAN, DEVIATION, TRUTH), -norm.logpdf(TRUTH, MEAN, DEVIATION))
    p = RNG.uniform(0.05, 0.95, 50)
    np.testing.assert_allclose(log_loss(p, p), -(p * np.log(p) + (1 - p) * np.log(1 - p)))
    assert (log_loss(np.clip(p + 0.02, 0, 1), p) >= log_loss(p, p)).all()
    assert log_loss([1.0, 0.0], [1, 0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: coverage([0.0], [1.0], [0.5], 1.0), ConfigError, "level: expected between 0 and 1, got 1"),
        (lambda: coverage([0.0, 2.0], [1.0, 1.0], [0.5, 0.5], 0.68), FeatureError, "low is above high in 1 of 2 rows"),
        (lambda: coverage([0.0], [1.0, 1.0], [0.5], 0.68), FeatureError, "high: expected shape"),
        (lambda: gaussian_nll([0.0], [0.0], [0.0]), FeatureError, "deviation: expected above 0, got 0 in row 0"),
        (lambda: log_loss([1.2], [1]), FeatureError, "probability: expected 0…1"),
        (lambda: log_loss([0.0, 0.5], [1, 1]), FeatureError, "1 rows are certain and wrong, the first is row 0"),
        (lambda: sample_crps([[1.0]], [1.0]), FeatureError, "at least 2"),
    ],
)
def test_what_cannot_be_judged_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
