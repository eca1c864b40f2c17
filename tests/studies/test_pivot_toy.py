"""The toy of arXiv:1611.01046 as a study, reduced: from its file to numbers on dependence, with uncertainties."""

from __future__ import annotations

from pathlib import Path

from fivesigma import run_study
from fivesigma.simulate import SIMULATIONS
from fivesigma.studies import load_study


def test_the_pivot_trades_auc_for_equal_efficiencies(tmp_path: Path) -> None:
    SIMULATIONS["pivot-toy"](tmp_path / "toy.root", n_signal=2000, n_background=2000, seed=3)
    study = load_study("pivot-toy")
    samples = {"toy": study.samples["toy"].model_copy(update={"files": (str(tmp_path / "toy.root"),)})}
    options = {
        **study.models["pivot 50"].options,
        "iterations": 60,
        "adversary_steps": 10,
        "adversary_pretraining": 200,
    }
    models = {
        "plain": study.models["plain"].model_copy(update={"options": {**study.models["plain"].options, "epochs": 10}}),
        "pivot": study.models["pivot 50"].model_copy(update={"options": options}),
    }
    words = study.evaluate.model_copy(update={"replicas": 20, "nuisances": ()})
    study = study.model_copy(update={"samples": samples, "models": models, "evaluate": words, "folds": 3})
    metrics = run_study(study, output=tmp_path / "run", until="evaluate", workers=1).metrics

    def auc(rows: list[dict[str, object]]) -> dict[str, float]:
        return {str(row["model"]): float(str(row["value"])) for row in rows if row["metric"] == "auc"}

    overall = auc(metrics["results"])
    rise = {
        model: auc(metrics["restricted"]["Z near +1"]["results"])[model]
        - auc(metrics["restricted"]["Z near −1"]["results"])[model]
        for model in models
    }
    assert rise["plain"] > 0.12  # easier to see where the signal has moved away
    assert abs(rise["pivot"]) < 0.5 * rise["plain"]
    assert 0.03 < overall["plain"] - overall["pivot"] < 0.15
    difference = next(
        d for d in metrics["differences"] if {d["first"], d["second"]} == {"plain", "pivot"} and d["metric"] == "auc"
    )
    assert abs(difference["n_sigma"]) > 5
