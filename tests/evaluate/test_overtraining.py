import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp, kstest
from tests.evaluate.toys import gaussians

from fivesigma.evaluate import overtraining_check, weighted_chi2, weighted_ks

Vector = NDArray[np.float64]


def test_ks_distance_and_p_value_of_unit_weights_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(0.15, 1, size=500)
    distance, p_value = weighted_ks(a, np.ones(300), b, np.ones(500))
    expected = ks_2samp(a, b, method="exact")
    assert distance == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, rel=0.1)


def test_ks_weights_stand_for_repeated_events() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=100), rng.normal(size=100)
    times = rng.integers(1, 4, 100)
    assert weighted_ks(a, times.astype(float), b, np.ones(100))[0] == pytest.approx(
        ks_2samp(np.repeat(a, times), b).statistic
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_p_values_are_uniform_where_nothing_is_overtrained(weighted: bool) -> None:
    rng = np.random.default_rng(2)

    def sample() -> tuple[Vector, Vector]:
        return rng.normal(size=400), rng.uniform(0.2, 2, 400) if weighted else np.ones(400)

    edges = np.linspace(-3, 3, 16)

    def histogram(values: Vector, weight: Vector) -> tuple[Vector, Vector]:
        return (
            np.histogram(values, edges, weights=weight)[0].astype(float),
            np.histogram(values, edges, weights=weight**2)[0].astype(float),
        )

    ks, chi2 = [], []
    for _ in range(200):
        (a, a_weight), (b, b_weight) = sample(), sample()
        ks.append(weighted_ks(a, a_weight, b, b_weight)[1])
        chi2.append(weighted_chi2(*histogram(a, a_weight), *histogram(b, b_weight))[2])
    assert kstest(ks, "uniform").pvalue > 0.001
    assert kstest(chi2, "uniform").pvalue > 0.001


def test_chi2_of_counts_is_that_of_the_contingency_table() -> None:
    a, b = np.array([3010.0, 5000.0, 2000.0, 4400.0]), np.array([6000.0, 10100.0, 4120.0, 8700.0])
    value, ndf, p_value = weighted_chi2(a, a, b, b)
    expected = chi2_contingency(np.stack([a, b]))
    assert ndf == expected.dof
    assert value == pytest.approx(expected.statistic, rel=0.02)  # Neyman's against Pearson's variance
    assert p_value == pytest.approx(expected.pvalue, rel=0.05)


def test_sparse_bins_are_merged() -> None:
    a, b = np.array([1.0, 2.0, 30.0, 30.0, 1.0]), np.array([1.0, 2.0, 40.0, 35.0, 0.0])
    assert weighted_chi2(a, a, b, b)[1] == 1
    assert weighted_chi2(a[:2], a[:2], b[:2], b[:2])[1:] == (0, 1.0)


def test_an_overtrained_score_is_found_in_the_class_that_has_it() -> None:
    rng = np.random.default_rng(3)
    train, test = gaussians(rng, 3000), gaussians(rng, 3000)
    learned_by_heart = np.where(train.y == 1, train.score + 0.3, train.score)
    found = overtraining_check(learned_by_heart, train.y, test.score, test.y)
    assert found.signal.ks_p_value < 1e-6
    assert found.signal.chi2_p_value < 1e-6
    assert found.background.ks_p_value > 0.001
    assert found.background.chi2_p_value > 0.001
    json.dumps(found.to_json(), allow_nan=False)


def test_the_histograms_have_unit_area_and_poisson_uncertainties() -> None:
    rng = np.random.default_rng(4)
    train, test = gaussians(rng, 1000), gaussians(rng, 500)
    found = overtraining_check(*train, *test, np.full(2000, 7.0), np.full(1000, 0.1), bins=20).signal
    width = np.diff(found.edges)
    assert (found.train * width).sum() == pytest.approx(1)
    assert (found.test * width).sum() == pytest.approx(1)
    counts = np.histogram(test.score[test.y == 1], found.edges)[0]
    filled = counts > 0
    assert (found.test_uncertainty / np.where(filled, found.test, 1))[filled] == pytest.approx(
        1 / np.sqrt(counts[filled])
    )


def test_one_score_for_all_is_not_overtrained() -> None:
    found = overtraining_check([0.5] * 40, [0, 1] * 20, [0.5] * 40, [0, 1] * 20)
    assert (found.signal.ks_p_value, found.signal.chi2_p_value) == (1.0, 1.0)


def test_signed_weights_are_taken() -> None:
    rng = np.random.default_rng(5)
    train, test = gaussians(rng, 2000), gaussians(rng, 2000)
    sign = np.where(rng.random(4000) < 0.2, -1.0, 1.0)
    found = overtraining_check(*train, *test, sign, sign)
    assert found.signal.chi2_p_value > 1e-3
    assert found.background.chi2_p_value > 1e-3
