"""Boosted reweighting: the true ratio of densities, correlations that bins of one variable miss, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.dataset import reweight, reweight_boosted, with_separation
from fivesigma.dataset.closure_test import classifier_auc, ks_distance, separation


def correlated(n: int, seed: int) -> tuple[dict[str, Any], Any, Any]:
    """Normal in each of three variables; the signal's first two are correlated, the background's are not."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    x = rng.normal(size=(2 * n, 3))
    x[y == 1, 1] = 0.6 * x[y == 1, 0] + 0.8 * x[y == 1, 1]
    return dict(zip("abc", x.T, strict=True)), y, np.arange(2 * n) % 5


def test_closes_where_one_variable_at_a_time_cannot_see() -> None:
    variables, y, fold = correlated(8_000, 1)
    weight = np.ones(len(y))
    result = with_separation(reweight_boosted(variables, y, weight, fold, to_class="signal"), variables, y, weight)
    assert result.closure.separation is not None
    before, after = result.closure.separation
    assert max(before.ks.values()) < 0.03  # every spectrum agrees from the start
    assert before.auc is not None
    assert after.auc is not None
    assert before.auc > 0.5 + 20 * before.auc_uncertainty  # type: ignore[operator]
    assert abs(after.auc - 0.5) < 4 * after.auc_uncertainty  # type: ignore[operator]
    own = y == 0
    assert np.average(variables["a"][own] * variables["b"][own], weights=result.weight[own]) > 0.4
    assert result.weight[own].sum() == pytest.approx(own.sum())
    np.testing.assert_array_equal(result.weight[~own], 1.0)
    assert result.closure.effective_after[0] < result.closure.effective_before[0]


def test_factors_are_the_ratio_of_densities() -> None:
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 10_000)
    x = np.where(y == 1, rng.normal(0.5, 1, 20_000), rng.normal(0, 1, 20_000))
    result = reweight_boosted({"x": x}, y, np.ones(20_000), np.arange(20_000) % 5)
    inside = np.abs(x) < 1.5
    expected = np.exp(0.5 * x - 0.125)
    found = result.factor_of({"x": x}, np.zeros(20_000, int))
    assert np.sqrt(np.mean((found / expected - 1)[inside] ** 2)) < 0.12
    np.testing.assert_array_equal(result.factor_of({"x": x[:3]}, np.ones(3, int)), 1.0)


def test_an_event_does_not_enter_its_own_factor() -> None:
    """Changing the weights of a fold changes no factor in it, except for the common normalisation."""
    variables, y, fold = correlated(1_500, 3)
    weight = np.ones(len(y))
    shifted = np.where((fold == 2) & (np.abs(variables["a"]) > 1), 3.0, 1.0)
    own = (fold == 2) & (y == 0)
    for method in ("boosted", "histogram"):
        factors = []
        for w in (weight, shifted):
            if method == "boosted":
                after = reweight_boosted(variables, y, w, fold, options={"trees": 20}).weight
            else:
                after = reweight(variables, y, w, bins=[np.linspace(-4, 4, 4)] * 3, fold=fold).weight
            factors.append((after / w)[own])
        filled = factors[1] > 0
        ratio = factors[0][filled] / factors[1][filled]
        np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-9)


def test_out_of_fold_histograms_close_within_their_uncertainty() -> None:
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1], 20_000)
    x = np.where(y == 1, rng.normal(0.3, 1, 40_000), rng.normal(0, 1, 40_000))
    (variable,) = reweight({"x": x}, y, np.ones(40_000), bins=20, fold=np.arange(40_000) % 5).closure.variables
    assert (
        variable.chi2_after < stats.chi2.isf(1e-4, variable.ndf) * 2
    )  # the factors' own fluctuations double the variance
    assert variable.chi2_before / variable.ndf > 10


def test_tests_of_closure_agree_with_scipy_and_with_chance() -> None:
    rng = np.random.default_rng(5)
    label = np.repeat([False, True], 3_000)
    x = np.where(label, rng.normal(0.1, 1, 6_000), rng.normal(0, 1, 6_000)).round(2)
    peer = stats.ks_2samp(x[label], x[~label], method="asymp")
    assert ks_distance(x, label, np.ones(6_000)) == pytest.approx(peer.statistic, abs=1e-12)
    found = separation(x[:, None], ["x"], label, np.ones(6_000))
    assert found.p_value["x"] == pytest.approx(peer.pvalue, rel=0.1)
    pulls = []
    for seed in range(12):
        z = np.random.default_rng(seed).normal(size=(1_000, 2))
        auc, uncertainty = classifier_auc(z, np.arange(1_000) % 2 == 0, np.ones(1_000))
        pulls.append((auc - 0.5) / uncertainty)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(12)
    assert np.std(pulls) < 2
    assert separation(x[:, None], ["x"], label, np.where(x > 1, -1.0, 1.0)).auc is None


def test_refusals() -> None:
    variables, y, fold = correlated(100, 6)
    weight = np.ones(len(y))
    with pytest.raises(WeightError, match="boosted reweighting cannot take negative weights"):
        reweight_boosted(variables, y, np.where(np.arange(200) == 3, -1.0, 1.0), fold)
    with pytest.raises(ConfigError, match="no option 'tree'"):
        reweight_boosted(variables, y, weight, fold, options={"tree": 3})
    with pytest.raises(ConfigError, match="two different ones at least, got 1"):
        reweight_boosted(variables, y, weight, np.zeros(200))
    with pytest.raises(ConfigError, match="two different ones at least"):
        reweight(variables, y, weight, bins=2, fold=np.zeros(200))
