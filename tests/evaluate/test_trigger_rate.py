"""Thresholds, rates and efficiencies of a score whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate.binomial import clopper_pearson
from fivesigma.evaluate.trigger_rate import (
    EfficiencyAtRate,
    TriggerInput,
    TriggerScores,
    compare_at_rates,
    threshold_at_rate,
)

GIVEN = TriggerInput(rate=1000.0, collisions=10_000)  # kHz: each collision is 0.1 kHz


def test_a_rate_has_its_clopper_pearson_interval() -> None:
    found = GIVEN.output(25)
    assert found.value == pytest.approx(2.5)
    assert found.interval == pytest.approx(tuple(1000 * limit for limit in clopper_pearson(25, 10_000)))


def test_the_threshold_keeps_at_most_the_rate() -> None:
    background = np.concatenate([np.arange(100.0), [-np.inf] * 50])
    assert threshold_at_rate(background, GIVEN, 1.0) == 90.0  # ten events at or above
    tied = np.repeat(np.arange(10.0), 10)
    assert threshold_at_rate(tied, GIVEN, 1.5) == 9.0  # fifteen are allowed, the next step would be twenty
    above = threshold_at_rate(tied, GIVEN, 0.5)  # not even the first step of ten is allowed
    assert above > 9.0
    assert not (tied >= above).any()
    for rate in (0.0, 10.0):
        with pytest.raises(ConfigError, match="ask for a rate in between"):
            threshold_at_rate(background, GIVEN, rate)


def slow_efficiency(scores: TriggerScores, rate: float) -> float:
    """One threshold after the other."""
    allowed = rate / GIVEN.rate * GIVEN.collisions
    before = (0.0, 0.0)
    for cut in np.unique(np.concatenate([scores.signal, scores.background]))[::-1]:
        if not np.isfinite(cut):
            break
        now = (float((scores.background >= cut).sum()), float((scores.signal >= cut).mean()))
        if now[0] > allowed:
            share = (allowed - before[0]) / (now[0] - before[0])
            return before[1] + share * (now[1] - before[1])
        before = now
    return before[1]


@pytest.mark.parametrize("steps", [0, 7])
def test_efficiency_at_a_rate_is_that_of_a_scan(steps: int) -> None:
    rng = np.random.default_rng(5)
    signal, background = rng.normal(1.5, 1, 300), rng.normal(0, 1, 200)
    signal[:40] = -np.inf
    if steps:  # a table's scores
        signal, background = (np.round(x * steps) / steps for x in (signal, background))
    scores = TriggerScores(signal, background)
    rates = np.array([0.3, 1.05, 4.0, 12.0])
    found = EfficiencyAtRate(scores, GIVEN)(rates)
    np.testing.assert_allclose(found, [slow_efficiency(scores, rate) for rate in rates], rtol=1e-12)


def test_bootstrap_has_the_binomial_spread_and_differences_are_paired() -> None:
    rng = np.random.default_rng(6)
    signal, background = rng.uniform(0, 1, 2_000), rng.uniform(0, 1, 4_000)
    first = TriggerScores(signal, background)
    jitter = TriggerScores(signal + rng.normal(0, 1e-3, 2_000), background + rng.normal(0, 1e-3, 4_000))
    parts = {"all": np.ones(2_000, np.bool_), "half": np.arange(2_000) < 1_000}
    found = compare_at_rates({"a": first, "b": jitter}, GIVEN, (200.0,), parts)  # half of the background passes
    efficiency = found.efficiency("a", "all", 200.0)
    assert efficiency.value == pytest.approx(0.5, abs=0.05)
    # of the signal, and of the threshold, which moves with √(Poisson) of 2,000 passing in 4,000 that are spread over 1
    expected = np.hypot(0.5 / 2_000**0.5, 2_000**0.5 / 4_000)
    assert efficiency.uncertainty == pytest.approx(expected, rel=0.15)
    assert found.difference("a", "b", "all", 200.0).uncertainty < 0.2 * efficiency.uncertainty
    assert found.efficiency("a", "half", 200.0).uncertainty > efficiency.uncertainty
