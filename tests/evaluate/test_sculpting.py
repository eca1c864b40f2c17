"""Mass sculpting: known divergences, the floor of finite samples, signed weights."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.evaluate import jensen_shannon, sculpting


def test_the_divergence_is_scipys_distance_squared() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        p, q = rng.random(8), rng.random(8)
        assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
        assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, 3 * p))


def toy(rng: np.random.Generator, n: int, strength: float) -> tuple[np.ndarray, ...]:
    """Background mass uniform in 0…1, and a score that prefers large masses with a strength."""
    y = np.repeat([0, 1], n)
    mass = np.where(y == 1, rng.normal(0.8, 0.05, 2 * n), rng.random(2 * n))
    return strength * mass + rng.random(2 * n) + 0.3 * y, y, mass


def test_a_score_without_mass_shows_only_the_floor() -> None:
    score, y, mass = toy(np.random.default_rng(1), 5000, 0.0)
    found = sculpting(score, y, values=mass, n_replicas=50)
    assert found.divergence == pytest.approx(found.if_not_sculpted, rel=0.8)
    assert found.if_not_sculpted[-1] > 10 * found.if_not_sculpted[2]  # fewer events, larger floor
    # to leading order (bins − 1)(1/ε − 1)/(8 ln 2 N): half of what two independent samples would show
    expected = 19 * (1 / 0.1 - 1) / (8 * np.log(2) * 5000)
    assert found.if_not_sculpted[6] == pytest.approx(expected, rel=0.15)


def test_a_cut_on_mass_itself_has_the_closed_form() -> None:
    """Half of the bins kept: JSD of uniform on 1 and on ½, ½ (ln 2-base terms) = 0.3113 bits."""
    rng = np.random.default_rng(2)
    y, mass = np.repeat([0, 1], 20_000), rng.random(40_000)
    found = sculpting(mass, y, values=mass, edges=np.linspace(0, 1, 11).tolist(), n_replicas=20)
    truth = jensen_shannon(np.ones(10), np.repeat([0, 1], 5))
    assert truth == pytest.approx(0.31128, abs=1e-5)
    assert found.divergence[2] == pytest.approx(truth, abs=0.01)
    assert found.rejection[2] == pytest.approx(2.0, rel=0.01)


def test_working_points_keep_the_signal_they_were_asked_for() -> None:
    score, y, mass = toy(np.random.default_rng(3), 3000, 2.0)
    found = sculpting(score, y, values=mass, signal_efficiency=(0.5,), n_replicas=20)
    (point,) = found.working_points
    assert (score[y == 1] >= point.threshold).mean() == pytest.approx(0.5, abs=1e-3)
    assert point.rejection == pytest.approx(1 / (score[y == 0] >= point.threshold).mean())
    assert point.divergence.value - point.if_not_sculpted > 10 * point.divergence.uncertainty
    assert found.after.sum(axis=1) == pytest.approx([1.0])
    json.dumps(found.to_json(), allow_nan=False)


def test_signed_weights_are_taken_until_a_bin_is_negative() -> None:
    rng = np.random.default_rng(4)
    score, y, mass = toy(rng, 4000, 1.0)
    weight = np.where(rng.random(8000) < 0.2, -1.0, 1.0)
    found = sculpting(score, y, weight, values=mass, n_replicas=20)
    assert np.isfinite(found.divergence[:5]).all()
    hole = np.where((mass < 0.3) & (score > 0.9) & (y == 0), -1.0, 1.0)  # right before the cut, negative after it
    assert np.isnan(sculpting(score, y, hole, values=mass, n_replicas=20).divergence).any()
    negative = np.where(mass < 0.2, -1.0, 1.0)
    with pytest.raises(WeightError, match="of 20 bins have no positive sum"):
        sculpting(score, y, negative, values=mass)
    with pytest.raises(ConfigError, match="three rising bin edges of mass"):
        sculpting(score, y, values=mass, edges=(1, 0))
