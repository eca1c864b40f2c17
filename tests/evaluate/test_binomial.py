import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from fivesigma.core.errors import WeightError
from fivesigma.evaluate import clopper_pearson, weighted_efficiency
from fivesigma.evaluate.binomial import inverse
from fivesigma.evaluate.measurement import CONFIDENCE, Measurement


@pytest.mark.parametrize(("passed", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (37, 1234)])
def test_clopper_pearson_is_scipys(passed: int, total: int) -> None:
    expected = binomtest(passed, total).proportion_ci(CONFIDENCE, method="exact")
    assert clopper_pearson(passed, total) == pytest.approx((expected.low, expected.high))
    measured = weighted_efficiency(np.arange(total) < passed, np.full(total, 0.3))
    assert measured.interval == pytest.approx((expected.low, expected.high))
    assert measured.how == "binomial (Clopper–Pearson)"


def test_clopper_pearson_covers_at_least_what_it_says() -> None:
    total, truth = 25, 0.13
    intervals = [clopper_pearson(k, total) for k in range(total + 1)]
    covered = sum(binom.pmf(k, total, truth) for k, (low, high) in enumerate(intervals) if low <= truth <= high)
    assert covered >= CONFIDENCE


def test_unequal_weights_spread_as_toys_do() -> None:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=2000)
    toys = [weighted_efficiency(rng.random(2000) < 0.2, weight).value for _ in range(300)]
    measured = weighted_efficiency(rng.random(2000) < 0.2, weight)
    assert measured.uncertainty == pytest.approx(np.std(toys), rel=0.15)
    assert "effective counts" in measured.how


def test_signed_weights_spread_as_toys_do() -> None:
    rng = np.random.default_rng(1)

    def toy() -> Measurement:
        weight = np.where(rng.random(2000) < 0.2, -1.0, 1.0)
        return weighted_efficiency(rng.random(2000) < 0.2, weight)

    toys = [toy() for _ in range(300)]
    spread = np.std([measured.value for measured in toys])
    assert np.mean([measured.uncertainty for measured in toys]) == pytest.approx(spread, rel=0.15)
    assert toys[0].how == "sums of squared signed weights"
    with pytest.raises(WeightError, match="needs a positive sum"):
        weighted_efficiency(np.array([True, False]), np.array([1.0, -1.0]))


def test_rejection_has_the_mapped_interval() -> None:
    rejection = inverse(Measurement(0.1, 0.02, "by hand", (0.08, 0.125)))
    assert rejection.value == pytest.approx(10)
    assert rejection.interval == pytest.approx((8, 12.5))
    assert rejection.uncertainty == pytest.approx(2.25)
    none_left = inverse(weighted_efficiency(np.zeros(10, dtype=bool), np.ones(10)))
    assert none_left.value == math.inf
    assert none_left.interval is not None
    assert none_left.interval[0] == pytest.approx(1 / 0.168, rel=0.01)
