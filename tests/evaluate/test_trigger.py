"""A trigger of known resolution: turn-on, cut, rate and reductions are those of closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from fivesigma.evaluate.trigger import (
    STEP,
    WINDOW,
    TriggerMuons,
    cut_at,
    rate,
    rates_at_equal_efficiency,
    relative_width,
    turn_on,
)

N, WIDTH, POWER = 200_000, 0.2, 5.0


@pytest.fixture(scope="module")
def muons() -> TriggerMuons:
    rng = np.random.default_rng(1)
    pt = 1 / rng.uniform(1 / 200, 1 / 2, N)
    return TriggerMuons(pt, pt ** (2 - POWER), np.arange(N, dtype=np.uint64), rng.uniform(size=N) < 0.95)


def smeared(muons: TriggerMuons, width: float, seed: int) -> np.ndarray:
    return np.log(muons.pt) + np.random.default_rng(seed).normal(0, width, N)


def test_the_turn_on_is_an_error_function(muons: TriggerMuons) -> None:
    edges = np.geomspace(10, 40, 29)
    points = turn_on(muons, smeared(muons, WIDTH, 2), np.log(20.0), edges.tolist())
    middle = (np.log(edges[1:]) + np.log(edges[:-1])) / 2
    pulls = (np.array([p.value for p in points]) - 0.95 * norm.cdf((middle - np.log(20)) / WIDTH)) / np.maximum(
        [p.uncertainty for p in points], 1e-3
    )
    assert np.sqrt(np.mean(pulls**2)) < 1.6


def test_the_cut_keeps_what_it_says(muons: TriggerMuons) -> None:
    score = smeared(muons, WIDTH, 2)
    cut = cut_at(muons, score, 20.0, 0.9)
    near = muons.near(20.0)
    assert (score[near] >= cut).mean() >= 0.9 > (score[near] >= cut + STEP).mean()
    expected = np.log(20) + norm.ppf(0.1) * np.hypot(WIDTH, WINDOW / np.sqrt(3))
    assert cut == pytest.approx(expected, abs=0.02)


def test_the_rate_is_the_integral_of_the_spectrum(muons: TriggerMuons) -> None:
    # without smearing: 95 % of (2/20)^4, per million
    found = rate(muons, np.log(muons.pt), np.log(20.0))
    assert abs(found.value - 0.95e6 * 1e-4) < 4 * found.uncertainty
    # smeared: the spectrum in ln pT falls as exp(−4 x); smearing multiplies it by exp(8 σ²)
    smear = rate(muons, smeared(muons, WIDTH, 3), np.log(20.0))
    assert abs(smear.value - 0.95e6 * 1e-4 * np.exp(8 * WIDTH**2)) < 4 * smear.uncertainty


def test_reductions_are_paired(muons: TriggerMuons) -> None:
    wide, narrow = smeared(muons, 0.3, 4), smeared(muons, 0.1, 5)
    found = rates_at_equal_efficiency(
        muons, {"wide": wide, "same": wide.copy(), "narrow": narrow}, 20.0, 0.9, n_replicas=40
    )
    same, better = found.reduction("same", "wide"), found.reduction("narrow", "wide")
    assert (same.value, same.uncertainty) == (1.0, 0.0)
    assert found.reduction("wide", "narrow").value == pytest.approx(1 / better.value)

    def expected(width: float) -> float:  # rate at the cut of 90 %
        cut = norm.ppf(0.1) * np.hypot(width, WINDOW / np.sqrt(3))
        return float(0.95e6 * 1e-4 * np.exp(8 * width**2 - 4 * cut))

    for name, width in (("wide", 0.3), ("narrow", 0.1)):
        assert found.rates[name].value == pytest.approx(expected(width), abs=5 * found.rates[name].uncertainty)
    assert better.value == pytest.approx(expected(0.3) / expected(0.1), abs=5 * better.uncertainty)


def test_the_width_is_a_standard_deviation() -> None:
    found = relative_width(2.0 * np.random.default_rng(1).normal(1.0, 0.1, 20_000))
    assert abs(found.value - 0.1) < 4 * found.uncertainty
    assert np.isnan(relative_width(np.ones(3)).value)
