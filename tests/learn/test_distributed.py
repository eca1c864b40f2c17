"""Two real processes under torchrun give what one gives, to the rounding of float32 sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.learn.jets import FLAT, small_jets

from fivesigma.dataset import BatchLoader, Dataset
from fivesigma.learn import DenseClassifier, Ranks
from fivesigma.study import convert_study, fit_study, open_run

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 2e-4  # of a probability, after some hundred steps whose sums were rounded in another order

STUDY: dict[str, Any] = {
    "study": "tiny",
    "title": "Shifted Gaussians",
    "samples": {"jets": {"files": ["jets.root"]}},
    "labels": "label",
    "weights": "w",
    "identity": ["event"],
    "folds": 3,
    "inputs": {"flat": {"features": "tabular", "options": {"inputs": list(FLAT)}}},
    "models": {
        "dense": {
            "estimator": "dense",
            "inputs": "flat",
            "options": {
                "architecture": {"nodes": [16, 8]},
                "dropout": 0.0,
                "epochs": 4,
                "batch_size": 101,
                "precision": "float32",
            },
        },
        "streamed": {
            "estimator": "dense",
            "inputs": "flat",
            "stream": True,
            "options": {"architecture": {"nodes": [16, 8]}, "dropout": 0.0, "epochs": 2, "precision": "float32"},
        },
        "fisher": {"estimator": "fisher", "inputs": "flat"},
        "both": {"estimator": "likelihood-ratio", "scores": ["dense", "fisher"], "options": {"bins": 4}},
    },
    "evaluate": {"baseline": "fisher"},
}

PROGRAM = """
import sys
import numpy as np
import torch
from fivesigma.dataset import BatchLoader, Dataset
from fivesigma.learn import DenseClassifier, Ranks
from fivesigma.study import convert_study, fit_study, open_run
from fivesigma.learn.distributed import process_group
from tests.learn.test_distributed import fit_stream, scores

dataset = Dataset.open(sys.argv[1], verify=False)
with process_group() as ranks:
    made = {"plain": fit_stream(dataset, dropout=0.0), "whole": fit_stream(dataset, dropout=0.3)}
    original, steps = torch.optim.Adam.step, 0

    def step(*arguments, **named):
        global steps
        steps += 1
        if steps > 17:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    torch.optim.Adam.step = step
    try:
        fit_stream(dataset, dropout=0.3, checkpoint="kept", checkpoint_batches=4)
    except KeyboardInterrupt:
        torch.optim.Adam.step = original
    made["resumed"] = fit_stream(dataset, dropout=0.3, checkpoint="kept", checkpoint_batches=4)
    if ranks.first:
        np.savez("scores.npz", **{name: scores(model, dataset) for name, model in made.items()})
"""


def fit_stream(dataset: Dataset, **options: Any) -> DenseClassifier:
    """Fit on this process's share of a dataset."""
    ranks = Ranks.current()
    share: dict[str, Any] = {"rank": ranks.rank, "world_size": ranks.world_size, "flat": FLAT, "batch_size": 100}
    loader = BatchLoader(dataset, folds=(0, 1, 2), block_rows=50, blocks_in_buffer=8, **share)
    validation = BatchLoader(dataset, folds=(3,), block_rows=50, shuffle=False, **share)
    model = DenseClassifier(architecture={"nodes": [16, 8]}, precision="float32", epochs=3, **options)
    return model.fit_stream(loader, validation=validation)


def scores(model: DenseClassifier, dataset: Dataset) -> Any:
    """Of all events."""
    return model.predict_proba(np.stack([np.asarray(dataset.column(name)) for name in FLAT], axis=1))[:, 1]


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_jets(tmp_path_factory.mktemp("jets"))


def torchrun(command: list[str], folder: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_a_loader_divided_by_rank_trains_as_one_process_and_resumes_to_the_same_bits(
    dataset: Dataset, tmp_path: Path
) -> None:
    """With dropout, each rank gets back the random numbers that it would have drawn."""
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun(["program.py", str(dataset.path)], tmp_path)
    two = np.load(tmp_path / "scores.npz")
    assert np.abs(scores(fit_stream(dataset, dropout=0.0), dataset) - two["plain"]).max() < TOLERANCE
    np.testing.assert_array_equal(two["resumed"], two["whole"])
    assert np.abs(two["whole"] - two["plain"]).max() > 100 * TOLERANCE


def test_a_study_fitted_on_two_ranks_has_the_scores_of_one(dataset: Dataset) -> None:
    folder = dataset.path.parent
    samples = {"jets": {"files": [str(folder / "jets.root")]}}
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "samples": samples}))
    torchrun(["-m", "fivesigma", "fit", "study.yaml", "--quiet", "--output", "two"], folder)
    with open_run(folder / "study.yaml", output=folder / "one") as (definition, directory):
        fit_study(definition, directory, convert_study(definition, directory), workers=1)
    for model in STUDY["models"]:
        for k in range(3):
            folds = [folder / run / "models" / model / f"fold-{k}" for run in ("one", "two")]
            one, two = (np.load(fold / "scores.npy") for fold in folds)
            if model == "fisher":  # fitted by the first rank alone
                np.testing.assert_array_equal(one, two)
            elif model in {"dense", "streamed"}:
                assert np.abs(one - two).max() < TOLERANCE
                histories = [json.loads((fold / "done.json").read_text())["history"] for fold in folds]
                for name in ("train_loss", "validation_loss"):
                    alone, shared = ([epoch[name] for epoch in history] for history in histories)
                    np.testing.assert_allclose(alone, shared, rtol=1e-4)
    assert not list(folder.rglob("*.partial"))
