"""Every policy keeps the sum of each class; cancelling keeps it in every neighbourhood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.dataset import apply_weight_policy, require_non_negative
from fivesigma.dataset.weight_policy import effective_sample_size

POLICIES = ("absolute-rescaled", "drop-negative", "pair-cancel")


def signed_sample(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Labels, weights of ±1 times a scale with more positive than negative ones in each class, and features."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    weight = np.where(rng.random(2 * n) < 0.25, -1.0, 1.0) * np.where(y == 1, 0.1, 20.0)
    weight[[0, n]] = np.abs(weight).sum()  # each class stays positive, whatever was drawn
    return y, weight, rng.normal(size=(2 * n, 2)) * [1.0, 300.0]


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 60), seed=st.integers(0, 2**32 - 1), policy=st.sampled_from(POLICIES))
def test_classes_keep_their_sums_and_no_weight_is_negative(n: int, seed: int, policy: Any) -> None:
    y, weight, features = signed_sample(n, seed)
    result = apply_weight_policy(policy, y, weight, features)
    assert (result.weight >= 0).all()
    for label in (0, 1):
        assert result.weight[y == label].sum() == pytest.approx(weight[y == label].sum(), rel=1e-12)
        assert result.weight[(y == label) & result.keep].sum() == pytest.approx(weight[y == label].sum(), rel=1e-12)
    assert result.negative == (weight < 0).sum()
    assert not (weight[result.keep] < 0).any() or policy == "absolute-rescaled"


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), policy=st.sampled_from(POLICIES), scale=st.floats(1e-3, 1e3)
)
def test_rescaling_weights_rescales_the_result(n: int, seed: int, policy: Any, scale: float) -> None:
    y, weight, features = signed_sample(n, seed)
    a, b = apply_weight_policy(policy, y, weight, features), apply_weight_policy(policy, y, weight * scale, features)
    np.testing.assert_allclose(b.weight, a.weight * scale, rtol=1e-9, atol=1e-9 * np.abs(weight).sum() * scale)


def slow_pair_cancel(y: Any, weight: Any, features: Any) -> Any:
    """The obvious way: all distances, sorted."""
    scaled, result = features / features.std(axis=0), weight.astype(float).copy()
    for label in (0, 1):
        negative = [i for i in np.argsort(weight, kind="stable") if y[i] == label and weight[i] < 0]
        positive = [i for i in range(len(y)) if y[i] == label and weight[i] > 0]
        for event in negative:
            for partner in sorted(positive, key=lambda i: float(np.sum((scaled[i] - scaled[event]) ** 2))):
                taken = min(-result[event], result[partner])
                result[event] += taken
                result[partner] -= taken
            result[event] = 0.0
    return result


@settings(deadline=None, max_examples=20)
@given(n=st.integers(2, 60), seed=st.integers(0, 2**32 - 1))
def test_pair_cancel_equals_the_slow_way(n: int, seed: int) -> None:
    y, weight, features = signed_sample(n, seed)
    weight = weight * np.random.default_rng(seed).uniform(0.5, 1.5, 2 * n)
    got = apply_weight_policy("pair-cancel", y, weight, features).weight
    np.testing.assert_allclose(got, slow_pair_cancel(y, weight, features), atol=1e-9 * np.abs(weight).sum())


def test_pair_cancel_keeps_shapes_where_the_others_do_not() -> None:
    """Negative weights only at high x: cancelling keeps the spectrum, |w| bends it."""
    rng = np.random.default_rng(1)
    x = rng.random(20_000)
    weight = np.where(rng.random(20_000) < 0.4 * x, -1.0, 1.0)
    y = np.zeros(20_000, int)
    expected = np.histogram(x, 10, (0, 1), weights=weight)[0]
    error = np.sqrt(np.histogram(x, 10, (0, 1), weights=weight**2)[0])
    pulls = {
        policy: np.abs(
            np.histogram(x, 10, (0, 1), weights=apply_weight_policy(policy, y, weight, x[:, None]).weight)[0] - expected
        )
        / error
        for policy in ("absolute-rescaled", "drop-negative", "pair-cancel")
    }
    assert pulls["pair-cancel"].max() < 0.5
    assert pulls["absolute-rescaled"].max() > 5
    assert pulls["drop-negative"].max() > 5


def test_keep_and_all_positive_change_nothing() -> None:
    y, weight = np.array([0, 1, 1]), np.array([1.0, -2.0, 3.0])
    kept = apply_weight_policy("keep", y, weight)
    np.testing.assert_array_equal(kept.weight, weight)
    assert kept.keep.all()
    for policy in POLICIES:
        result = apply_weight_policy(policy, y, np.abs(weight))  # type: ignore[arg-type]
        np.testing.assert_array_equal(result.weight, np.abs(weight))
        assert result.keep.all()
    assert result.to_json()["mean_distance"] is None


def test_effective_sample_size_grows_when_pairs_cancel() -> None:
    y, weight, features = signed_sample(500, 3)
    weight[[0, 500]] = 1.0
    result = apply_weight_policy("pair-cancel", y, weight, features)
    assert effective_sample_size(np.ones(7)) == 7.0
    assert result.effective_before < result.effective_after
    assert 0 < result.mean_distance < 1


@pytest.mark.parametrize(
    ("policy", "weight", "features", "error", "message"),
    [
        (
            "dropnegative",
            [1.0, 1.0],
            None,
            ConfigError,
            "unknown weight policy 'dropnegative'; did you mean 'drop-negative'",
        ),
        ("keep", [1.0, np.nan], None, WeightError, "1 weights are not finite, first event 1"),
        ("absolute-rescaled", [1.0, -1.0], None, WeightError, "class 1 has a sum of weights of -1"),
        ("pair-cancel", [1.0, -1.0], np.zeros((2, 1)), WeightError, "class 1 has a sum of weights of -1"),
    ],
)
def test_refused_weights(policy: Any, weight: list[float], features: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        apply_weight_policy(policy, np.array([0, 1]), np.array(weight), features)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "needs features"),
        (np.zeros((2, 1)), r"expected features of shape \(3, feature\)"),
        (np.full((3, 1), np.nan), "finite features"),
    ],
)
def test_pair_cancel_needs_features(features: Any, message: str) -> None:
    with pytest.raises(WeightError, match=message):
        apply_weight_policy("pair-cancel", np.array([0, 1, 1]), np.array([1.0, 2.0, -1.0]), features)


def test_learners_that_take_no_negative_weights_name_the_policies() -> None:
    require_non_negative(np.array([0.0, 1.0]), "cuts")
    with pytest.raises(WeightError, match=r"fisher cannot take negative weights \(1 of 2 events\).*'pair-cancel'"):
        require_non_negative(np.array([-1.0, 1.0]), "fisher")
