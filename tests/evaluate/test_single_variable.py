import json

import numpy as np
import pytest
from tests.evaluate.toys import gaussians, true_auc

from fivesigma.evaluate import single_variable_power


def test_direction_peak_and_noise() -> None:
    rng = np.random.default_rng(0)
    score, y = gaussians(rng, 4000)
    columns = {
        "falling": -score,
        "peak": np.where(y == 1, rng.normal(0, 0.5, len(y)), rng.normal(0, 2, len(y))),
        "noise": rng.normal(size=len(y)),
    }
    found = {power.variable: power for power in single_variable_power(columns, y, metrics=["auc"], n_replicas=50)}
    assert list(found) == ["falling", "peak", "noise"]
    falling = found["falling"]
    assert falling.direction == "smaller is signal"
    assert falling.one_sided["auc"].value == pytest.approx(true_auc(), abs=0.015)
    assert falling.likelihood_ratio["auc"].value == pytest.approx(true_auc(), abs=0.015)
    # A single cut cannot use a peak; the likelihood ratio can.
    assert found["peak"].one_sided["auc"].value < 0.53
    assert found["peak"].likelihood_ratio["auc"].value > 0.75
    # Out of fold: noise shows no power, where a ratio tested on its own training would.
    noise = found["noise"].likelihood_ratio["auc"]
    assert abs(noise.value - 0.5) < 4 * noise.uncertainty
    json.dumps([power.to_json() for power in found.values()], allow_nan=False)


def test_a_variable_with_one_value_has_no_power() -> None:
    (power,) = single_variable_power({"flat": np.zeros(100)}, [0, 1] * 50, metrics=["auc"], n_replicas=20)
    assert power.one_sided["auc"].value == 0.5
    assert power.likelihood_ratio["auc"].value == pytest.approx(0.5, abs=0.2)
