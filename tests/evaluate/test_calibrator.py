"""Calibrators undo a known distortion, are saved without code, and are applied out of fold."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from fivesigma.core.errors import ConfigError, FeatureError, ModelError, WeightError
from fivesigma.evaluate import Calibrator, calibrate_out_of_fold, calibration


def distorted(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities, told too confidently: logit → 2 logit + 0.5."""
    p = rng.beta(1.5, 1.5, n)
    y = (rng.random(n) < p).astype(int)
    return 1 / (1 + np.exp(-(2 * np.log(p / (1 - p)) + 0.5))), y


def test_platt_finds_the_distortion() -> None:
    score, y = distorted(np.random.default_rng(0), 20_000)
    found = Calibrator.fit("platt", score, y)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.offset == pytest.approx(-0.25, abs=0.05)
    weighted = Calibrator.fit("platt", score, y, np.full(20_000, 1e-3))
    assert (weighted.slope, weighted.offset) == pytest.approx((found.slope, found.offset), rel=1e-4)


def test_isotonic_is_scikit_learns_and_saved_as_json(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    score, y = distorted(rng, 2000)
    weight = rng.exponential(size=2000)
    new = rng.random(500)
    expected = IsotonicRegression(out_of_bounds="clip").fit(score, y, weight).predict(new)
    for kind in ("isotonic", "platt"):
        fitted = Calibrator.fit(kind, score, y, weight)
        fitted.save(tmp_path / "calibrator.json")
        again = Calibrator.load(tmp_path / "calibrator.json")
        assert again == fitted
        assert np.array_equal(again.apply(new), fitted.apply(new))
        if kind == "isotonic":
            assert fitted.apply(new) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_out_of_fold_calibration_brings_the_error_down_to_its_floor(kind: str) -> None:
    score, y = distorted(np.random.default_rng(2), 10_000)
    calibrated, maps = calibrate_out_of_fold(kind, score, y, np.arange(10_000) % 5)
    assert len(maps) == 5
    before, after = (calibration(s, y, n_replicas=20) for s in (score, calibrated))
    assert before.expected_calibration_error.value > 5 * before.error_if_calibrated
    assert after.expected_calibration_error.value < 2.5 * after.error_if_calibrated
    assert after.brier.value < before.brier.value
    alone = Calibrator.fit(kind, score[np.arange(10_000) % 5 != 3], y[np.arange(10_000) % 5 != 3])
    assert np.array_equal(calibrated[3::5], alone.apply(score[3::5]))


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="1 of 3 weights are negative"):
        Calibrator.fit("isotonic", [0.1, 0.2, 0.9], [0, 0, 1], [-1.0, 2.0, 1.0])
    with pytest.raises(FeatureError, match="score: expected 0…1, got -3 to 2"):
        Calibrator.fit("platt", [-3.0, 2.0], [0, 1])
    with pytest.raises(ConfigError, match="expected isotonic or platt, got 'spline'"):
        Calibrator.fit("spline", [0.1, 0.9], [0, 1])
    (tmp_path / "c.json").write_text('{"kind": "isotonic", "knots": [0.5, 0.1], "values": [0, 1]}')
    with pytest.raises(ModelError, match=r"c\.json: expected an isotonic calibrator"):
        Calibrator.load(tmp_path / "c.json")
