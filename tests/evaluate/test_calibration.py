import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.evaluate import calibration


def calibrated(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
    probability = rng.beta(0.8, 0.8, n)
    return probability, (rng.random(n) < probability).astype(int)


def test_the_diagram_and_brier_score_are_scikit_learns() -> None:
    probability, y = calibrated(np.random.default_rng(0), 3000)
    found = calibration(probability, y, bins=10, n_replicas=20)
    observed, predicted = calibration_curve(y, probability, n_bins=10)
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(predicted)
    weight = np.random.default_rng(1).exponential(size=3000)
    weighted = calibration(probability, y, weight, n_replicas=20)
    assert weighted.brier.value == pytest.approx(brier_score_loss(y, probability, sample_weight=weight))
    json.dumps(found.to_json(), allow_nan=False)


def test_a_calibrated_model_shows_the_error_that_fluctuations_make() -> None:
    rng = np.random.default_rng(2)
    toys = [calibration(*calibrated(rng, 500), n_replicas=20) for _ in range(60)]
    errors = [toy.expected_calibration_error.value for toy in toys]
    floor = np.mean([toy.error_if_calibrated for toy in toys])
    assert np.mean(errors) == pytest.approx(floor, abs=4 * np.std(errors) / np.sqrt(60))


def test_an_overconfident_model_is_found() -> None:
    probability, y = calibrated(np.random.default_rng(3), 5000)
    logit = np.log(probability / (1 - probability))
    found = calibration(1 / (1 + np.exp(-3 * logit)), y, n_replicas=50)
    error = found.expected_calibration_error
    assert error.value - found.error_if_calibrated > 10 * error.uncertainty


def test_empty_bins_are_undefined_and_quantile_bins_are_never_empty() -> None:
    probability = np.array([0.05, 0.15, 0.85, 0.95] * 50)
    y = np.array([0, 0, 1, 1] * 50)
    uniform = calibration(probability, y, n_replicas=20)
    assert np.isnan(uniform.observed[4])
    assert uniform.fraction.sum() == pytest.approx(1)
    quantile = calibration(probability, y, binning="quantile", bins=3, n_replicas=20)
    assert np.isfinite(quantile.observed).all()
    assert np.isfinite(calibration([0.5, 0.5], [0, 1], binning="quantile", n_replicas=20).brier.value)


def test_scores_outside_zero_to_one_are_no_probabilities() -> None:
    with pytest.raises(FeatureError, match=r"probability: expected 0…1, got -0.2 to 1.5"):
        calibration([-0.2, 1.5], [0, 1])
    with pytest.raises(ConfigError, match="bins: expected at least 1, got 0"):
        calibration([0.2, 0.5], [0, 1], bins=0)
