from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fivesigma.core.errors import FeatureError, FivesigmaError, NoEventsError, WeightError
from fivesigma.evaluate import (
    Expectation,
    auc,
    calibration,
    compare,
    effective_size,
    measure,
    optimal_cut,
    rejection_at,
    roc_curve,
    scored_events,
    working_points,
)

Arrays = dict[str, Any]
GOOD: Arrays = {"score": [0.1, 0.9, 0.4], "y": [0, 1, 1], "weight": [1.0, 1.0, 1.0]}
BAD: list[tuple[Arrays, type[FivesigmaError], str]] = [
    ({"score": [0.1, np.nan, 0.4]}, FeatureError, "score: 1 of 3 values are NaN or infinite, the first at row 1"),
    ({"score": [0.1, np.inf, 0.4]}, FeatureError, "NaN or infinite"),
    ({"score": [0.1, 0.9]}, FeatureError, r"y: expected shape \(2,\), got \(3,\)"),
    ({"score": [[0.1, 0.9, 0.4]]}, FeatureError, "score: expected shape"),
    ({"weight": [1.0, 1.0]}, FeatureError, r"weight: expected shape \(3,\), got \(2,\)"),
    ({"weight": [1.0, np.nan, 1.0]}, WeightError, "weight: 1 of 3 are NaN"),
    ({"weight": [1.0, -2.0, 1.0]}, WeightError, "weights of the 2 signal events sum to -1"),
    ({"weight": [0.0, 1.0, 1.0]}, WeightError, "weights of the 1 background events sum to 0"),
    ({"y": [1, 1, 1]}, NoEventsError, "no background events among 3"),
    ({"y": [0, 0, 0]}, NoEventsError, "no signal events among 3"),
    ({"y": [0, 1, 2]}, FeatureError, r"expected 0 \(background\) and 1 \(signal\), got also 2"),
    ({"y": [0, 1, -1]}, FeatureError, "got also -1"),
]
METRICS: list[Callable[..., Any]] = [
    scored_events,
    auc,
    roc_curve,
    working_points,
    lambda **arrays: rejection_at(0.5, **arrays),
    lambda **arrays: measure("auc", **arrays),
    lambda **arrays: calibration(arrays["score"], arrays["y"], arrays["weight"]),
    lambda **arrays: compare({"m": arrays["score"]}, arrays["y"], arrays["weight"]),
    lambda **arrays: optimal_cut(**arrays, expectation=Expectation(10, 10)),
]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("bad", "error", "message"), BAD)
def test_bad_input_is_an_error_that_names_it(
    metric: Callable[..., Any], bad: Arrays, error: type[FivesigmaError], message: str
) -> None:
    with pytest.raises(error, match=message):
        metric(**(GOOD | bad))


def test_event_identities_must_be_integers() -> None:
    with pytest.raises(FeatureError, match="event: expected integer identities, got float64"):
        scored_events(**GOOD, event=np.array([0.5, 1.5, 2.5]))


def test_a_class_that_is_empty_in_a_region_is_named_with_it() -> None:
    events = scored_events(**GOOD)
    with pytest.raises(NoEventsError, match="no background events in 79 < mass < 81"):
        events.select(np.array([False, True, True]), "79 < mass < 81")
    with pytest.raises(FeatureError, match="mask: expected bool"):
        events.select(np.array([0, 1, 1]), "numbers")


def test_labels_may_be_booleans() -> None:
    assert auc([0.1, 0.9], np.array([False, True])) == 1.0


def test_effective_size_of_equal_and_of_signed_weights() -> None:
    assert effective_size(np.full(10, 0.3)) == pytest.approx(10)
    assert effective_size(np.array([1.0, 1.0, 1.0, -1.0])) == pytest.approx(1.0)
    assert effective_size(np.zeros(3)) == 0.0
