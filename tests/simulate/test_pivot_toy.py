"""The toy of arXiv:1611.01046: its moments, and that a seed is a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError
from fivesigma.simulate import SIMULATIONS
from fivesigma.simulate.pivot_toy import BACKGROUND_COVARIANCE, draw_pivot_toy


def test_the_moments_are_those_of_the_paper() -> None:
    n = 200_000
    columns = {name: np.asarray(values, np.float64) for name, values in draw_pivot_toy(n, n, seed=3).items()}
    signal = columns["label"] == 1
    x, z = np.stack([columns["x1"], columns["x2"]]), columns["z"]
    error = 1 / np.sqrt(n)
    np.testing.assert_allclose(np.cov(x[:, ~signal]), BACKGROUND_COVARIANCE, atol=6 * error)
    np.testing.assert_allclose(x[:, ~signal].mean(axis=1), 0, atol=5 * error)
    np.testing.assert_allclose(np.cov(x[0, signal], x[1, signal] - z[signal]), np.eye(2), atol=6 * error)
    np.testing.assert_allclose(x[:, signal].mean(axis=1), 1, atol=8 * error)
    assert abs(np.corrcoef(x[1, signal], z[signal])[0, 1] - np.sqrt(0.5)) < 5 * error
    assert np.abs(np.corrcoef(x[1, ~signal], z[~signal])[0, 1]) < 5 * error


def test_a_seed_is_a_sample(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        SIMULATIONS["pivot-toy"](tmp_path / f"{name}.root", n_signal=30, n_background=20, seed=seed)
    a, b, c = (uproot.open(tmp_path / f"{name}.root")["toy"].arrays(library="np") for name in "abc")
    assert len(a["event_number"]) == 50
    for column in a:
        np.testing.assert_array_equal(a[column], b[column])
    assert not np.array_equal(a["x1"], c["x1"])


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no multi-parton interactions"):
        SIMULATIONS["pivot-toy"](tmp_path / "a.root", multiparton=False)
    with pytest.raises(ConfigError, match="expected numbers of events"):
        SIMULATIONS["pivot-toy"](tmp_path / "a.root", n_signal=0, n_background=0)
