"""The area under the curve of ``higgs`` against the number of training events, and where a power law leads.

``python docs/results/higgs_learning_curve.py FILE`` trains boosted trees and the deep network of the study on growing
parts of a sample, tests all on the same held-out events, fits AUC(n) = limit − a n^−b to trainings of ``FIT_FROM``
events and more, and writes ``higgs-learning-curve.json`` beside itself and a figure. The uncertainty of the fit is that
of its bootstrap: every replica weights the test events anew, the same for all points, and fits again. It holds neither
the choice of a power law, nor that another training of the same network would come out differently.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import uproot
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fivesigma.core.estimator import Labelled
from fivesigma.core.provenance import provenance
from fivesigma.evaluate.bootstrap import bootstrap_measurement, bootstrap_replicas
from fivesigma.evaluate.efficiency import RankedEvents
from fivesigma.evaluate.metrics import area_under_curve
from fivesigma.evaluate.scored_events import scored_events
from fivesigma.features import FEATURES
from fivesigma.learn import ESTIMATORS
from fivesigma.studies import load_study

FOLDER = Path(__file__).resolve().parent
FIGURE = FOLDER.parent / "figures" / "higgs-learning-curve.png"
MODELS = ("trees-low", "trees-all", "deep-low", "deep-all")
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
FIRST = 2_000
"""Events of the smallest training; each next has twice as many."""
FIT_FROM = 8_000
"""Smaller trainings are not fitted: twelve epochs of them are too few steps for five layers, and another law."""
PAPER_EVENTS = 10_500_000
"""Training events of the paper, whose AUC the fit is asked for."""
SHARED_EXPONENT_RANGE = (0.1, 1.5)

Floats = NDArray[np.float64]


def main(file: Path) -> None:
    """Train, test, fit, keep."""
    study = load_study("higgs")
    with uproot.open(file) as opened:
        columns = opened["events"].arrays(library="np")
    order = np.random.default_rng(study.seed).permutation(len(columns["label"]))
    n = len(order)
    test, validation = (
        order[: int(TEST_SHARE * n)],
        order[int(TEST_SHARE * n) : int((TEST_SHARE + VALIDATION_SHARE) * n)],
    )
    training = order[len(test) + len(validation) :]
    sizes = [*(FIRST * 2**i for i in range(40) if FIRST * 2**i < 0.75 * len(training)), len(training)]
    event = columns["event_number"][test].astype(np.uint64)
    results = {}
    for name in MODELS:
        words = study.models[name]
        assert isinstance(words.inputs, str)
        features = study.inputs[words.inputs]
        y = columns["label"].astype(np.int8)
        ranked = []
        for size in sizes:
            chosen = training[:size]
            kind = FEATURES[features.features](**features.options)
            taken = {c: columns[c] for c in kind.inputs}
            kind.fit({c: x[chosen] for c, x in taken.items()})
            X = kind.transform(taken)
            model = ESTIMATORS[words.estimator](**words.options)
            model.fit(X[chosen], y[chosen], validation=Labelled(X[validation], y[validation], np.ones(len(validation))))
            ranked.append(RankedEvents.rank(scored_events(model.predict_proba(X[test])[:, 1], y[test], None, event)))
            print(name, size, area_under_curve_of(ranked[-1], None), flush=True)
        results[name] = curve(sizes, ranked, event)
    made = provenance(study.seed, f"python docs/results/higgs_learning_curve.py {file.name}")
    content = {
        "study": "higgs",
        **{key: made[key] for key in ("command", "seed", "commit", "versions")},
        "sample": {"file": file.name, "events": n, "test_events": len(test)},
        "fit": "AUC(n) = limit - a n^-b, least squares; bootstrap over test events, shared by all sizes",
        "fit_from_events": FIT_FROM,
        "curves": results,
    }
    (FOLDER / "higgs-learning-curve.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draw(results, FIGURE)


def area_under_curve_of(ranked: RankedEvents, counts: NDArray[np.uint8] | None) -> float:
    """AUC on the test events, with bootstrap counts."""
    found = ranked.efficiencies(counts)
    assert found is not None
    return area_under_curve(found)


def curve(sizes: list[int], ranked: list[RankedEvents], event: NDArray[np.uint64]) -> dict[str, Any]:
    """AUC of every size, the fitted law, and what it says of the paper's number of events."""
    n = np.array(sizes, dtype=np.float64)
    fitted = n >= FIT_FROM

    def values(counts: NDArray[np.uint8] | None) -> Floats:
        auc = np.array([area_under_curve_of(one, counts) for one in ranked])
        law = fit_power_law(n[fitted], auc[fitted])
        return np.concatenate([auc, law, [power_law(law)(np.array([PAPER_EVENTS]))[0]]])

    nominal, replicas = values(None), bootstrap_replicas(values, event, n_replicas=100)
    measured = [bootstrap_measurement(float(v), r) for v, r in zip(nominal, replicas.T, strict=True)]
    auc, (limit, a, b), paper = measured[: len(n)], measured[len(n) : -1], measured[-1]
    return {
        "events": sizes,
        "auc": [m.to_json() for m in auc],
        "limit": limit.to_json(),
        "a": a.to_json(),
        "b": b.to_json(),
        "residual_rms": float(np.std((nominal[: len(n)] - power_law(nominal[len(n) : -1])(n))[fitted])),
        f"auc_at_{PAPER_EVENTS}": paper.to_json(),
    }


def fit_power_law(n: Floats, auc: Floats) -> Floats:
    """limit, a, b of AUC(n) = limit − a n^−b, the limit at most 1, b in ``SHARED_EXPONENT_RANGE``.

    >>> n = 1000.0 * 2 ** np.arange(6)
    >>> fit_power_law(n, 0.9 - 3.0 * n**-0.5).round(4).tolist()
    [0.9, 3.0, 0.5]
    """

    def residuals(p: Floats) -> Floats:
        return np.asarray(p[0] - np.exp(p[1]) * (n / n[0]) ** -p[2] - auc)

    low, high = SHARED_EXPONENT_RANGE
    start = [min(auc[-1] + 0.01, 0.999), np.log(max(auc[-1] - auc[0], 1e-3)), 0.5]
    found = least_squares(residuals, start, bounds=([0.5, -20.0, low], [1.0, 0.0, high]), xtol=1e-12, ftol=1e-12).x
    return np.array([found[0], np.exp(found[1]) * n[0] ** found[2], found[2]])


def power_law(law: Floats) -> Callable[[Floats], Floats]:
    """N ↦ limit − a n^−b."""
    return lambda n: np.asarray(law[0] - law[1] * n ** -law[2])


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """All curves with their fits."""
    figure, axes = plt.subplots(figsize=(7, 4.8), layout="constrained")
    for i, (name, found) in enumerate(results.items()):
        n, auc = np.array(found["events"]), found["auc"]
        axes.errorbar(n, [m["value"] for m in auc], [m["uncertainty"] for m in auc], fmt="o", color=f"C{i}", label=name)
        law = np.array([found[key]["value"] for key in ("limit", "a", "b")])
        line = np.geomspace(FIT_FROM, PAPER_EVENTS, 100)
        axes.plot(line, power_law(law)(line), color=f"C{i}", ls=":", lw=1)
    axes.set(xscale="log", xlabel="training events", ylabel="AUC")
    axes.axvline(PAPER_EVENTS, color="grey", lw=0.8)
    axes.legend(fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
