"""After reweighting, the spectra agree: by χ², by an independent sample, and exactly in the bins themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.dataset import reweight


def spectra(n: int, seed: int) -> tuple[Any, Any]:
    """Falling background and peaked signal in pt, and a second variable."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    pt = np.where(y == 1, rng.normal(275, 12, 2 * n), 250 + rng.exponential(25, 2 * n))
    inside = (pt > 250) & (pt < 300)
    return {"pt": pt[inside], "eta": (rng.normal(size=2 * n) * np.where(y == 1, 1.0, 1.4))[inside]}, y[inside]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(200, 1000), bins=st.integers(1, 12), to=st.sampled_from([0, 1]))
def test_matched_bins_agree_exactly_and_sums_are_kept(seed: int, n: int, bins: int, to: Any) -> None:
    variables, y = spectra(n, seed)
    weight = np.random.default_rng(seed).uniform(0.5, 2, len(y))
    result = reweight({"pt": variables["pt"]}, y, weight, bins=bins, to_class=to)
    (edges,) = result.edges
    for label in (0, 1):
        assert result.weight[y == label].sum() == pytest.approx(weight[y == label].sum(), rel=1e-12)
    np.testing.assert_array_equal(result.weight[y == to], weight[y == to])
    if result.closure.uncovered[1 - to] == 0:
        contents = [np.histogram(variables["pt"][y == k], edges, weights=result.weight[y == k])[0] for k in (0, 1)]
        np.testing.assert_allclose(
            contents[0] / contents[0].sum(), contents[1] / contents[1].sum(), rtol=1e-10, atol=1e-15
        )


def test_closure_in_two_variables() -> None:
    variables, y = spectra(40_000, 1)
    result = reweight(variables, y, np.ones(len(y)), bins=[25, np.linspace(-2.5, 2.5, 41)], to_class="signal")
    for variable in result.closure.variables:
        assert variable.chi2_before / variable.ndf > 20
        assert stats.chi2.sf(variable.chi2_after, variable.ndf) > 1e-3
    before, after = result.closure.effective_before, result.closure.effective_after
    assert before[1] == after[1] == (y == 1).sum()
    assert 0.3 * before[0] < after[0] < before[0]
    assert [v.name for v in result.closure.variables] == ["pt", "eta"]
    json.dumps(result.closure.to_json(), allow_nan=False)


def test_factors_close_on_an_independent_sample() -> None:
    variables, y = spectra(40_000, 2)
    result = reweight({"pt": variables["pt"]}, y, np.ones(len(y)), bins=40)
    other, z = spectra(40_000, 3)
    weight = result.factor_of({"pt": other["pt"]}, z)
    contents = [np.histogram(other["pt"][z == k], 20, (250, 300), weights=weight[z == k])[0] for k in (0, 1)]
    squares = [np.histogram(other["pt"][z == k], 20, (250, 300), weights=weight[z == k] ** 2)[0] for k in (0, 1)]
    norm = [c.sum() for c in contents]
    difference = contents[0] / norm[0] - contents[1] / norm[1]
    # Both samples' statistics enter: that of the factors doubles the variance.
    variance = 2 * (squares[0] / norm[0] ** 2 + squares[1] / norm[1] ** 2)
    assert stats.chi2.sf((difference**2 / variance).sum(), 19) > 1e-3


def test_flattened_spectra_are_flat() -> None:
    variables, y = spectra(40_000, 4)
    result = reweight(variables["pt"], y, np.ones(len(y)), bins=10, mode="flatten")
    for label in (0, 1):
        content = np.histogram(variables["pt"][y == label], result.edges[0], weights=result.weight[y == label])[0]
        np.testing.assert_allclose(content, content.mean(), rtol=1e-9)


def test_signed_weights_close_where_bins_are_positive() -> None:
    variables, y = spectra(20_000, 5)
    weight = np.where(np.random.default_rng(5).random(len(y)) < 0.2, -1.0, 1.0)
    (variable,) = reweight({"pt": variables["pt"]}, y, weight, bins=20).closure.variables
    assert variable.chi2_after / variable.ndf < 1.6 < 10 < variable.chi2_before / variable.ndf


def test_bins_without_a_counterpart_are_stated() -> None:
    x = np.array([0.5, 1.5, 1.5, 1.5, 0.5, 0.5, 2.5, 0.5])
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    result = reweight({"x": x}, y, np.ones(8), bins=[[0.0, 1.0, 2.0, 3.0]], to_class="signal")
    assert result.closure.without_counterpart == (0.75, 0.0)  # background at 1.5, where there is no signal
    assert result.closure.uncovered == (0.25, 0.0)  # signal at 2.5, where there is no background
    np.testing.assert_allclose(result.weight, [4, 0, 0, 0, 1, 1, 1, 1])


def test_values_beyond_the_edges_count_in_the_outermost_bins() -> None:
    result = reweight(
        np.array([-5.0, 9.0, 0.5, 1.5]), np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 1, 1]), bins=[[0.0, 1.0, 2.0]]
    )
    np.testing.assert_allclose(result.weight, [2.0, 2.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": np.array([1.0, -1.0, 1.0, 1.0])}, WeightError, "the background has a sum of weights of 0"),
        (
            {"weight": np.array([3.0, -1.0, 1.0, 1.0]), "bins": [[0, 0.5, 1]]},
            WeightError,
            "1 bins have background events",
        ),
        ({"weight": np.array([np.nan, 1.0, 1.0, 1.0])}, WeightError, "must be finite"),
        ({"bins": [[0, 1], [0, 1]]}, ConfigError, "expected bins for 1 variables, got 2"),
        ({"bins": [[1, 0]]}, ConfigError, "bin edges must rise"),
        ({"bins": 0}, ConfigError, "at least one bin"),
        ({"mode": "mach"}, ConfigError, "unknown mode 'mach'"),
        ({"to_class": "both"}, ConfigError, "'signal' or 'background', got 'both'"),
        ({"y": np.array([0, 0, 1, 2])}, ConfigError, "labels must be 0 and 1"),
        ({"variables": np.zeros((3, 1))}, ConfigError, r"expected variables of shape \(4, variable\)"),
        ({"bins": [[0, 0.4, 0.8, 1]], "variables": np.array([0.1, 0.2, 0.9, 0.9])}, WeightError, "no bin in common"),
    ],
)
def test_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {
        "variables": np.array([0.1, 0.7, 0.2, 0.9]),
        "y": np.array([0, 0, 1, 1]),
        "weight": np.ones(4),
        "bins": 1,
        **change,
    }
    variables, y, weight = (arguments.pop(name) for name in ("variables", "y", "weight"))
    with pytest.raises(error, match=message):
        reweight(variables, y, weight, **arguments)
