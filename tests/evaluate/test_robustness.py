"""Variations of samples whose change is known in closed form."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from tests.evaluate.toys import SHIFT, gaussians, true_auc

from fivesigma.core.errors import FeatureError, InputError, UnknownNameError
from fivesigma.evaluate import Variation, measure, robustness, scored_events

EVENTS = 10_000


@pytest.fixture(scope="module", name="toy")
def _toy() -> tuple[np.ndarray, np.ndarray]:
    return gaussians(np.random.default_rng(0), EVENTS)


def test_a_shifted_score_moves_efficiencies_as_the_gaussian_does(toy: tuple[np.ndarray, np.ndarray]) -> None:
    score, y = toy
    nominal = scored_events(score, y)
    moved = Variation.rescored(nominal, score + 0.2)
    shift = robustness(nominal, {"scale": {"up": moved}}, signal_efficiency=(0.5,), n_replicas=50).shift("scale", "up")
    (change,) = shift.changes
    cut = norm.isf(0.5) + SHIFT
    truth = norm.sf(cut - SHIFT - 0.2) - 0.5, norm.sf(cut - 0.2) - norm.sf(cut)
    assert change.signal.value == pytest.approx(truth[0], abs=4 * change.signal.uncertainty)
    assert change.background.value == pytest.approx(truth[1], abs=4 * change.background.uncertainty)
    assert change.background_ratio.value == pytest.approx(norm.sf(cut - 0.2) / norm.sf(cut), rel=0.05)
    assert shift.delta_auc.value == 0.0  # the ranking is the same
    assert shift.delta_auc.uncertainty == 0.0


def test_paired_changes_are_known_far_better_than_values(toy: tuple[np.ndarray, np.ndarray]) -> None:
    score, y = toy
    nominal = scored_events(score, y)
    noisy = score + 0.1 * np.random.default_rng(1).normal(size=len(score))
    found = robustness(nominal, {"noise": {"up": Variation.rescored(nominal, noisy)}}, n_replicas=100).shifts[0]
    alone = measure("auc", score, y, n_replicas=100)
    assert found.delta_auc.uncertainty < alone.uncertainty / 4
    assert found.delta_auc.value == pytest.approx(found.roc.auc.value - alone.value)
    truth = norm.cdf(SHIFT / np.sqrt(2 * 1.01)) - true_auc()
    assert found.delta_auc.value == pytest.approx(truth, abs=4 * found.delta_auc.uncertainty)


def test_weights_that_move_the_background_are_importance_weights(toy: tuple[np.ndarray, np.ndarray]) -> None:
    """Background reweighted to N(0.3, 1): ratio exp(0.3 x − 0.045)."""
    score, y = toy
    nominal = scored_events(score, y)
    weight = np.where(y == 0, np.exp(0.3 * score - 0.045), 1.0)
    shift = robustness(nominal, {"pdf": {"up": Variation.reweighted(nominal, weight)}}, n_replicas=50).shifts[0]
    assert shift.roc.auc.value == pytest.approx(true_auc(SHIFT - 0.3), abs=4 * shift.roc.auc.uncertainty)
    assert shift.rate[0].value == 1.0
    assert shift.rate[1].value == pytest.approx(1.0, abs=4 * shift.rate[1].uncertainty)
    assert all(change.signal.value == 0.0 for change in shift.changes)
    json.dumps(shift.to_json(), allow_nan=False)


def test_a_nominal_variation_changes_nothing_with_signed_weights(toy: tuple[np.ndarray, np.ndarray]) -> None:
    score, y = toy
    weight = np.where(np.random.default_rng(2).random(len(y)) < 0.2, -1.0, 1.0)
    nominal = scored_events(score, y, weight)
    same = Variation.other_events(score[::-1], y[::-1], weight[::-1], nominal.event[::-1], same_events=True)
    shift = robustness(nominal, {"nothing": {"up": same}}, n_replicas=20).shifts[0]
    assert shift.delta_auc.value == pytest.approx(0.0, abs=1e-12)
    assert shift.delta_auc.uncertainty == pytest.approx(0.0, abs=1e-12)
    assert shift.changes[0].background_ratio.value == pytest.approx(1.0)


def test_an_independent_sample_has_the_uncertainties_of_both(toy: tuple[np.ndarray, np.ndarray]) -> None:
    score, y = toy
    nominal = scored_events(score, y)
    other = gaussians(np.random.default_rng(3), EVENTS)
    varied = Variation.other_events(other.score, other.y, None, np.arange(len(other.y)) + 10**9)
    shift = robustness(nominal, {"generator": {"up": varied}}, n_replicas=200).shifts[0]
    alone = measure("auc", score, y)
    assert shift.delta_auc.uncertainty == pytest.approx(np.sqrt(2) * alone.uncertainty, rel=0.25)
    assert abs(shift.delta_auc.value) < 4 * shift.delta_auc.uncertainty


def test_other_events_where_pairing_is_asked_are_refused(toy: tuple[np.ndarray, np.ndarray]) -> None:
    score, y = toy
    nominal = scored_events(score, y)
    event = nominal.event.copy()
    event[:3] += np.uint64(10**9)
    other = Variation.other_events(score, y, None, event, same_events=True)
    with pytest.raises(
        InputError, match="variation generator up: 3 of 20,000 nominal events are not in it, and 3 of its"
    ):
        robustness(nominal, {"generator": {"up": other}}, n_replicas=20)
    with pytest.raises(FeatureError, match="expected shape"):
        Variation.rescored(nominal, score[:5])
    same = robustness(nominal, {"jes": {"up": Variation.rescored(nominal, score)}}, n_replicas=20)
    with pytest.raises(UnknownNameError, match="did you mean 'jes up'"):
        same.shift("jes", "upp")
