"""Data against simulation: p-values that are right when both agree, and numbers that scipy gives too."""

import json

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp, kstest, mannwhitneyu

from fivesigma.core.errors import WeightError
from fivesigma.evaluate import classifier_two_sample_test, compare_data

EDGES = np.linspace(-2, 2, 9)


def test_without_weights_it_is_scipys_contingency_table_and_ks() -> None:
    rng = np.random.default_rng(0)
    data, simulation = rng.uniform(-2, 2, 1000), rng.uniform(-2, 2, 3000)
    found = compare_data(data, simulation, EDGES)
    table = np.stack([np.histogram(x, EDGES)[0] for x in (data, simulation)])
    expected = chi2_contingency(table, correction=False)
    assert (found.chi2, found.ndf) == pytest.approx((expected.statistic, expected.dof), rel=0.05)
    assert found.ks_distance == pytest.approx(ks_2samp(data, simulation).statistic)
    assert found.simulation.sum() == pytest.approx(1000)
    assert found.ratio == pytest.approx(found.data / found.simulation)
    assert found.ratio_error[0] == pytest.approx(np.sqrt(found.data[0]) / found.simulation[0])
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("normalise", [True, False])
def test_p_values_are_uniform_when_both_agree_with_signed_weights(normalise: bool) -> None:
    rng = np.random.default_rng(1)
    chi2 = []
    for _ in range(150):
        counts = rng.poisson([2000, 4000])
        data, simulation = (rng.normal(size=n) for n in counts)
        weight = np.where(rng.random(counts[1]) < 0.2, -1.0, 1.0) * 2000 / (0.6 * 4000)
        chi2.append(compare_data(data, simulation, EDGES, None, weight, normalise=normalise).chi2_p_value)
    assert kstest(chi2, "uniform").pvalue > 1e-3


def test_a_slope_is_found_and_a_rate_only_without_normalising() -> None:
    rng = np.random.default_rng(2)
    data, simulation = rng.normal(0.3, 1, 4000), rng.normal(0, 1, 4000)
    assert compare_data(data, simulation, EDGES).chi2_p_value < 1e-6
    assert compare_data(data, simulation, EDGES).ks_p_value < 1e-6
    twice = np.full(4000, 1.1)
    same = rng.normal(size=4000)
    assert compare_data(same, simulation, EDGES, twice).chi2_p_value > 1e-3
    assert compare_data(same, simulation, EDGES, twice, normalise=False).chi2_p_value < 1e-3
    assert compare_data([9.0, *same], simulation, EDGES).outside[0] > 1


def test_the_two_sample_test_is_mann_whitneys() -> None:
    rng = np.random.default_rng(3)
    score = np.concatenate([rng.normal(0, 1, 2000), rng.normal(0.06, 1, 2000)])
    second = np.repeat([0, 1], 2000)
    found = classifier_two_sample_test(score, second)
    expected = mannwhitneyu(score[second == 1], score[second == 0], alternative="greater")
    assert found.auc.value == pytest.approx(expected.statistic / 2000**2)
    assert np.log(found.p_value) == pytest.approx(np.log(expected.pvalue), rel=0.3)


def test_no_sum_of_weights_is_named() -> None:
    with pytest.raises(WeightError, match="mass: the weights of 2 data events sum to 0"):
        compare_data([1, 1], [1, 1], EDGES, [1, -1], variable="mass")
