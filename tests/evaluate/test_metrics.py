import math

import numpy as np
import pytest

from fivesigma.evaluate import DEFAULT_METRICS, METRICS, measure, scored_events
from fivesigma.evaluate.efficiency import efficiencies


def test_every_metric_by_hand() -> None:
    # Falling score: s b s s b s b b — ε_S steps 1/4, ε_B steps 1/4.
    y = np.array([1, 0, 1, 1, 0, 1, 0, 0])
    curve = efficiencies(scored_events(np.arange(8.0)[::-1], y))
    value = {name: METRICS[name].of(curve) for name in METRICS}
    assert value["auc"] == pytest.approx(1 - (3 + 1) / 16)  # pairs the wrong way round: 3 and 1
    assert value["rejection_at_0.5"] == pytest.approx(4)
    assert value["rejection_at_0.2"] == math.inf  # the first signal event is ahead of all background
    assert value["significance_improvement_at_0.5"] == pytest.approx(0.5 * 2)
    assert value["significance_improvement_max"] == pytest.approx(0.75 / math.sqrt(0.25))
    assert set(DEFAULT_METRICS) <= set(METRICS)


def test_without_background_there_is_no_largest_improvement() -> None:
    curve = efficiencies(scored_events([3.0, 2.0, 1.0], [1, 0, 0], [1.0, -1.0, 3.0]))
    assert METRICS["rejection_at_0.5"].of(curve) == math.inf
    assert METRICS["significance_improvement_max"].of(curve) == 1.0
    assert math.isfinite(measure("auc", [3.0, 2.0, 1.0], [1, 0, 0], [1.0, -1.0, 3.0]).value)
