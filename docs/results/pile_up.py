"""AMS of ``w-tagging-pileup`` with what pile-up does to the background as its uncertainty, model by model.

``python docs/results/pile_up.py RUN [FILE]`` takes the run directory of the study (and the sample, if it was another than
the packaged one), fits nothing again, and writes ``w-tagging-pileup-ams.json`` beside itself and a figure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from fivesigma.core.provenance import provenance
from fivesigma.evaluate import Expectation
from fivesigma.evaluate.nuisance_significance import (
    METRIC,
    NuisanceSignificance,
    nuisance_significance,
    nuisance_significance_differences,
)
from fivesigma.study import convert_study, fit_study, open_run

FOLDER = Path(__file__).resolve().parent
FIGURE = FOLDER.parent / "figures" / "w-tagging-pileup-ams.png"
STUDY, NUISANCE, BASELINE = "w-tagging-pileup", "pile_up", "mixed"


def main(run_directory: Path, file: str | None = None) -> None:
    """Measure all models of the run, and keep the numbers and a figure."""
    inputs = {"jets": file} if file else None
    with open_run(STUDY, inputs, run_directory) as (definition, run):
        dataset = convert_study(definition, run)
        fits = fit_study(definition, run, dataset)
    yields = definition.evaluate.yields
    expectation = Expectation(yields.signal, yields.background, yields.background_uncertainty)
    z = np.asarray(dataset.column(NUISANCE)).astype(np.int64)
    found = {
        name: nuisance_significance(
            scores.out_of_fold(dataset.fold), dataset.y, z, fits.weight, dataset.event, expectation=expectation
        )
        for name, scores in fits.scores.items()
    }
    made = provenance(definition.seed, f"python docs/results/pile_up.py {run_directory.name}")
    rows: list[dict[str, Any]] = [
        {"model": name, "metric": metric, **measured.to_json(), "reference": None}
        for name, model in found.items()
        for metric, measured in (
            (METRIC, model.at_working_point),
            ("ams_without_nuisance_at_0.5", model.without_at_working_point),
            ("background_uncertainty_at_0.5", model.uncertainty_at_working_point),
        )
    ]
    content = {
        "study": STUDY,
        **{key: made[key] for key in ("command", "seed", "commit", "versions")},
        "sample": {"files": dataset.inputs, "events": len(dataset)},
        "expectation": {"signal": yields.signal, "background": yields.background},
        "results": rows,
        "baseline": BASELINE,
        "differences": [d.to_json() for d in nuisance_significance_differences(found, BASELINE)],
        "scans": {name: model.to_json() for name, model in found.items()},
    }
    (FOLDER / f"{STUDY}-ams.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draw(found, FIGURE)


def draw(found: dict[str, NuisanceSignificance], path: Path) -> None:
    """AMS against the signal efficiency; and at ε_S = 0.5 against λ, beside the models without one."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    pivots = {float(name.split()[1]): model for name, model in found.items() if name.startswith("pivot ")}
    others = {name: model for name, model in found.items() if not name.startswith("pivot ")}
    for name, model in found.items():
        left.plot(model.signal_efficiency, model.significance, label=name, lw=1.2, ls="--" if name in others else "-")
    left.set(xlabel="signal efficiency", ylabel="AMS, σ_b = |b(pile-up) − b(none)|", ylim=(0, None))
    left.legend(fontsize=8, ncols=2)
    points = [model.at_working_point for model in pivots.values()]
    right.errorbar(list(pivots), [p.value for p in points], [p.uncertainty for p in points], fmt="ko-", label="pivot")
    for i, (name, model) in enumerate(others.items()):
        value, error = model.at_working_point.value, model.at_working_point.uncertainty
        right.axhline(value, color=f"C{i}", lw=1.2, label=name)
        right.axhspan(value - error, value + error, color=f"C{i}", alpha=0.1, lw=0)
    right.set(xscale="log", xlabel="λ", ylabel="AMS at 50 % signal efficiency", ylim=(0, 4))
    right.legend(fontsize=8, loc="upper left", ncols=2)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
