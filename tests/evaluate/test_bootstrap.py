import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, poisson
from tests.evaluate.toys import gaussians, true_auc

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate import bootstrap_replicas, compare, measure, poisson_counts
from fivesigma.evaluate.bootstrap import bootstrap_measurement, central_interval, event_uniform
from fivesigma.evaluate.measurement import CONFIDENCE

EVENTS = np.arange(200_000, dtype=np.uint64)


def delong_variance(score: NDArray[np.float64], y: NDArray[np.int8]) -> float:
    """Variance of the AUC (DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837), written out."""
    s, b = score[y == 1], score[y == 0]
    wins = (s[:, None] > b) + 0.5 * (s[:, None] == b)
    return float(wins.mean(axis=1).var(ddof=1) / len(s) + wins.mean(axis=0).var(ddof=1) / len(b))


def test_counts_are_poisson_of_mean_one() -> None:
    counts = poisson_counts(EVENTS, replica=3, seed=5)
    observed = np.bincount(counts, minlength=8)[:8]
    expected = poisson.pmf(np.arange(8), 1) * len(EVENTS)
    assert np.sum((observed - expected) ** 2 / expected) < 25  # χ² of 8 bins


def test_replicas_seeds_and_neighbouring_events_are_independent() -> None:
    a, b = poisson_counts(EVENTS, 0).astype(float), poisson_counts(EVENTS, 1).astype(float)
    c = poisson_counts(EVENTS, 0, seed=1).astype(float)
    for first, second in ((a, b), (a, c), (a[1:], a[:-1]), (a[1:], b[:-1])):
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(len(EVENTS))


def test_rows_of_one_event_move_together_whatever_stands_around_them() -> None:
    rng = np.random.default_rng(0)
    events = rng.integers(0, 500, 3000).astype(np.uint64)
    counts = poisson_counts(events, 7)
    for identity in range(0, 500, 50):
        assert len(set(counts[events == identity])) == 1
    order = rng.permutation(3000)[:1000]
    assert np.array_equal(poisson_counts(events[order], 7), counts[order])


def test_the_same_seed_gives_the_same_uncertainty() -> None:
    score, y = gaussians(np.random.default_rng(1), 200)
    assert measure("auc", score, y, seed=4) == measure("auc", score, y, seed=4)
    assert measure("auc", score, y, seed=4).uncertainty != measure("auc", score, y, seed=5).uncertainty


def test_two_rows_an_event_are_one_piece_of_information() -> None:
    # Every row twice under one identity: nothing was gained, and the bootstrap over events knows it.
    score, y = gaussians(np.random.default_rng(2), 500)
    event = np.arange(len(y), dtype=np.uint64)
    single = measure("auc", score, y, event=event)
    double = measure("auc", np.tile(score, 2), np.tile(y, 2), event=np.tile(event, 2))
    assert double.uncertainty == pytest.approx(single.uncertainty)
    naive = measure("auc", np.tile(score, 2), np.tile(y, 2))
    assert naive.uncertainty == pytest.approx(single.uncertainty / math.sqrt(2), rel=0.25)


def test_auc_uncertainty_is_delongs() -> None:
    score, y = gaussians(np.random.default_rng(3), 1000)
    measured = measure("auc", score, y, n_replicas=1000)
    assert measured.uncertainty == pytest.approx(math.sqrt(delong_variance(score, y)), rel=0.12)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    toys, rng = 250, np.random.default_rng(11)
    within = 0
    for _ in range(toys):
        score, y = gaussians(rng, 100)
        measured = measure("auc", score, y, n_replicas=60, seed=int(rng.integers(2**31)))
        within += abs(measured.value - true_auc()) < measured.uncertainty
    low, high = binom.ppf([0.005, 0.995], toys, CONFIDENCE)
    assert low <= within <= high


def test_paired_differences_are_surer_than_unpaired_ones() -> None:
    rng = np.random.default_rng(12)
    score, y = gaussians(rng, 2000)
    other = score + 0.3 * rng.normal(size=len(score))  # correlated, and a little worse
    comparison = compare({"first": score, "second": other}, y, metrics=["auc"], n_replicas=300)
    paired = comparison.difference("first", "second", "auc")
    a, b = (comparison.measurement(name, "auc").uncertainty for name in ("first", "second"))
    assert paired.difference.uncertainty < 0.6 * math.hypot(a, b)
    assert paired.n_sigma > 3


def test_weighted_uncertainty_grows_as_effective_size_shrinks() -> None:
    rng = np.random.default_rng(13)
    score, y = gaussians(rng, 4000)
    flat = measure("auc", score, y, n_replicas=400).uncertainty
    weight = rng.exponential(size=len(y))  # (Σw)²/Σw² is half of the number
    weighted = measure("auc", score, y, weight, n_replicas=400).uncertainty
    assert weighted == pytest.approx(flat * math.sqrt(2), rel=0.15)


def test_infinite_replicas_open_the_interval() -> None:
    replicas = np.concatenate([np.arange(1.0, 71.0), np.full(30, np.inf)])
    low, high = central_interval(replicas)
    assert low == pytest.approx(16.7, abs=0.2)
    assert high == math.inf
    measured = bootstrap_measurement(50.0, replicas)
    assert math.isnan(measured.uncertainty)
    assert "no uncertainty" in measured.how
    assert central_interval(np.concatenate([np.arange(80.0), np.full(20, np.nan)])) == pytest.approx(
        (math.nan, math.nan), nan_ok=True
    )


def test_the_interval_is_that_of_numpys_quantiles() -> None:
    replicas = np.random.default_rng(0).normal(size=200)
    tail = (1 - CONFIDENCE) / 2
    assert central_interval(replicas) == pytest.approx(tuple(np.quantile(replicas, [tail, 1 - tail])))


def test_statistics_of_any_shape_and_too_few_replicas() -> None:
    events = np.arange(10, dtype=np.uint64)
    replicas = bootstrap_replicas(lambda counts: np.ones((2, 3)) * counts.sum(), events, n_replicas=20)
    assert replicas.shape == (20, 2, 3)
    with pytest.raises(ConfigError, match="n_replicas: expected at least 20"):
        measure("auc", [0.0, 1.0], [0, 1], n_replicas=5)


def test_the_coin_is_fair() -> None:
    heads = (event_uniform(EVENTS, 0) < 0.5).mean()
    assert abs(heads - 0.5) < 5 * 0.5 / math.sqrt(len(EVENTS))
