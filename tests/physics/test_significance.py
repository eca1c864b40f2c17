"""Significance against published numbers, limits and an independent likelihood (pyhf)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from fivesigma.core.errors import UnknownNameError
from fivesigma.physics.significance import (
    HIGGSML_REGULARISATION,
    approximate_median_significance,
    asimov_significance,
    binned_significance,
    s_over_sqrt_b,
    significance_named,
)

YIELDS = [(10.0, 100.0, 10.0), (5.0, 2.0, 0.6), (100.0, 1000.0, 50.0), (3.0, 0.5, 0.25)]


@pytest.mark.parametrize(("s", "b"), [(5.0, 1.0), (10.0, 100.0), (0.3, 7.0)])
def test_without_uncertainty_it_is_wilks_likelihood_ratio(s: float, b: float) -> None:
    n = s + b  # Asimov data: q0 = −2 ln L(n | b)/L(n | n)
    q0 = 2 * (n * np.log(n / b) - (n - b))
    assert asimov_significance(s, b) == pytest.approx(np.sqrt(q0))
    assert approximate_median_significance(s, b) == pytest.approx(np.sqrt(q0))


@pytest.mark.parametrize(("s", "b", "sigma"), YIELDS)
def test_with_uncertainty_it_is_the_profile_likelihood_of_on_and_off_counts(s: float, b: float, sigma: float) -> None:
    tau = b / sigma**2
    n, m = s + b, tau * b

    def minus_two_log(rate: float) -> float:
        return float(2 * (rate - n * np.log(rate) + tau * rate - m * np.log(tau * rate)))

    free = 2 * (n - n * np.log(n) + m - m * np.log(m))  # s fitted too: both counts are met exactly
    fitted = minimize_scalar(minus_two_log, bounds=(1e-9, n + b), method="bounded", options={"xatol": 1e-12}).fun
    assert asimov_significance(s, b, sigma) == pytest.approx(np.sqrt(fitted - free), rel=1e-5)


@pytest.mark.parametrize(("s", "b", "sigma"), YIELDS)
def test_ams_is_the_profile_likelihood_of_a_gaussian_constraint(s: float, b: float, sigma: float) -> None:
    n = s + b

    def minus_two_log(rate: float) -> float:
        return float(2 * (rate - n * np.log(rate)) + ((rate - b) / sigma) ** 2)

    fitted = minimize_scalar(minus_two_log, bounds=(1e-9, n + b), method="bounded", options={"xatol": 1e-12}).fun
    assert approximate_median_significance(s, b, sigma) == pytest.approx(
        np.sqrt(fitted - 2 * (n - n * np.log(n))), rel=1e-5
    )


def test_the_challenges_ams_adds_ten_events() -> None:
    s, b = 200.0, 3000.0
    expected = np.sqrt(2 * ((s + b + 10) * np.log(1 + s / (b + 10)) - s))
    assert approximate_median_significance(s, b, regularisation=HIGGSML_REGULARISATION) == pytest.approx(expected)


def test_all_go_to_the_naive_ratio_for_little_signal() -> None:
    for kind in ("asimov", "ams"):
        assert significance_named(kind)(1.0, 1e4, 30.0) == pytest.approx(s_over_sqrt_b(1.0, 1e4, 30.0), rel=1e-3)


@given(st.floats(0, 1e4), st.floats(1e-2, 1e6), st.floats(0, 1e3))
def test_uncertainty_never_helps_and_values_are_finite(s: float, b: float, sigma: float) -> None:
    for kind in ("asimov", "ams"):
        without, with_it = (float(significance_named(kind)(s, b, x)) for x in (0.0, sigma))
        assert np.isfinite(without)
        assert 0 <= with_it <= without * (1 + 1e-4) + 1e-4


def test_formulae_join_where_one_takes_over_from_the_other() -> None:
    sigma = np.sqrt(np.array([0.99e-4, 1.01e-4]) * 100)
    first, second = asimov_significance(10.0, 100.0, sigma)
    assert first == pytest.approx(second, rel=1e-4)


def test_no_background_and_negative_yields_are_undefined() -> None:
    assert np.isnan(asimov_significance([1.0, -1.0, 1.0], [0.0, 10.0, -2.0])).all()
    assert np.isnan(binned_significance([1.0, 1.0], [5.0, 0.0]))
    with pytest.raises(UnknownNameError, match="asimov"):
        significance_named("asimow")


def test_bins_add_in_quadrature_without_uncertainty_and_one_bin_is_ams() -> None:
    s, b = np.array([1.0, 4.0, 6.0]), np.array([100.0, 30.0, 5.0])
    assert binned_significance(s, b) == pytest.approx(np.sqrt(np.sum(asimov_significance(s, b) ** 2)))
    assert binned_significance([10.0], [100.0], 0.2) == pytest.approx(
        approximate_median_significance(10.0, 100.0, 20.0)
    )
    # bins full of background measure its rate: the uncertainty costs less than in one bin
    assert binned_significance([0.0, 10.0], [1e6, 100.0], 0.2) == pytest.approx(
        asimov_significance(10.0, 100.0), rel=1e-3
    )


def discovery(spec: dict[str, Any]) -> float:
    """pyhf's Z of the background-only hypothesis on the workspace's own data, asymptotic."""
    import pyhf

    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-10))
    workspace = pyhf.Workspace(spec)
    model = workspace.model()
    p_value = pyhf.infer.hypotest(0.0, workspace.data(model), model, test_stat="q0")
    return float(norm.isf(p_value))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("s", "b", "sigma"), YIELDS[:3])
def test_pyhf_finds_the_same_with_a_poisson_control_region(s: float, b: float, sigma: float) -> None:
    samples = [
        {"name": "s", "data": [s], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [b], "modifiers": [{"name": "off", "type": "shapesys", "data": [sigma]}]},
    ]
    spec = {
        "version": "1.0.0",
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [s + b]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    assert discovery(spec) == pytest.approx(asimov_significance(s, b, sigma), rel=1e-3)
