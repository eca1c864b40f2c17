import json

import numpy as np
import pytest
from tests.evaluate.toys import gaussians

from fivesigma.core.errors import ConfigError, FeatureError, UnknownNameError
from fivesigma.evaluate import compare, phase_space, rejection_at, rejection_in_bins
from fivesigma.evaluate.binned import W_WINDOW


def test_each_bin_has_its_own_cut_and_the_inclusive_one() -> None:
    rng = np.random.default_rng(0)
    score, y = gaussians(rng, 4000)
    pt = rng.uniform(250, 300, len(y))
    shifted = score + 0.02 * (pt - 275)  # the score grows with pt: one cut for all is tight at low pt, loose at high
    found = rejection_in_bins(shifted, y, values=pt, edges=[250, 260, 290, 300], variable="jet_pt", n_replicas=50)
    low, high = found.bins[0], found.bins[-1]
    inside = pt < 260
    assert low.own_cut is not None
    assert low.own_cut.value == pytest.approx(rejection_at(0.5, shifted[inside], y[inside]))
    assert (low.n_signal, low.n_background) == ((inside & (y == 1)).sum(), (inside & (y == 0)).sum())
    assert low.inclusive_signal_efficiency is not None
    assert high.inclusive_signal_efficiency is not None
    assert low.inclusive_signal_efficiency.value < 0.4 < 0.6 < high.inclusive_signal_efficiency.value
    assert low.inclusive_cut is not None
    passed = (shifted >= found.inclusive_threshold) & inside & (y == 0)
    assert low.inclusive_cut.value == pytest.approx((inside & (y == 0)).sum() / passed.sum())
    json.dumps(found.to_json(), allow_nan=False)


def test_empty_bins_stay_in_the_table_and_the_last_edge_is_inside() -> None:
    score, y = gaussians(np.random.default_rng(1), 100)
    values = np.where(np.arange(200) % 2 == 0, 0.5, 3.0)
    found = rejection_in_bins(score, y, values=values, edges=[0, 1, 2, 3], variable="x", n_replicas=20)
    assert found.bins[1].own_cut is None
    assert found.bins[1].n_signal == 0
    assert found.bins[2].n_signal == 50


def test_bad_bins_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two rising bin edges of x"):
        rejection_in_bins([0, 1], [0, 1], values=[0, 1], edges=[1, 0], variable="x")
    with pytest.raises(FeatureError, match=r"x: expected shape \(2,\), got \(1,\)"):
        rejection_in_bins([0, 1], [0, 1], values=[0], edges=[0, 1], variable="x")


def test_the_window_where_only_new_information_helps() -> None:
    # mass decides everything; inside the window nothing is left to decide.
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 20_000)
    mass = np.where(y == 1, rng.normal(80, 5, len(y)), rng.uniform(65, 95, len(y)))
    tau21 = rng.uniform(0.1, 0.6, len(y))
    region = phase_space({"jet_mass": mass, "tau21": tau21}, W_WINDOW)
    assert region.description == "79 < jet_mass < 81, 0.19 < tau21 < 0.21"
    score = {"mass": -np.abs(mass - 80)}
    inclusive = compare(score, y, metrics=["auc"], n_replicas=50)
    inside = compare(score, y, metrics=["auc"], n_replicas=50, mask=region.mask, description=region.description)
    assert inclusive.measurement("mass", "auc").value > 0.7
    measured = inside.measurement("mass", "auc")
    assert inside.n_background < 200
    assert abs(measured.value - 0.5) < 3 * measured.uncertainty


def test_unknown_columns_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tau21'"):
        phase_space({"tau21": [0.2]}, {"tau2": (0, 1)})
    with pytest.raises(ConfigError, match="at least one variable"):
        phase_space({"tau21": [0.2]}, {})
