import json

import numpy as np
import pytest
from scipy.stats import pearsonr

from fivesigma.core.errors import ConfigError
from fivesigma.explain import conditional_distribution


def test_every_slice_is_a_distribution_whatever_the_variables_spectrum() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 8000)
    mass = rng.exponential(20, 8000) + 65  # falls steeply, which must not show
    score = np.where(y == 1, np.clip((mass - 65) / 60, 0, 1), rng.random(8000))
    found = conditional_distribution(score, mass, y, bins=[65, 75, 85, 95], score_bins=10, name="jet_mass")
    assert found.signal.sum(axis=0) == pytest.approx(1)
    assert found.background.sum(axis=0) == pytest.approx(1)
    assert found.background == pytest.approx(np.full((10, 3), 0.1), abs=0.04)
    assert (np.diff(found.signal.argmax(axis=0)) > 0).all()  # the mean output follows the mass
    expected = pearsonr(score[y == 1], mass[y == 1]).statistic
    assert found.signal_correlation == pytest.approx(expected)
    assert abs(found.background_correlation) < 4 * found.background_correlation_uncertainty
    json.dumps(found.to_json(), allow_nan=False)


def test_empty_slices_are_zero_and_weights_are_used() -> None:
    score, values, y = [0.1, 0.9, 0.1, 0.9], [1.0, 1.0, 1.0, 1.0], [1, 1, 0, 0]
    found = conditional_distribution(score, values, y, [3.0, 1.0, 1.0, 1.0], bins=[0, 2, 4], score_bins=[0, 0.5, 1])
    assert found.signal.tolist() == [[0.75, 0.0], [0.25, 0.0]]
    assert found.to_json()["signal_correlation"] is None  # two events measure no correlation
    assert conditional_distribution(score, values, y, bins=2).edges.tolist() == [1.0, 1.5, 2.0]


def test_falling_edges_are_refused() -> None:
    with pytest.raises(ConfigError, match="tau21: expected at least two rising bin edges"):
        conditional_distribution([0.1, 0.2], [1, 2], [0, 1], bins=[2, 1], name="tau21")
