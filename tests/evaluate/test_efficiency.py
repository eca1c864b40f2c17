import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fivesigma.evaluate import scored_events
from fivesigma.evaluate.efficiency import background_efficiency_at, efficiencies, threshold_at

ROWS = 40
SCORES = arrays(np.float64, ROWS, elements=st.integers(0, 12).map(float))  # many ties
LABELS = arrays(np.int8, ROWS, elements=st.integers(0, 1)).filter(lambda y: 0 < y.sum() < ROWS)
SIGNED = arrays(np.float64, ROWS, elements=st.floats(-0.5, 2.0, width=32))


def slow_efficiency(passed: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    return float(weight[passed].sum() / weight.sum())


@settings(deadline=None, max_examples=50)
@given(SCORES, LABELS, SIGNED)
def test_the_scan_is_the_ratio_of_sums_at_every_cut(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64]
) -> None:
    if weight[y == 1].sum() < 0.1 or weight[y == 0].sum() < 0.1:
        return
    curve = efficiencies(scored_events(score, y, weight))
    assert curve.threshold[0] == np.inf
    assert list(curve.threshold[1:]) == sorted(set(score), reverse=True)
    for step, threshold in enumerate(curve.threshold):
        passed = score >= threshold
        assert curve.signal[step] == pytest.approx(slow_efficiency(passed[y == 1], weight[y == 1]), abs=1e-9)
        assert curve.background[step] == pytest.approx(slow_efficiency(passed[y == 0], weight[y == 0]), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(SCORES, LABELS, SIGNED, st.floats(0.01, 1.0))
def test_the_threshold_is_the_tightest_that_keeps_enough_signal(
    score: NDArray[np.float64], y: NDArray[np.int8], weight: NDArray[np.float64], target: float
) -> None:
    if weight[y == 1].sum() < 0.1 or weight[y == 0].sum() < 0.1:
        return
    curve = efficiencies(scored_events(score, y, weight))
    (threshold,) = threshold_at(curve, target)
    enough = curve.threshold[curve.signal >= target]
    assert threshold == enough.max()


def test_between_tied_scores_the_efficiency_is_that_of_a_random_choice() -> None:
    # One score for all: half of the signal by coin, so half of the background too.
    curve = efficiencies(scored_events([1.0] * 4, [0, 0, 1, 1]))
    assert background_efficiency_at(curve, [0.25, 0.5, 1.0]) == pytest.approx([0.25, 0.5, 1.0])


def test_with_signed_weights_the_first_crossing_from_tight_cuts_counts() -> None:
    # ε_S: 0.6, then 0.4 (a negative weight), then 1.
    score, y = [4.0, 3.0, 2.0, 1.0, 0.0], [1, 0, 1, 1, 0]
    curve = efficiencies(scored_events(score, y, [0.6, 1.0, -0.2, 0.6, 1.0]))
    assert curve.signal == pytest.approx([0, 0.6, 0.6, 0.4, 1.0, 1.0])
    assert threshold_at(curve, 0.5)[0] == 4.0
    assert background_efficiency_at(curve, 0.5)[0] == 0.0
    assert threshold_at(curve, 0.7)[0] == 1.0
    assert background_efficiency_at(curve, 0.7)[0] == pytest.approx(0.5)
