import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ConfigError
from fivesigma.models import Fisher

COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
SHIFT = np.array([0.8, -0.4, 0.3])


def gaussians(n: int, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.multivariate_normal(np.zeros(3), COVARIANCE, n) + y[:, None] * SHIFT, y


def test_auc_of_two_gaussians_is_the_closed_form() -> None:
    X, y = gaussians(40_000)
    distance = np.sqrt(SHIFT @ np.linalg.solve(COVARIANCE, SHIFT))
    test_X, test_y = gaussians(40_000, seed=2)
    auc = roc_auc_score(test_y, Fisher(shrinkage=0.0).fit(X, y).predict_proba(test_X)[:, 1])
    assert auc == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=0.008)  # 3 standard deviations


def test_agrees_with_scikit_learn_for_unit_weights() -> None:
    X, y = gaussians(2_000)
    reference = LinearDiscriminantAnalysis(solver="eigen", priors=[0.5, 0.5]).fit(X, y)
    ours = Fisher(shrinkage=0.0).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), reference.predict_proba(X), atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_integer_weights_are_copies_of_events_and_a_common_factor_is_nothing(seed: int, factor: float) -> None:
    X, y = gaussians(200, seed)
    copies = np.random.default_rng(seed).integers(1, 4, len(y))
    weighted = Fisher().fit(X, y, copies * factor)
    copied = Fisher().fit(np.repeat(X, copies, axis=0), np.repeat(y, copies))
    np.testing.assert_allclose(weighted.predict_proba(X), copied.predict_proba(X), rtol=1e-7)


def test_a_negative_weight_cancels_its_event() -> None:
    X, y = gaussians(500)
    doubled, labels = np.concatenate([X, X[:50], X[:50]]), np.concatenate([y, y[:50], y[:50]])
    weight = np.concatenate([np.ones(550), -np.ones(50)])
    cancelled = Fisher().fit(doubled, labels, weight).predict_proba(X)
    np.testing.assert_allclose(cancelled, Fisher().fit(X, y).predict_proba(X), rtol=1e-7)


def test_images_with_empty_pixels_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 600)
    images = np.zeros((600, 25, 25), dtype=np.float32)
    images[:, 10:15, 10:15] = rng.exponential(1.0, (600, 5, 5))
    images[:, 12, 12] += 2.0 * y
    fisher = Fisher().fit(images, y)
    assert np.abs(fisher.direction_.reshape(25, 25)).argmax() == 12 * 25 + 12
    assert np.abs(fisher.direction_.reshape(25, 25)[:10]).max() < 1e-9
    assert roc_auc_score(y, fisher.predict_proba(images)[:, 1]) > 0.85


def test_shrinkage_outside_its_range_is_refused() -> None:
    X, y = gaussians(50)
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 1\.5"):
        Fisher(shrinkage=1.5).fit(X, y)
