"""Dependence of a score on a nuisance: slow references, closed forms, and p-values that are uniform without any."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from fivesigma.core.errors import FeatureError, NoEventsError, WeightError
from fivesigma.evaluate import DEPENDENCES, dependence, distance_correlation

Vector = NDArray[np.float64]


def slow_distance_correlation(x: Vector, y: Vector, w: Vector) -> float:
    """The definition, with all n² distances (arXiv:0803.4101, section 2)."""
    p = w / w.sum()
    a, b = (np.abs(v[:, None] - v[None, :]) for v in (x, y))
    centred = [d - (d @ p)[:, None] - (p @ d)[None, :] + p @ d @ p for d in (a, b)]
    covariance, first, second = (
        float(p @ (m * n) @ p) for m, n in ((centred[0], centred[1]), (centred[0],) * 2, (centred[1],) * 2)
    )
    return float(np.sqrt(covariance / np.sqrt(first * second)))


@pytest.mark.parametrize("ties", [False, True])
def test_distance_correlation_is_that_of_all_pairs(ties: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = x**2 + 0.3 * rng.normal(size=300) + 1e4
    if ties:
        x, y = np.round(x, 1), np.round(y)
    for weight in (np.ones(300), rng.exponential(size=300), np.where(rng.random(300) < 0.1, -0.5, 1.0)):
        assert distance_correlation(x, y, weight) == pytest.approx(slow_distance_correlation(x, y, weight), rel=1e-8)


def test_distance_correlation_of_gaussians_is_the_closed_form() -> None:
    """arXiv:0803.4101, theorem 7."""
    rho = 0.5
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        x = rng.normal(size=10_000)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=10_000)
        found.append(distance_correlation(x, y))
    top = rho * np.arcsin(rho) + np.sqrt(1 - rho**2) - rho * np.arcsin(rho / 2) - np.sqrt(4 - rho**2) + 1
    truth = np.sqrt(top / (1 + np.pi / 3 - np.sqrt(3)))
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found, ddof=1) / np.sqrt(len(found)))


def test_weights_count_as_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    f, z = rng.normal(size=400), rng.normal(size=400)
    weight = rng.integers(1, 4, 400)
    weighted = distance_correlation(f, z, weight)
    repeated = distance_correlation(np.repeat(f, weight), np.repeat(z, weight))
    assert weighted == pytest.approx(repeated)


def test_mutual_information_of_gaussians_above_its_floor() -> None:
    """−½ ln(1 − ρ²), less what 16 bins lose."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=10_000)
    f = 0.6 * z + 0.8 * rng.normal(size=10_000)
    found = dependence(f, z, n_permutations=20, n_replicas=20).measures["mutual_information"]
    truth = -0.5 * np.log(1 - 0.36)
    assert 0.85 * truth < found.value.value - found.if_independent < truth


def test_ks_and_cvm_of_a_step_are_known() -> None:
    """Score uniform in 0…½ for the lower half of z, ½…1 for the upper: |F_bin − F| = ½ at ½, ∫ (F_bin − F)² dF = 1/12."""
    z = np.linspace(0, 1, 2000, endpoint=False)
    rng = np.random.default_rng(4)
    f = np.where(z < 0.5, rng.permuted(np.linspace(0, 0.5, 2000)), rng.permuted(np.linspace(0.5, 1, 2000)))
    found = dependence(f, z, n_permutations=20, n_replicas=20).measures
    assert found["kolmogorov_smirnov"].value.value == pytest.approx(0.5, abs=0.03)
    assert found["cramer_von_mises"].value.value == pytest.approx(1 / 12, abs=0.005)


def test_p_values_are_uniform_for_independence_and_small_for_dependence() -> None:
    rng = np.random.default_rng(5)
    p: dict[str, list[float]] = {name: [] for name in DEPENDENCES}
    for toy in range(40):
        found = dependence(rng.normal(size=250), rng.normal(size=250), n_permutations=30, n_replicas=20, seed=toy)
        for name, measure in found.measures.items():
            p[name].append(measure.p_value)
    for name, values in p.items():
        assert kstest(values, "uniform").pvalue > 1e-3, name
    z = rng.normal(size=2000)
    moved = dependence(rng.normal(size=2000) + 0.3 * z, z, n_permutations=100, n_replicas=20)
    assert all(measure.p_value < 0.02 for measure in moved.measures.values())
    assert moved.measures["distance_correlation"].value.value > moved.measures["distance_correlation"].if_independent


def test_signed_weights_say_what_is_not_defined() -> None:
    rng = np.random.default_rng(6)
    f, z = rng.normal(size=1000), rng.normal(size=1000)
    weight = np.where(rng.random(1000) < 0.2, -1.0, 1.0)
    found = dependence(f, z, weight, n_permutations=20, n_replicas=20)
    assert "not defined: a cell's signed weights" in found.measures["mutual_information"].value.how
    assert np.isfinite(found.measures["cramer_von_mises"].p_value)
    assert found.effective_rows == pytest.approx(weight.sum() ** 2 / 1000)
    assert np.isnan(found.profile.median).all()
    assert np.isfinite(found.profile.mean).all()
    json.dumps(found.to_json(), allow_nan=False)


def test_many_rows_are_thinned_the_same_way_whatever_their_order() -> None:
    rng = np.random.default_rng(7)
    f, event = rng.normal(size=3000), np.arange(3000)
    order = rng.permutation(3000)
    options = {"n_permutations": 20, "n_replicas": 20, "max_rows": 1000}
    first = dependence(f, f, event=event, **options)  # type: ignore[arg-type]
    second = dependence(f[order], f[order], event=event[order], **options)  # type: ignore[arg-type]
    assert first.rows == second.rows == 1000
    name = "cramer_von_mises"
    assert first.measures[name].value.value == pytest.approx(second.measures[name].value.value)


def test_bad_input_is_named() -> None:
    rng = np.random.default_rng(8)
    f, z = rng.normal(size=500), rng.normal(size=500)
    z[7] = np.nan
    with pytest.raises(FeatureError, match="pileup: 1 of 500 values are NaN or infinite, the first at row 7"):
        dependence(f, z, name="pileup")
    with pytest.raises(NoEventsError, match="50 rows are too few"):
        dependence(f[50:100], z[50:100])
    with pytest.raises(WeightError, match="sum to -500"):
        dependence(f, f, -np.ones(500))
