"""Flatness of efficiency: against hep_ml's numbers, closed forms, and a slow reference."""

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from tests.evaluate.hep_ml_flatness import STEP

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.evaluate import FLATNESS, flatness

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)


@pytest.mark.shared_data
def test_values_are_hep_mls_on_the_dalitz_plane(shared_data: Path) -> None:
    """hep_ml's binned SDE and Theil cut at the quantiles 0.5…0.9, so at efficiencies 0.5…0.1; its k-nearest ones at 0.5…0.9."""
    content = json.loads(Path(__file__).with_name("hep_ml_flatness.json").read_text())
    with uproot.open(shared_data / "dalitz" / "dalitzdata.root") as file:
        columns = file["tree"].arrays(["M2AB", "M2AC", "labels"], library="np")
    columns = {name: np.asarray(values[::STEP], dtype=np.float64) for name, values in columns.items()}
    rng = np.random.default_rng(content["seed"])
    noise = rng.random(content["rows"])
    weight = 1 + rng.exponential(size=content["rows"])
    signal = columns["labels"] > 0.5
    variables = {name: columns[name][signal] for name in ("M2AB", "M2AC")}
    for case, expected in content["values"].items():
        kind, strength = case.split()
        score = 1 / (1 + np.exp(-(float(strength) * columns["M2AB"] + noise)))
        how = (
            {"bins": content["bins"], "efficiencies": tuple(1 - np.array(TARGETS))}
            if kind == "bin"
            else {"neighbours": content["neighbours"], "efficiencies": TARGETS}
        )
        found = flatness(score[signal], variables, weight[signal], n_replicas=20, n_permutations=1, **how)
        for name in FLATNESS:
            # the cut that leaves a fraction of weighted events lies between two of them: one event's difference
            assert getattr(found, name).value == pytest.approx(expected[name], rel=5e-3), (case, name)


def test_two_bins_have_a_closed_form() -> None:
    """Scores uniform in 0…1 − d and in d…1 for two halves: local efficiencies of a cut are linear."""
    n, d = 20_000, 0.2
    x = np.repeat([0.0, 1.0], n)
    u = (np.tile(np.arange(n), 2) + 0.5) / n
    score = u * (1 - d) + d * x
    found = flatness(score, {"x": x}, bins=2, efficiencies=(0.5,), n_replicas=20)
    low, high = 0.3 / 0.8, 0.5 / 0.8  # above ½: of 0…0.8 and of 0.2…1
    assert found.sde.value == pytest.approx((high - low) / 2, abs=1e-3)
    e = np.array([low, high]) / 0.5
    assert found.theil.value == pytest.approx(np.mean(e * np.log(e)), abs=1e-3)
    # F_low − F = half the distance of the two; its square integrated over F
    f = np.linspace(0, 1, 100_001)
    distance = np.clip(f / 0.8, 0, 1) - np.clip((f - d) / 0.8, 0, 1)
    density = (np.where(f < 0.8, 1 / 0.8, 0) + np.where(f > d, 1 / 0.8, 0)) / 2
    assert found.cvm.value == pytest.approx(np.mean((distance / 2) ** 2 * density), abs=1e-4)


def test_neighbourhoods_of_everybody_are_flat_and_bins_of_neighbours_agree() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(200)
    everybody = flatness(score, {"x": rng.random(200)}, neighbours=200, n_replicas=20)
    assert [getattr(everybody, name).value for name in FLATNESS] == pytest.approx([0, 0, 0], abs=1e-12)
    # two clusters far apart: neighbourhoods of their size are the bins
    x = np.repeat([0.0, 100.0], 100) + rng.random(200)
    weight = rng.exponential(size=200)
    options = {"efficiencies": TARGETS, "n_replicas": 20}
    binned = flatness(score, {"x": x}, weight, bins=2, **options)  # type: ignore[arg-type]
    near = flatness(score, {"x": x}, weight, neighbours=100, **options)  # type: ignore[arg-type]
    for name in FLATNESS:
        assert getattr(near, name).value == pytest.approx(getattr(binned, name).value)


def test_a_flat_score_shows_the_floor_and_another_does_not() -> None:
    rng = np.random.default_rng(1)
    x = rng.random(3000)
    flat = flatness(rng.random(3000), {"x": x}, n_replicas=20)
    steep = flatness(rng.random(3000) + 0.3 * x, {"x": x}, n_replicas=20)
    assert all(p > 0.01 for p in flat.p_value.values())
    assert all(p < 0.03 for p in steep.p_value.values())
    assert steep.cvm.value - steep.if_flat["cvm"] > 5 * steep.cvm.uncertainty
    # the variance of efficiencies from counting alone, averaged over targets: Σ ε(1 − ε)/n per bin
    expected = np.sqrt(np.mean([t * (1 - t) for t in TARGETS]) / 300)
    assert flat.if_flat["sde"] == pytest.approx(expected, rel=0.1)


def test_signed_weights_and_what_they_leave_undefined() -> None:
    rng = np.random.default_rng(2)
    x, score = rng.random(2000), rng.random(2000)
    weight = np.where(rng.random(2000) < 0.2, -1.0, 1.0)
    found = flatness(score, {"x": x}, weight, bins=5, n_replicas=20)
    assert np.isfinite(found.sde.value)
    assert np.isfinite(found.cvm.value)
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(WeightError, match="1 of 5 bins have weights that do not sum"):
        flatness(score, {"x": x}, np.where(x < 0.2, -1.0, 1.0), bins=5)
    worst = np.where((x < 0.2) & (score > 0.95), -3.0, 1.0)
    assert "not defined" in flatness(score, {"x": x}, worst, bins=5, efficiencies=(0.05,), n_replicas=20).theil.how


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="neighbours: expected 2 to 3"):
        flatness([1, 2, 3], {"x": [1, 2, 3]}, neighbours=4)
    with pytest.raises(ConfigError, match="efficiencies: expected values in"):
        flatness([1, 2, 3], {"x": [1, 2, 3]}, efficiencies=(1.5,))
