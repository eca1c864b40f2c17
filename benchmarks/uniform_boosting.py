"""Uniform boosting: our flatness losses and uBoost on LightGBM against hep_ml, on 20,000 events of its Dalitz data.

``python -m benchmarks.uniform_boosting`` from the root of the repository. hep_ml brings pandas, and its uBoost needs a
scikit-learn before 1.6: it gets an environment of its own, made on the first run (network needed once). 50 trees of
depth 4, three inputs, uniform in two; one thread each, timed by the processor time of their process (others may be busy
on the machine); ratios are medians over interleaved repeats. The tests compare AUC and flatness of the same fits.

``--reference`` writes instead what the tests compare with: tests/trees/hep_ml_uniform.json.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from tests.trees import hep_ml_uniform as peer

from benchmarks.peers import ONE_THREAD, peer_python, running
from benchmarks.record import Record, record
from fivesigma.trees import FlatnessBoosting, UBoost

PEER = ("hep_ml==0.8.0", "scikit-learn==1.5.2", "uproot==5.6.3")
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "dalitz" / "dalitzdata.root"
REPEATS = 3
GOAL = 20.0

PEER_PROGRAM = """
import json, sys, time
import hep_ml, numpy as np, pandas as pd
from hep_ml import losses
from hep_ml.gradientboosting import UGradientBoostingClassifier
from hep_ml.uboost import uBoostBDT
from sklearn.tree import DecisionTreeClassifier
events, kind, trees, depth, rate, flat = np.load(sys.argv[1]), sys.argv[2], *(float(a) for a in sys.argv[3:])
X, y = pd.DataFrame(events[:, :5], columns=["a", "b", "c", "u", "v"]), events[:, 5].astype(int)
common = dict(uniform_features=["u", "v"], uniform_label=1)
def make():
    if kind == "uboost":
        tree = DecisionTreeClassifier(max_depth=int(depth))
        return uBoostBDT(**common, train_features=["a", "b", "c"], base_estimator=tree, n_estimators=int(trees))
    name = {"bins": "BinFlatnessLossFunction", "neighbours": "KnnFlatnessLossFunction"}[kind]
    loss = getattr(losses, name)(**common, fl_coefficient=flat)
    return UGradientBoostingClassifier(loss=loss, n_estimators=int(trees), max_depth=int(depth), learning_rate=rate,
        min_samples_leaf=20, train_features=["a", "b", "c"], random_state=1)
print(json.dumps(hep_ml.__version__), flush=True)
for line in sys.stdin:
    model, start = make(), time.process_time()
    model.fit(X, y)
    print(json.dumps(time.process_time() - start), flush=True)
"""


def main() -> list[Record]:
    """Measure and record all three."""
    python = peer_python("hep_ml", PEER)
    events = training_events()
    growth: dict[str, Any] = {"trees": peer.TREES, "depth": peer.DEPTH, "learning_rate": peer.LEARNING_RATE}
    flat: dict[str, Any] = {"uniform_label": "signal", "flatness_weight": peer.FLATNESS_WEIGHT, **growth}
    return [
        against(python, events, "bins", "flatness loss in bins", lambda: FlatnessBoosting(**flat), GOAL),
        against(
            python,
            events,
            "neighbours",
            "flatness loss of 100 nearest neighbours",
            lambda: FlatnessBoosting(locality="neighbours", **flat),
            GOAL,
        ),
        against(python, events, "uboost", "uBoost", lambda: UBoost(uniform_label="signal", **growth), None),
    ]


def training_events() -> np.ndarray[Any, Any]:
    """Inputs, uniform variables and label, shape (event, 6)."""
    tree = uproot.open(DATA)["tree"]
    names = (*peer.TRAIN_FEATURES, *peer.UNIFORM_FEATURES, "labels")
    table = np.stack([tree[name].array(library="np") for name in names], axis=1)
    table[:, 3:5] /= table[:, 3:5].std(axis=0)
    chosen: np.ndarray[Any, Any] = table[peer.orders(len(table))[0][: peer.MANY]]
    return chosen


def against(
    python: Path, events: np.ndarray[Any, Any], kind: str, title: str, make: Callable[[], Any], goal: float | None
) -> Record:
    """Fits in turn, in CPU-seconds."""
    X, Z, y = events[:, :3], events[:, 3:5], events[:, 5].astype(int)

    def ours() -> float:
        model, start = make(), time.process_time()
        model.fit(X, y, nuisance=Z)
        return time.process_time() - start

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "events.npy", events)
        options = [str(v) for v in (peer.TREES, peer.DEPTH, peer.LEARNING_RATE, peer.FLATNESS_WEIGHT)]
        with running(python, PEER_PROGRAM, f"{folder}/events.npy", kind, *options) as theirs:
            ours()  # compilation, caches
            pairs = [(ours(), theirs()) for _ in range(REPEATS)]
            version = theirs.version
    return record(
        f"uniform boosting, {title}, {peer.MANY:,} events, {peer.TREES} trees of depth {peer.DEPTH}",
        ours=statistics.median(a for a, _ in pairs),
        peer=statistics.median(b for _, b in pairs),
        ratio=statistics.median(b / a for a, b in pairs),
        peer_name="hep_ml",
        peer_version=version,
        unit="CPU s",
        goal=goal,
    )


def write_reference() -> None:
    """Run tests/trees/hep_ml_uniform.py in the peer's environment."""
    program = ROOT / "tests" / "trees" / "hep_ml_uniform.py"
    output = program.with_suffix(".json")
    command = [str(peer_python("hep_ml", PEER)), "-W", "ignore", str(program), str(DATA), str(output)]
    subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD})


if __name__ == "__main__":
    os.environ.update(ONE_THREAD)
    if "--reference" in sys.argv[1:]:
        write_reference()
    else:
        main()
