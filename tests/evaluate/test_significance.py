"""The scan on samples whose significance is known in closed form."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from tests.evaluate.toys import SHIFT, gaussians

from fivesigma.core.errors import ConfigError, NoEventsError
from fivesigma.evaluate import Expectation, significance_scan
from fivesigma.physics.significance import asimov_significance

EXPECTED = Expectation(100.0, 1000.0, 0.05)


def true_significance(cut: float) -> float:
    b = 1000 * norm.sf(cut)
    return float(asimov_significance(100 * norm.sf(cut - SHIFT), b, 0.05 * b))


def test_the_scan_is_the_formula_of_the_true_efficiencies() -> None:
    score, y = gaussians(np.random.default_rng(0), 10_000)
    found = significance_scan(score, y, expectation=EXPECTED, n_replicas=50)
    truth = np.array([true_significance(cut) for cut in found.threshold])
    known = np.isfinite(found.significance) & (found.signal_efficiency > 0.1)
    inside = (found.significance_low <= truth) & (truth <= found.significance_high)
    assert np.abs(found.significance[known] / truth[known] - 1).max() < 0.1
    assert inside[known].mean() > 0.4  # neighbouring cuts move together
    json.dumps(found.to_json(), allow_nan=False)


def test_the_cut_of_other_events_is_not_flattered() -> None:
    """Over toys: the maximum on its own events is too large; the cross-fitted one is that of cuts near the best."""
    rng = np.random.default_rng(1)
    best = max(true_significance(cut) for cut in np.linspace(-2, 5, 500))
    scans = [significance_scan(*gaussians(rng, 400), expectation=EXPECTED, n_replicas=20, seed=i) for i in range(40)]
    largest = np.array([scan.largest.value for scan in scans])
    crossed = np.array([scan.at_chosen_cut.value for scan in scans])
    error = crossed.std() / np.sqrt(len(scans))
    assert largest.mean() - best > 4 * largest.std() / np.sqrt(len(scans))
    assert crossed.mean() < best + 3 * error
    assert (crossed <= largest + 1e-9).mean() > 0.8


def test_bins_of_the_output_beat_the_best_cut() -> None:
    score, y = gaussians(np.random.default_rng(2), 10_000)
    found = significance_scan(score, y, expectation=EXPECTED, n_replicas=50)
    assert found.binned.value > found.largest.value
    assert len(found.bin_edges) >= 5
    # ∫ (s²/b) of the densities bounds it from above: here with b known exactly
    exact = significance_scan(score, y, expectation=Expectation(1.0, 1000.0), n_replicas=20).binned.value
    bound = np.sqrt(1.0 / 1000 * np.exp(SHIFT**2))
    assert 0.8 * bound < exact < 1.05 * bound


def test_signed_weights_in_pairs_change_nothing() -> None:
    score, y = gaussians(np.random.default_rng(3), 3000)
    weight = np.ones(len(y))
    pair = np.array([0.3, 0.3])
    twice = np.concatenate([score, pair]), np.concatenate([y, [0, 0]]), np.concatenate([weight, [2.0, -2.0]])
    plain = significance_scan(score, y, weight, expectation=EXPECTED, n_replicas=20)
    signed = significance_scan(*twice, expectation=EXPECTED, n_replicas=20)
    tight = plain.threshold > 0.4  # looser cuts have two more events, and so fewer effective ones
    np.testing.assert_allclose(signed.significance[tight], plain.significance[tight])


def test_too_little_background_is_named() -> None:
    with pytest.raises(NoEventsError, match="no cut leaves 10 background events"):
        significance_scan([0.1, 0.9], [0, 1], expectation=EXPECTED)
    with pytest.raises(ConfigError, match="at least 1 event"):
        significance_scan([0.1, 0.9], [0, 1], expectation=EXPECTED, minimal_background=0.0)
