"""AMS whose σ_b is what a nuisance does to the background: against numbers worked out for every cut."""

from __future__ import annotations

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate.nuisance_significance import nuisance_significance, nuisance_significance_differences
from fivesigma.evaluate.working_points import Expectation
from fivesigma.physics.significance import approximate_median_significance

EXPECTED = Expectation(100.0, 1000.0)
N = 40_000


def sample(shift: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal around 1.2, background around 0, which the nuisance moves by ``shift``."""
    rng = np.random.default_rng(seed)
    y, z = rng.integers(0, 2, N), rng.integers(0, 2, N)
    return rng.normal(1.2 * y + shift * z * (1 - y), 1.0), y, z


def test_every_cut_is_the_formula_with_the_difference_of_yields() -> None:
    score, y, z = sample(0.5)
    found = nuisance_significance(score, y, z, expectation=EXPECTED, n_replicas=20)
    for i in (9, 24, 40):
        cut = np.sort(score[y == 1])[::-1][round(found.signal_efficiency[i] * (y == 1).sum()) - 1]
        b0, b1 = (1000.0 * np.mean(score[(y == 0) & (z == k)] >= cut) for k in (0, 1))
        b, s = 1000.0 * np.mean(score[y == 0] >= cut), 100.0 * np.mean(score[y == 1] >= cut)
        assert found.background_uncertainty[i] == pytest.approx(abs(b1 - b0) / b)
        assert found.significance[i] == pytest.approx(float(approximate_median_significance(s, b, abs(b1 - b0))))
        assert found.without_uncertainty[i] == pytest.approx(float(approximate_median_significance(s, b)))


def test_a_background_that_does_not_move_costs_little_and_one_that_does_costs_much() -> None:
    still, moving = (nuisance_significance(*sample(shift), expectation=EXPECTED, n_replicas=40) for shift in (0.0, 1.0))
    assert still.at_working_point.value > 0.8 * still.without_at_working_point.value
    assert moving.at_working_point.value < 0.5 * moving.without_at_working_point.value
    assert still.at_working_point.value == still.significance[24]


def test_differences_between_models_are_paired() -> None:
    score, y, z = sample(1.0)
    aware = score - 1.0 * z * (1 - y)  # a model that the nuisance does not move
    noise = np.random.default_rng(2).normal(0, 1e-3, N)
    found = {
        name: nuisance_significance(s, y, z, expectation=EXPECTED, n_replicas=40)
        for name, s in {"plain": score, "same": score + noise, "aware": aware}.items()
    }
    same, better = nuisance_significance_differences(found, "plain")
    assert (same.first, better.first, better.second) == ("same", "aware", "plain")
    assert abs(same.n_sigma) < 4
    assert better.n_sigma > 5


def test_scaling_all_weights_changes_nothing() -> None:
    score, y, z = sample(0.3)
    one, ten = (
        nuisance_significance(score, y, z, np.full(N, w), expectation=EXPECTED, n_replicas=20) for w in (1.0, 10.0)
    )
    np.testing.assert_allclose(one.significance, ten.significance, rtol=1e-12)
    assert one.at_working_point.value == pytest.approx(ten.at_working_point.value)


def test_what_cannot_be_meant_is_refused() -> None:
    score, y, z = sample(0.0)
    with pytest.raises(ConfigError, match="expected a nuisance of 0 and 1"):
        nuisance_significance(score, y, z * 30, expectation=EXPECTED)
    with pytest.raises(NoEventsError, match="background events of either value"):
        nuisance_significance(score, y, np.zeros(N), expectation=EXPECTED)
