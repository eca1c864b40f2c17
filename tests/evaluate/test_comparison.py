import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from tests.evaluate.toys import gaussians

from fivesigma.core.errors import NoEventsError, UnknownNameError
from fivesigma.evaluate import Comparison, compare, measure

Models = Mapping[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def compared() -> Comparison:
    rng = np.random.default_rng(1)
    score, y = gaussians(rng, 1500)
    models = {"good": score, "noisy": score + rng.normal(size=len(y)), "again": 3 * score - 1}
    return compare(models, y, metrics=["auc", "rejection_at_0.5"], n_replicas=100, seed=2)


def test_each_model_has_the_measurement_it_would_have_alone(compared: Comparison) -> None:
    score, y = gaussians(np.random.default_rng(1), 1500)
    assert compared.measurement("good", "auc") == measure("auc", score, y, n_replicas=100, seed=2)
    assert (compared.n_signal, compared.n_background, compared.description) == (1500, 1500, "all events")


def test_a_difference_is_that_of_the_values_with_gaussian_p_value(compared: Comparison) -> None:
    found = compared.difference("good", "noisy", "auc")
    good, noisy = (compared.measurement(name, "auc").value for name in ("good", "noisy"))
    assert found.difference.value == pytest.approx(good - noisy)
    assert found.n_sigma == pytest.approx(found.difference.value / found.difference.uncertainty)
    assert found.p_value == pytest.approx(2 * norm.sf(found.n_sigma))
    turned = compared.difference("noisy", "good", "auc")
    assert turned.n_sigma == -found.n_sigma
    assert turned.p_value == found.p_value
    assert "good − noisy, auc: 0." in str(found)


def test_a_rescaled_score_is_no_difference_at_all(compared: Comparison) -> None:
    same = compared.difference("good", "again", "rejection_at_0.5")
    assert (same.difference.value, same.n_sigma, same.p_value) == (0.0, 0.0, 1.0)


def test_ranking_unknown_names_and_json(compared: Comparison) -> None:
    assert compared.ranking("auc")[-1] == "noisy"
    with pytest.raises(UnknownNameError, match="did you mean 'noisy'"):
        compared.measurement("nosy", "auc")
    with pytest.raises(UnknownNameError, match="unknown metric 'aux'"):
        compared.measurement("good", "aux")
    with pytest.raises(UnknownNameError, match="unknown difference"):
        compared.difference("good", "good", "auc")
    with pytest.raises(NoEventsError, match="no models to compare"):
        compare({}, [0, 1])
    content = json.loads(json.dumps(compared.to_json(), allow_nan=False))
    assert len(content["differences"]) == 2 * 3


def test_a_few_hundred_events_say_how_little_they_know() -> None:
    rng = np.random.default_rng(5)
    score, y = gaussians(rng, 4000)
    mask = rng.random(len(y)) < 0.03  # about 120 of each class
    small = compare({"m": score}, y, metrics=["auc", "rejection_at_0.2"], mask=mask, description="a narrow window")
    inclusive = compare({"m": score}, y, metrics=["auc"])
    assert small.description == "a narrow window"
    assert small.n_signal + small.n_background == mask.sum()
    ratio = small.measurement("m", "auc").uncertainty / inclusive.measurement("m", "auc").uncertainty
    assert ratio == pytest.approx(1 / math.sqrt(0.03), rel=0.35)
    rejection = small.measurement("m", "rejection_at_0.2")
    assert math.isnan(rejection.uncertainty) or rejection.uncertainty > 0.2 * rejection.value


def test_two_models_without_background_left_differ_by_an_unknown() -> None:
    y = np.repeat([0, 1], 50)
    score = np.arange(100.0)
    both = compare({"a": score, "b": score + 0.5 * y}, y, metrics=["rejection_at_0.5"])
    assert math.isnan(both.difference("a", "b", "rejection_at_0.5").n_sigma)
    json.dumps(both.to_json(), allow_nan=False)


PUBLISHED = {
    # arXiv:1902.09914, table 1, single model of each: AUC, 1/ε_B at ε_S = 0.3 with its spread over trainings.
    "ParticleNet_v2_run0": (0.985, 1298.0, 46.0),
    "P_CNN_v2_run0": (0.980, 732.0, 24.0),
    "topodnn_1": (0.972, 295.0, 5.0),
}


@pytest.mark.shared_data
def test_published_top_taggers(shared_data: Path) -> None:
    """Published with 404,000 jets and several trainings; here are 200,000 jets and one training each."""
    with np.load(shared_data / "toptag-scores" / "toptag_scores_first200k.npz") as scores:
        models = {name: scores[name] for name in PUBLISHED}
        y = scores["label"]
    found = compare(models, y, metrics=["auc", "rejection_at_0.3"], n_replicas=25)
    assert found.ranking("auc") == found.ranking("rejection_at_0.3") == list(PUBLISHED)
    for name, (auc, rejection, spread) in PUBLISHED.items():
        measured = found.measurement(name, "auc")
        assert abs(measured.value - auc) < 0.001 + 2 * measured.uncertainty  # printed with three decimals
        measured = found.measurement(name, "rejection_at_0.3")
        assert abs(measured.value - rejection) < 2 * math.hypot(measured.uncertainty, spread)
    for second in ("P_CNN_v2_run0", "topodnn_1"):
        assert found.difference("ParticleNet_v2_run0", second, "auc").n_sigma > 10
