"""The toy is what it says, the estimators of bias and variance are unbiased, and the flow ends in its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fivesigma.core.run_directory import RunDirectory
from fivesigma.flows import find_flow
from fivesigma.flows.signed_experiment import UNSIGNED, of_equal_classes, signed_auc
from fivesigma.flows.signed_toy import HIGH, LOW, TRUTH, draw_signed, grid, signal_probability
from fivesigma.flows.signed_weights import SignedWeightsWords, bias_squared, variance
from fivesigma.studies.definition import read_study
from fivesigma.trees import BoostedTrees


def test_weighted_events_have_the_true_density() -> None:
    events = draw_signed(200_000, 0.2, np.random.default_rng(1))
    edges = np.linspace(LOW, HIGH, 15)
    for label in (0, 1):
        X, w = events.X[events.y == label], events.weight[events.y == label]
        assert np.mean(w < 0) == pytest.approx(0.2, abs=0.004)
        for axis in (0, 1):
            content = np.histogram(X[:, axis], edges, weights=w)[0]
            error = np.sqrt(np.histogram(X[:, axis], edges, weights=w**2)[0])
            expected = 0.6 * len(X) * np.diff(stats.norm.cdf(edges, TRUTH[label].mean[axis], TRUTH[label].width))
            filled = error > 5
            assert stats.chi2.sf(np.sum(((content - expected) / error)[filled] ** 2), filled.sum()) > 1e-3


def test_optimum_of_signed_events_is_that_of_the_truth() -> None:
    """The signed AUC of the true ratio estimates the AUC on unsigned events of the true densities."""
    signed = draw_signed(200_000, 0.2, np.random.default_rng(2))
    plain = draw_signed(200_000, 0.0, np.random.default_rng(3))
    optimum = signed_auc(signal_probability(signed.X), signed)
    assert optimum == pytest.approx(roc_auc_score(plain.y, signal_probability(plain.X)), abs=0.004)
    assert signal_probability(np.array([[0.0, 0.0]]))[0] == pytest.approx(
        1 / (1 + 0.8**2 * np.exp(2 / (2 * 0.8**2))), rel=1e-12
    )


def test_bias_and_variance_of_a_known_estimator() -> None:
    share = grid()[1]
    rng, truth = np.random.default_rng(4), np.full(len(share), 0.5)
    found = [
        (bias_squared(p, truth, share), variance(p, share))
        for p in (0.6 + 0.2 * rng.normal(size=(6, 1)) + 0.0 * share for _ in range(4_000))
    ]
    np.testing.assert_allclose(np.mean(found, axis=0), [0.01, 0.04], atol=0.001)


def test_the_signed_step_of_boosted_trees_beats_lightgbms_own() -> None:
    """Squared error to the truth on the same signed events: LightGBM's own step divides by a sum that may cancel."""
    import lightgbm

    points, share = grid()
    truth, errors = signal_probability(points), []
    for seed in range(6):
        events = draw_signed(2_000, 0.2, np.random.default_rng(seed))
        weight = of_equal_classes(events)
        own = BoostedTrees(trees=80, learning_rate=0.1, leaves=8).fit(events.X, events.y, weight)
        data = lightgbm.Dataset(events.X, events.y, weight=weight, params={"verbosity": -1})
        options = {"objective": "binary", "learning_rate": 0.1, "num_leaves": 8, "min_data_in_leaf": 50}
        options |= {"verbosity": -1, "num_threads": 1}
        peer = lightgbm.train(options, data, 80).predict(points)
        errors.append([np.square(p - truth) @ share for p in (own.predict_proba(points)[:, 1], np.asarray(peer))])
    gain = np.diff(errors, axis=1)[:, 0]
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_reduced_study(tmp_path: Path) -> None:
    content, _ = read_study("signed-weights")
    learners = {
        "fisher": {"estimator": "fisher"},
        "boosted-trees": {"estimator": "boosted-trees", "options": {"trees": 30, "learning_rate": 0.2, "leaves": 8}},
        "decision-tree": {"estimator": "decision-tree", "options": {"depth": 4}},
    }
    changes = {"experiments": 6, "train_events": 1500, "test_events": 2000, "learners": learners}
    words = SignedWeightsWords.model_validate(content | changes)
    result = find_flow("signed-weights").run(words, RunDirectory.create(tmp_path / "run"), workers=1)
    value: dict[tuple[str, str], Any] = {(row["model"], row["metric"]): row for row in result.results}
    for learner in learners:
        unbiased, bent = (
            value[f"{learner}, {policy}", "bias_squared"] for policy in ("pair-cancel", "absolute-rescaled")
        )
        assert bent["value"] - unbiased["value"] > 5 * np.hypot(bent["uncertainty"], unbiased["uncertainty"])
        assert (f"{learner}, {UNSIGNED}", "auc") in value
    kept = value["boosted-trees, keep", "bias_squared"]
    assert abs(kept["value"]) < 4 * kept["uncertainty"] + 0.002
    assert "DecisionTree cannot learn from negative weights" in result.more["refused"]["decision-tree, keep"]
    assert ("decision-tree, keep", "auc") not in value
    worse = [d for d in result.differences if d["first"] == "fisher, absolute-rescaled" and d["metric"] == "auc"]
    assert worse[0]["value"] < -3 * worse[0]["uncertainty"]
    assert (tmp_path / "run" / "figures" / "signed-bias-variance.json").is_file()
    assert "Where the bias is" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
