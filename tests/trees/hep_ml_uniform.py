"""Writes hep_ml_uniform.json: what hep_ml 0.8 makes of the Dalitz data of its own examples (arXiv:1410.4140, arXiv:1305.7248).

It runs in an environment of its own, which has pandas: ``python -m benchmarks.uniform_boosting --reference``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

TRAIN_FEATURES = ("Y1", "Y2", "Y3")
UNIFORM_FEATURES = ("M2AB", "M2AC")
FEW, MANY = 400, 20_000
SEEDS = (1, 2, 3, 4)
TREES, DEPTH, LEARNING_RATE = 50, 4, 0.1
FLATNESS_WEIGHT = 5.0


def orders(events: int) -> list[Any]:
    """Orders of all events: of each the first MANY train, the next MANY test."""
    import numpy as np

    return [np.random.default_rng(seed).permutation(events) for seed in SEEDS]


def main(data: str, output: str) -> None:
    import numpy as np
    import pandas as pd
    import uproot
    from hep_ml import losses
    from hep_ml.gradientboosting import UGradientBoostingClassifier
    from hep_ml.metrics import BinBasedCvM, BinBasedSDE
    from hep_ml.uboost import uBoostBDT
    from sklearn.metrics import roc_auc_score
    from sklearn.tree import DecisionTreeClassifier

    tree = uproot.open(data)["tree"]
    table = pd.DataFrame({name: tree[name].array(library="np") for name in (*TRAIN_FEATURES, *UNIFORM_FEATURES)})
    table[list(UNIFORM_FEATURES)] /= table[list(UNIFORM_FEATURES)].std(ddof=0)
    y = tree["labels"].array(library="np").astype(int)
    few = np.random.default_rng(0).permutation(len(y))[:FEW]
    splits = [(order[:MANY], order[MANY : 2 * MANY]) for order in orders(len(y))]

    def flat(kind: str, label: Any, **options: Any) -> Any:
        return getattr(losses, kind)(uniform_features=list(UNIFORM_FEATURES), uniform_label=label, **options)

    def gradient(loss: Any) -> list[float]:
        X = table.iloc[few].reset_index(drop=True)
        X[list(UNIFORM_FEATURES)] /= X[list(UNIFORM_FEATURES)].std(ddof=0)
        score = (X["Y1"] + 0.5 * X["Y2"] ** 2 - 0.3 * X["Y3"]).to_numpy()
        weight = 0.5 + np.arange(FEW) % 7 / 4.0
        return [float(v) for v in loss.fit(X, y[few], weight).negative_gradient(score)]

    def judge(score: Any, test: Any) -> dict[str, float]:
        X, labels, ones = table.iloc[test].reset_index(drop=True), y[test], np.ones(len(test))
        proba = np.stack([-score, score], axis=1)
        found = {"auc": float(roc_auc_score(labels, score))}
        for name, metric in (("sde", BinBasedSDE), ("cvm", BinBasedCvM)):
            measure = metric(n_bins=10, uniform_features=list(UNIFORM_FEATURES), uniform_label=1)
            found[name] = float(measure.fit(X, labels)(labels, proba, ones))
        return found

    def averaged(make: Any) -> dict[str, Any]:
        """Of each split: AUC, SDE, CvM and CPU-seconds of the training."""
        found = []
        for train, test in splits:
            model, X = make(), table.iloc[train].reset_index(drop=True)
            start = time.process_time()
            model.fit(X, y[train])
            seconds = time.process_time() - start
            found.append({**judge(model.decision_function(table.iloc[test]), test), "cpu_seconds": seconds})
        return {name: [one[name] for one in found] for name in found[0]}

    def boosted(loss: Any) -> dict[str, Any]:
        return averaged(
            lambda: UGradientBoostingClassifier(
                loss=loss,
                n_estimators=TREES,
                max_depth=DEPTH,
                learning_rate=LEARNING_RATE,
                min_samples_leaf=20,
                train_features=list(TRAIN_FEATURES),
                random_state=1,
            )
        )

    def uboost(rate: float) -> dict[str, Any]:
        return averaged(
            lambda: uBoostBDT(
                uniform_features=list(UNIFORM_FEATURES),
                uniform_label=1,
                train_features=list(TRAIN_FEATURES),
                base_estimator=DecisionTreeClassifier(max_depth=DEPTH),
                n_estimators=TREES,
                learning_rate=0.5,
                uniforming_rate=rate,
                random_state=1,
            )
        )

    import hep_ml
    import sklearn

    content = {
        "made_by": "python -m benchmarks.uniform_boosting --reference",
        "versions": {"hep_ml": hep_ml.__version__, "scikit-learn": sklearn.__version__},
        "gradients": {
            "bins, signal": gradient(flat("BinFlatnessLossFunction", 1, n_bins=4, fl_coefficient=FLATNESS_WEIGHT)),
            "bins, both, power 3": gradient(
                flat("BinFlatnessLossFunction", [0, 1], n_bins=3, power=3.0, fl_coefficient=FLATNESS_WEIGHT)
            ),
            "neighbours, background": gradient(
                flat("KnnFlatnessLossFunction", 0, n_neighbours=30, fl_coefficient=FLATNESS_WEIGHT)
            ),
        },
        "models": {
            "exponential": boosted(flat("BinFlatnessLossFunction", 1, fl_coefficient=0.0)),
            "bins": boosted(flat("BinFlatnessLossFunction", 1, n_bins=10, fl_coefficient=FLATNESS_WEIGHT)),
            "neighbours": boosted(flat("KnnFlatnessLossFunction", 1, n_neighbours=100, fl_coefficient=FLATNESS_WEIGHT)),
            "uboost": uboost(1.0),
            "adaboost": uboost(0.0),
        },
    }
    Path(output).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**content, "gradients": None}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
