import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.evaluate.toys import SHIFT, gaussians, true_auc, true_rejection

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.evaluate import METRICS, auc, measure, rejection_at, roc_curve

ROWS = 50
SCORES = arrays(np.float64, ROWS, elements=st.integers(-5, 9).map(float))
LABELS = arrays(np.int8, ROWS, elements=st.integers(0, 1)).filter(lambda y: 0 < y.sum() < ROWS)
WEIGHTS = arrays(np.float64, ROWS, elements=st.floats(0.01, 10.0))
SIGNED = arrays(np.float64, ROWS, elements=st.floats(-0.5, 2.0, width=32))


def pairwise_auc(score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]) -> float:
    """The definition, written out: a double sum over pairs; ties count half."""
    s, b = y == 1, y == 0
    wins = (score[s][:, None] > score[b]) + 0.5 * (score[s][:, None] == score[b])
    return float(weight[s] @ wins @ weight[b] / (weight[s].sum() * weight[b].sum()))


@settings(deadline=None, max_examples=40)
@given(SCORES, LABELS, WEIGHTS)
def test_auc_is_scikit_learns_for_positive_weights_and_ties(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]
) -> None:
    assert auc(score, y, weight) == pytest.approx(roc_auc_score(y, score, sample_weight=weight), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(SCORES, LABELS, SIGNED)
def test_auc_with_signed_weights_is_the_double_sum_over_pairs(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]
) -> None:
    if weight[y == 1].sum() < 0.1 or weight[y == 0].sum() < 0.1:
        return
    assert auc(score, y, weight) == pytest.approx(pairwise_auc(score, y, weight), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(SCORES, LABELS, SIGNED, st.floats(0.1, 100), st.integers(0, 2**32))
def test_metrics_do_not_depend_on_scale_order_or_duplication(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64], scale: float, seed: int
) -> None:
    if weight[y == 1].sum() < 0.1 or weight[y == 0].sum() < 0.1:
        return
    order = np.random.default_rng(seed).permutation(ROWS)
    for metric in (auc, lambda *arrays: 1 / rejection_at(0.5, *arrays)):
        value = metric(score, y, weight)
        assert metric(score, y, scale * weight) == pytest.approx(value, abs=1e-9)
        assert metric(score[order], y[order], weight[order]) == pytest.approx(value, abs=1e-9)
        doubled = metric(np.tile(score, 2), np.tile(y, 2), np.tile(weight, 2))
        assert doubled == pytest.approx(value, abs=1e-9)
        # An increasing function of the score, and another scale for one class, change no ranking.
        assert metric(np.arctan(score), y, np.where(y == 1, scale, 1.0) * weight) == pytest.approx(value, abs=1e-9)


def test_a_pair_of_opposite_weights_cancels_exactly() -> None:
    rng = np.random.default_rng(1)
    score, y = gaussians(rng, 500)
    with_pair = np.append(score, [0.3, 0.3]), np.append(y, [0, 0]), np.append(np.ones(1000), [5.0, -5.0])
    assert auc(*with_pair) == pytest.approx(auc(score, y), abs=1e-12)


def test_gaussians_have_their_closed_forms() -> None:
    score, y = gaussians(np.random.default_rng(3), 15_000)
    measured = measure("auc", score, y, n_replicas=100)
    assert abs(measured.value - true_auc()) < 3 * measured.uncertainty
    for target in (0.5, 0.2):
        measured = measure(f"rejection_at_{target:g}", score, y, n_replicas=100)
        assert abs(measured.value - true_rejection(target)) < 3 * measured.uncertainty
        improvement = measure(f"significance_improvement_at_{target:g}", score, y, n_replicas=20).value
        assert improvement == pytest.approx(target * math.sqrt(measured.value))


def test_largest_significance_improvement_of_gaussians() -> None:
    score, y = gaussians(np.random.default_rng(4), 15_000)
    grid = np.linspace(0.1, 1, 400)
    expected = max(float(e) * math.sqrt(true_rejection(float(e))) for e in grid)
    measured = measure("significance_improvement_max", score, y, n_replicas=50)
    assert abs(measured.value - expected) < 4 * measured.uncertainty


def test_weights_stand_for_repeated_events() -> None:
    rng = np.random.default_rng(5)
    score, y = gaussians(rng, 300)
    times = rng.integers(1, 4, len(y))
    repeated = np.repeat(score, times), np.repeat(y, times)
    assert auc(score, y, times) == pytest.approx(auc(*repeated), abs=1e-12)
    assert rejection_at(0.5, score, y, times) == pytest.approx(rejection_at(0.5, *repeated))


def test_perfect_separation_has_infinite_rejection_and_says_so() -> None:
    measured = measure("rejection_at_0.5", [0.1, 0.2, 0.8, 0.9] * 30, [0, 0, 1, 1] * 30)
    assert measured.value == math.inf
    assert "no background above the cut" in measured.how
    curve = roc_curve([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], n_replicas=50)
    assert curve.auc.value == 1.0
    assert json.loads(json.dumps(curve.to_json(), allow_nan=False))["rejection"][0] is None


def test_the_curve_agrees_with_the_single_metrics_and_lies_in_its_band() -> None:
    score, y = gaussians(np.random.default_rng(6), 3_000)
    curve = roc_curve(score, y, signal_efficiency=[0.2, 0.5, 0.9], n_replicas=100, seed=3)
    assert curve.rejection[:2] == pytest.approx([rejection_at(0.2, score, y), rejection_at(0.5, score, y)])
    assert curve.auc == measure("auc", score, y, n_replicas=100, seed=3)
    assert (curve.background_efficiency_low < curve.background_efficiency).all()
    assert (curve.background_efficiency < curve.background_efficiency_high).all()
    assert (curve.rejection_low < curve.rejection).all()
    assert [(score[y == 1] >= t).mean() for t in curve.threshold] == pytest.approx([0.2, 0.5, 0.9], abs=1e-3)
    # The band is as wide as the binomial uncertainty of ε_B and of the cut's place make it.
    background = 1 / true_rejection(0.5)
    slope = math.exp(-(SHIFT**2) / 2)  # dε_B/dε_S of the two Gaussians at the median of the signal
    expected = math.sqrt(background * (1 - background) / 3000 + slope**2 * 0.25 / 3000)
    width = (curve.background_efficiency_high - curve.background_efficiency_low)[1] / 2
    assert width == pytest.approx(expected, rel=0.25)


def test_signal_efficiencies_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"signal_efficiency: expected values in \(0, 1\]"):
        roc_curve([0.0, 1.0], [0, 1], signal_efficiency=[0.0, 0.5])


def test_metric_names_are_those_of_the_results_files() -> None:
    assert {"auc", "rejection_at_0.5", "rejection_at_0.2", "significance_improvement_max"} <= set(METRICS)
    assert all(METRICS[name].name == name for name in METRICS)
    with pytest.raises(UnknownNameError, match=r"did you mean 'rejection_at_0\.5'"):
        measure("rejection_at_0.50", [0.0, 1.0], [0, 1])
