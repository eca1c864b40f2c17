"""Small real answers about systematics, for figures: every name can be chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fivesigma.evaluate import Expectation, compare_data
from fivesigma.evaluate.robustness import Variation
from fivesigma.evaluate.roc import roc_curve
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.evaluate.systematics import SystematicAnswers, SystematicQuestions, answer
from fivesigma.report import Plot, figures

EXPECTED = Expectation(100.0, 1000.0, 0.1)


def toy_answers(model: str, nuisance: str, mass: str, rows: int = 600) -> SystematicAnswers:
    rng = np.random.default_rng(1)
    y = np.arange(rows) % 2
    z = rng.normal(size=rows)
    score = 1 / (1 + np.exp(-(rng.normal(size=rows) + 1.5 * y + 0.3 * z)))
    events = scored_events(score, y)
    varied = {nuisance: {"up": Variation.rescored(events, score**0.9), "down": Variation.rescored(events, score**1.1)}}
    questions = SystematicQuestions(
        variations={model: varied}, nuisances={nuisance: z}, flatness={nuisance: z}, sculpting={mass: z + y}
    )
    return answer(model, events, questions, EXPECTED, n_replicas=20)


def systematic_figures(names: Sequence[str], label: str, unit: str) -> dict[str, tuple[Plot, ...]]:
    """Each figure of the sections about systematics once, by section."""
    found = toy_answers(names[0], names[-1], names[-1])
    rng = np.random.default_rng(2)
    roc = roc_curve(rng.normal(size=200) + np.arange(200) % 2, np.arange(200) % 2, n_replicas=20)
    compared = compare_data(rng.normal(size=300), rng.normal(size=300), np.linspace(-3, 3, 13), variable=names[-1])
    dependence = found.dependence[names[-1]]
    flat = found.flatness
    assert flat is not None
    return {
        "significance": (figures.significance_scan(dict.fromkeys(names, found.significance)),),
        "robustness": (
            figures.shifted_roc(names[0], roc, found.robustness),
            figures.nuisance_profile(dict.fromkeys(names[:2], dependence), nuisance=names[-1], label=label, unit=unit),
            figures.flatness_summary(dict.fromkeys(names, flat), labels=[label]),
            figures.mass_sculpting(dict.fromkeys(names, found.sculpting[names[-1]]), label=label, unit=unit),
        ),
        "data-simulation": (figures.data_simulation(compared, label=label, unit=unit),),
    }
