"""`higgs`, `w-tagging-pileup` and `domain-adaptation` in reduced form, on the samples that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from fivesigma.dataset import Dataset
from fivesigma.evaluate import Expectation, compare
from fivesigma.evaluate.nuisance_significance import nuisance_significance
from fivesigma.simulate.higgs_features import HIGH_LEVEL, LOW_LEVEL, high_level_features
from fivesigma.studies import input_files, load_study
from fivesigma.study import Fits, convert_study, fit_study, open_run


def fitted(name: str, options: dict[str, dict[str, Any]], folder: Path) -> tuple[Dataset, Fits]:
    """The models named, three folds, some options changed."""
    study = load_study(name)
    models = {
        m: study.models[m].model_copy(update={"options": study.models[m].options | o}) for m, o in options.items()
    }
    words = study.evaluate.model_copy(update={"baseline": next(iter(models))})
    explain = study.explain.model_copy(update={"models": ()})
    study = study.model_copy(update={"models": models, "evaluate": words, "explain": explain, "folds": 3})
    with open_run(study, output=folder) as (definition, run):
        dataset = convert_study(definition, run)
        return dataset, fit_study(definition, run, dataset, workers=1)


def test_boosted_trees_come_near_the_papers_and_masses_hold_most_of_what_they_find(tmp_path: Path) -> None:
    few = {"trees": 100, "learning_rate": 0.1}
    dataset, fits = fitted("higgs", {"trees-low": few, "trees-high": few}, tmp_path)
    scores = {name: found.out_of_fold(dataset.fold) for name, found in fits.scores.items()}
    compared = compare(scores, dataset.y, fits.weight, dataset.event, ("auc",), 20)
    low, high = (compared.measurements[name]["auc"] for name in scores)
    assert 0.62 < low.value < 0.74  # the paper, with 10.5 million events: 0.73
    assert 0.74 < high.value < 0.83  # 0.78
    (difference,) = compared.differences
    assert abs(difference.n_sigma) > 10
    assert load_study("higgs").published["trees-low"]["auc"] == 0.73


def test_the_embedded_events_are_what_the_page_says() -> None:
    (file,) = input_files(load_study("higgs").samples["events"])
    with uproot.open(file) as opened:
        columns = opened["events"].arrays(["label", "event_number", *LOW_LEVEL, *HIGH_LEVEL], library="np")
    assert np.bincount(columns["label"]).tolist() == [10_000, 10_000]
    assert len(np.unique(columns["event_number"])) == 20_000
    masses = high_level_features({name: columns[name] for name in LOW_LEVEL})
    for name, mass in masses.items():
        np.testing.assert_allclose(columns[name], mass, rtol=1.3e-4)
    signal, mode = columns["label"] == 1, {}
    for name, chosen in (("m_bb", signal), ("m_wwbb", signal), ("m_jlv", ~signal), ("m_jjj", ~signal)):
        content, edges = np.histogram(columns[name][chosen], np.arange(0, 800, 20))
        mode[name] = edges[np.argmax(content)] + 10
    # below 125 and 425 GeV: neutrinos of b decays, and what leaves the cones
    assert mode["m_bb"] == pytest.approx(115, abs=20)
    assert mode["m_wwbb"] == pytest.approx(410, abs=30)
    assert mode["m_jlv"] == pytest.approx(172.5, abs=20)
    assert mode["m_jjj"] == pytest.approx(165, abs=20)


def test_pile_up_moves_the_mixed_network_and_a_pivot_less(tmp_path: Path) -> None:
    duel = {"iterations": 20, "adversary_pretraining": 200}
    dataset, fits = fitted("w-tagging-pileup", {"mixed": {"epochs": 5}, "pivot 30": duel}, tmp_path)
    z = np.asarray(dataset.column("pile_up")).astype(np.int64)
    relative = {}
    for name, scores in fits.scores.items():
        found = nuisance_significance(
            scores.out_of_fold(dataset.fold),
            dataset.y,
            z,
            fits.weight,
            dataset.event,
            expectation=Expectation(100, 1000),
            n_replicas=20,
        )
        relative[name] = found.uncertainty_at_working_point.value
        assert 0.5 < found.at_working_point.value < found.without_at_working_point.value
    assert relative["pivot 30"] < relative["mixed"]


def test_another_shower_adds_towers_and_gradient_reversal_keeps_the_auc(tmp_path: Path) -> None:
    few = {"simulation": {"epochs": 4}, "reversal": {"epochs": 2}}
    dataset, fits = fitted("domain-adaptation", few, tmp_path)
    data = np.asarray(dataset.column("domain")) == 1
    towers, qcd = np.asarray(dataset.column("nconstituent"), dtype=np.float64), dataset.y == 0
    assert np.mean(towers[qcd & data]) - np.mean(towers[qcd & ~data]) == pytest.approx(4, abs=1)  # 33 → 37
    scores = {name: found.out_of_fold(dataset.fold)[data] for name, found in fits.scores.items()}
    compared = compare(scores, dataset.y[data], fits.weight[data], dataset.event[data], ("auc",), 20)
    assert compared.measurements["simulation"]["auc"].value > 0.87
    (difference,) = compared.differences
    assert abs(difference.difference.value) < 0.01  # nothing to recover, see docs/studies/domain-adaptation.md
    assert 0 < difference.difference.uncertainty < 0.01
