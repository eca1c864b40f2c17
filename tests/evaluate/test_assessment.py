"""The assessment puts the parts together on the same events; its numbers are those of the parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fivesigma.evaluate import Assessment, Questions, ScoredModel, assess, compare, rejection_in_bins


@pytest.fixture(scope="module", name="events")
def _events() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    n = 2000
    y = rng.integers(0, 2, n).astype(np.int8)
    return {
        "y": y,
        "weight": rng.choice([1.0, 1.0, 1.0, -0.3], n),
        "event": np.arange(n, dtype=np.uint64) // 2,
        "pt": rng.uniform(250, 300, n),
        "good": 1 / (1 + np.exp(-rng.normal(2.0 * y - 1.0, 1.0))),
        "poor": 1 / (1 + np.exp(-rng.normal(0.6 * y - 0.3, 1.0))),
    }


@pytest.fixture(scope="module", name="assessment")
def _assessment(events: dict[str, np.ndarray]) -> Assessment:
    test = np.arange(2000) % 5 == 0
    models = {name: ScoredModel(events[name], events[name], ~test, test) for name in ("good", "poor")}
    questions = Questions(
        metrics=("auc", "rejection_at_0.5"),
        bins={"pt": (events["pt"], (250, 275, 300))},
        restricted={"low pt": events["pt"] < 275},
        variables={"pt": events["pt"]},
        replicas=40,
        seed=3,
    )
    return assess(models, events["y"], events["weight"], events["event"], questions)


def test_the_comparison_is_that_of_compare(assessment: Assessment, events: dict[str, np.ndarray]) -> None:
    scores = {name: events[name] for name in ("good", "poor")}
    alone = compare(scores, events["y"], events["weight"], events["event"], ("auc", "rejection_at_0.5"), 40, 3)
    assert assessment.comparison.to_json() == alone.to_json()
    assert assessment.comparison.ranking("auc") == ["good", "poor"]
    assert assessment.models["good"].roc.auc.value == alone.measurement("good", "auc").value


def test_a_restricted_phase_space_is_those_events_alone(assessment: Assessment, events: dict[str, np.ndarray]) -> None:
    inside = events["pt"] < 275
    alone = compare(
        {"good": events["good"][inside]},
        events["y"][inside],
        events["weight"][inside],
        events["event"][inside],
        ("auc",),
        40,
        3,
    )
    found = assessment.restricted["low pt"]
    assert found.n_signal + found.n_background == inside.sum()
    assert found.measurement("good", "auc").value == pytest.approx(alone.measurement("good", "auc").value, abs=1e-12)


def test_bins_are_those_of_rejection_in_bins(assessment: Assessment, events: dict[str, np.ndarray]) -> None:
    alone = rejection_in_bins(
        events["good"],
        events["y"],
        events["weight"],
        events["event"],
        values=events["pt"],
        edges=(250, 275, 300),
        variable="pt",
        n_replicas=40,
        seed=3,
    )
    assert assessment.models["good"].bins["pt"].to_json() == alone.to_json()


def test_a_variable_without_power_shows_none(assessment: Assessment) -> None:
    (power,) = assessment.variables
    auc = power.likelihood_ratio["auc"]
    assert abs(auc.value - 0.5) < 4 * auc.uncertainty


def test_it_is_all_json(assessment: Assessment) -> None:
    content = json.loads(json.dumps(assessment.to_json(), allow_nan=False))
    assert set(content["models"]) == {"good", "poor"}
