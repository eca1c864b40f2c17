"""A stable detector raises alarms no more often than stated; a change is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate.drift import Exposure, Slice, counts_p_value, rate_p_value, watch


def taken(rng: np.random.Generator, n: int, *, shift: float = 0.0, rate: float = 0.02) -> Slice:
    values = {"mass": rng.normal(shift, 1.0, n), "tracks": rng.choice([2.0, 3.0, 4.0], n, p=[0.7, 0.25, 0.05])}
    return Slice(values, Exposure(20 * n, {"rate": int(rng.poisson(20 * n * rate))}))


def test_a_stable_detector_raises_no_more_alarms_than_stated() -> None:
    """80 runs of 4 slices and 3 quantities at 10 %: at most 10 % of runs have any alarm, within 99.9 %."""
    rng = np.random.default_rng(1)
    false = sum(
        bool(watch(taken(rng, 2_000), [taken(rng, 200) for _ in range(4)], false_alarm_rate=0.1).alarms)
        for _ in range(80)
    )
    assert false <= stats.binom.ppf(0.999, 80, 0.1)
    assert false >= 1  # a test that never alarms would not be one


def test_a_shifted_input_is_found_where_it_begins() -> None:
    rng = np.random.default_rng(2)
    slices = [taken(rng, 400, shift=0.0 if i < 3 else 0.5) for i in range(6)]
    drift = watch(taken(rng, 4_000), slices, false_alarm_rate=0.01)
    assert {(alarm.slice, alarm.quantity) for alarm in drift.alarms} == {(i, "mass") for i in (3, 4, 5)}
    assert drift.threshold == pytest.approx(1 - 0.99 ** (1 / 18))
    assert drift.tests == ("binomial", "Kolmogorov–Smirnov", "χ²")


def test_a_changed_rate_is_found() -> None:
    rng = np.random.default_rng(3)
    drift = watch(taken(rng, 4_000), [taken(rng, 400), taken(rng, 400, rate=0.04)])
    assert [(alarm.slice, alarm.quantity) for alarm in drift.alarms] == [(1, "rate")]
    assert drift.to_json()["alarms"][0]["slice"] == 1


def test_the_rates_p_value_is_the_exact_conditional_one() -> None:
    """3 of 100 after 1 of 300: given 4 in all, 3 or more in a quarter of the time has 4 (¼)³(¾) + (¼)⁴."""
    p = rate_p_value(Exposure(300, {"r": 1}), Exposure(100, {"r": 3}), "r")
    assert p == pytest.approx(4 * 0.25**3 * 0.75 + 0.25**4)
    assert rate_p_value(Exposure(300, {"r": 0}), Exposure(100, {"r": 0}), "r") == 1.0


def test_counts_are_compared_by_chi2_with_rare_values_put_together() -> None:
    before = np.repeat([2.0, 3.0, 4.0], [700, 250, 50])
    now = np.repeat([2.0, 3.0, 4.0], [60, 38, 2])
    table = np.array([[700, 300], [60, 40]])  # less than five fours are expected in the second
    assert counts_p_value(before, now) == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(4)
    good = taken(rng, 100)
    with pytest.raises(FeatureError, match="slice 0: expected rate, mass, tracks, got rate, mass"):
        watch(good, [Slice({"mass": good.values["mass"]}, good.exposure)])
    with pytest.raises(ConfigError, match="false_alarm_rate"):
        watch(good, [good], false_alarm_rate=0.0)
    with pytest.raises(ConfigError, match="nothing to compare"):
        watch(good, [])
