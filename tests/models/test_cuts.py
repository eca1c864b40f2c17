from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.models import Cuts


def peak(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A signal around (0.6, 0.3) on a flat background, on a grid of 12 × 12 so that all boxes can be tried."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = np.where(y[:, None] == 1, rng.normal((0.6, 0.3), (0.15, 0.1), (n, 2)), rng.uniform(0, 1, (n, 2)))
    return np.floor(X.clip(0, 0.999) * 12) / 12, y


def best_background_efficiency(X: NDArray[np.float64], y: NDArray[np.int64], signal_efficiency: float) -> float:
    """The least background in any box with this much signal, by trying all."""
    counts = [np.histogramdd(X[y == c], bins=[np.arange(13) / 12 - 1e-9] * 2)[0] / (y == c).sum() for c in (0, 1)]
    sums = [np.pad(c.cumsum(0).cumsum(1), ((1, 0), (1, 0))) for c in counts]
    best = 1.0
    for (a, b), (c, d) in product([(i, j) for i in range(12) for j in range(i + 1, 13)], repeat=2):
        background, signal = (s[b, d] - s[a, d] - s[b, c] + s[a, c] for s in sums)
        if signal >= signal_efficiency:
            best = min(best, float(background))
    return best


@pytest.mark.parametrize("signal_efficiency", [0.3, 0.5, 0.8])
def test_comes_near_an_exhaustive_search(signal_efficiency: float) -> None:
    X, y = peak(20_000, 1)
    cuts = Cuts().fit(X, y)
    lower, upper = cuts.box_at(signal_efficiency).T
    inside = ((lower < X) & (upper > X)).all(axis=1)
    assert inside[y == 1].mean() >= signal_efficiency
    # compared at the efficiency that the box has: on a grid it is larger than was asked
    assert inside[y == 0].mean() <= 1.1 * best_background_efficiency(X, y, inside[y == 1].mean())


def test_boxes_are_nested_and_the_score_is_the_number_of_boxes_passed() -> None:
    X, y = peak(4_000, 2)
    cuts = Cuts().fit(X, y)
    lower, upper = cuts.boxes_[:, :, 0], cuts.boxes_[:, :, 1]
    assert (lower[1:] >= lower[:-1]).all()
    assert (upper[1:] <= upper[:-1]).all()
    passed = ((lower < X[:, None]) & (upper > X[:, None])).all(axis=2).sum(axis=1)
    p = cuts.predict_proba(X)[:, 1]
    assert (np.diff(p[np.argsort(passed, kind="stable")]) >= 0).all()
    assert len(np.unique(p)) == len(np.unique(passed))
    for i in (3, 10):
        np.testing.assert_allclose((passed > i)[y == 1].mean(), cuts.signal_efficiency_[i])
        np.testing.assert_allclose((passed > i)[y == 0].mean(), cuts.background_efficiency_[i])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.sampled_from([0.125, 4.0, 1024.0]))
def test_integer_weights_are_copies_of_events_and_a_common_factor_is_nothing(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.arange(300) % 2
    X = rng.normal(size=(300, 2)) + y[:, None]
    copies = rng.integers(1, 4, len(y))
    weighted = Cuts(peel=0.1).fit(X, y, copies * factor)
    copied = Cuts(peel=0.1).fit(np.repeat(X, copies, axis=0), np.repeat(y, copies))
    np.testing.assert_allclose(weighted.predict_proba(X), copied.predict_proba(X), rtol=1e-6, atol=1e-9)


def test_options_outside_their_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="peel and lowest_efficiency"):
        Cuts(peel=1.0).fit([[0.0], [1.0]], [0, 1])
