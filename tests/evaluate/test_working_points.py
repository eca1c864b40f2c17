import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from tests.evaluate.toys import SHIFT, gaussians

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate import Expectation, optimal_cut, working_points

EXPECTED = Expectation(signal=100, background=1000, background_uncertainty=0.1)


def test_the_table_holds_what_a_cut_does() -> None:
    score, y = gaussians(np.random.default_rng(1), 2000)
    rows = working_points(score, y, signal_efficiency=[0.5, 0.2], expectation=EXPECTED)
    assert [row.signal_efficiency.value for row in rows] == pytest.approx([0.2, 0.5])  # the tightest first
    for row in rows:
        signal, background = ((score[y == label] >= row.threshold).mean() for label in (1, 0))
        assert (row.signal_efficiency.value, row.background_efficiency.value) == pytest.approx((signal, background))
        assert row.rejection.value == pytest.approx(1 / background)
        assert row.s_over_sqrt_b == pytest.approx(100 * signal / math.sqrt(1000 * background))
        variance = 1000 * background + (0.1 * 1000 * background) ** 2
        assert row.significance == pytest.approx(100 * signal / math.sqrt(variance))
        assert row.background_efficiency.how == "binomial (Clopper–Pearson)"
    json.dumps([row.to_json() for row in rows], allow_nan=False)


def test_thresholds_may_be_given_and_no_expectation_is_needed() -> None:
    score, y = gaussians(np.random.default_rng(1), 200)
    loose, tight = sorted(working_points(score, y, thresholds=[10.0, -10.0]), key=lambda row: row.threshold)
    assert loose.signal_efficiency.value == 1.0
    assert tight.rejection.value == math.inf
    assert tight.significance is None
    json.dumps(tight.to_json(), allow_nan=False)


def test_signed_weights_give_signed_ratios() -> None:
    row = working_points([1.0, 2.0, 3.0, 1.0], [0, 0, 0, 1], [2.0, -0.5, 1.0, 1.0], thresholds=[1.5])[0]
    assert row.background_efficiency.value == pytest.approx(0.5 / 2.5)
    assert row.background_efficiency.how == "sums of squared signed weights"


def test_the_optimal_cut_of_gaussians() -> None:
    score, y = gaussians(np.random.default_rng(2), 15_000)

    def minus_significance(cut: float) -> float:
        return -float(EXPECTED.significance(norm.sf(cut - SHIFT), norm.sf(cut)))

    truth = minimize_scalar(minus_significance, bounds=(0, 4), method="bounded")
    found = optimal_cut(score, y, expectation=EXPECTED, n_replicas=100)
    assert abs(found.threshold.value - truth.x) < 3 * found.threshold.uncertainty
    assert found.significance.value == pytest.approx(-truth.fun, abs=3 * found.significance.uncertainty)
    best = np.flatnonzero(found.curve_threshold == found.threshold.value)
    assert found.curve_significance[best] == pytest.approx([found.significance.value])
    json.dumps(found.to_json(), allow_nan=False)


def test_cuts_that_nearly_no_background_passes_are_not_optimal() -> None:
    # Without this rule the best cut of S/√B always sits on the last background event.
    score, y = gaussians(np.random.default_rng(3), 1000)
    plain = Expectation(100, 1000)
    found = optimal_cut(score, y, expectation=plain, minimal_background=50, n_replicas=20)
    assert (score[y == 0] >= found.threshold.value).sum() >= 50
    with pytest.raises(NoEventsError, match="no cut leaves 2000 background events"):
        optimal_cut(score, y, expectation=plain, minimal_background=2000)


@pytest.mark.parametrize("arguments", [(0, 1, 0), (1, -1, 0), (1, 1, -0.1), (1, math.nan, 0)])
def test_impossible_expectations_are_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="expected positive signal and background"):
        Expectation(*arguments)
