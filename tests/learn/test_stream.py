"""Training on a loader: the same as in memory where it must be, resumed after a real kill, errors with names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from tests.learn.jets import FLAT, small_jets

from fivesigma.core.errors import ConfigError, ModelError, ResumeError, WeightError
from fivesigma.dataset import BatchLoader, Collection, Dataset
from fivesigma.features import Tabular
from fivesigma.learn import DenseClassifier
from fivesigma.learn.checkpoint import FILE_NAME, PREVIOUS

OPTIONS: dict[str, Any] = {"architecture": {"nodes": [16]}, "epochs": 3, "precision": "float32", "patience": 0}


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_jets(tmp_path_factory.mktemp("jets"))


def loader_of(dataset: Dataset, **options: Any) -> BatchLoader:
    fixed = {"flat": FLAT, "folds": (0, 1, 2), "batch_size": 100, "block_rows": 50, "blocks_in_buffer": 8}
    return BatchLoader(dataset, **{**fixed, **options})


def held_out(dataset: Dataset) -> BatchLoader:
    return loader_of(dataset, folds=(3,), shuffle=False)


def scores(model: DenseClassifier, dataset: Dataset) -> Any:
    return model.predict_proba(np.stack([np.asarray(dataset.column(name)) for name in FLAT], axis=1))[:, 1]


def test_a_network_learns_from_a_loader_what_it_learns_in_memory(dataset: Dataset) -> None:
    streamed = DenseClassifier(**OPTIONS).fit_stream(loader_of(dataset), validation=held_out(dataset))
    train, test = np.isin(dataset.fold, (0, 1, 2)), dataset.fold == 4
    X = np.stack([np.asarray(dataset.column(name)) for name in FLAT], axis=1)
    in_memory = DenseClassifier(**OPTIONS, batch_size=100).fit(X[train], dataset.y[train], dataset.weight[train])
    ours, theirs = (roc_auc_score(dataset.y[test], scores(model, dataset)[test]) for model in (streamed, in_memory))
    assert ours == pytest.approx(theirs, abs=0.02)
    assert ours > 0.8
    assert [epoch["epoch"] for epoch in streamed.history_] == [1, 2, 3]


def test_with_one_batch_an_epoch_a_loader_gives_what_memory_gives(dataset: Dataset) -> None:
    """There is no choice of order then: but for the rounding of sums, all is equal."""
    loader = loader_of(dataset, batch_size=len(dataset), shuffle=False)
    streamed = DenseClassifier(**OPTIONS, dropout=0.0, batch_norm=False).fit_stream(loader)
    rows = np.isin(dataset.fold, (0, 1, 2))
    X = np.stack([np.asarray(dataset.column(name)) for name in FLAT], axis=1)[rows]
    in_memory = DenseClassifier(**OPTIONS, dropout=0.0, batch_norm=False, batch_size=len(dataset))
    in_memory.fit(X, dataset.y[rows], dataset.weight[rows])
    np.testing.assert_allclose(scores(streamed, dataset), scores(in_memory, dataset), atol=1e-6)


def test_collections_and_fitted_features_are_inputs_too(dataset: Dataset) -> None:
    padded = loader_of(dataset, flat=(), collections={"constituents": Collection(("pt", "eta"), 6)})
    assert DenseClassifier(**OPTIONS).fit_stream(padded).shape_ == (6, 2)
    features = Tabular(("c", "a")).fit({name: dataset.column(name) for name in FLAT})
    columns = loader_of(dataset, flat=(), columns=("a", "c"))
    model = DenseClassifier(**{**OPTIONS, "epochs": 10}).fit_stream(columns, features=features)
    p = model.predict_proba(features.transform(dataset.columns))[:, 1]
    assert roc_auc_score(dataset.y, p) == pytest.approx(norm.cdf(0.8), abs=0.03)  # two columns shifted by 0.8
    with pytest.raises(ConfigError, match="the features need the columns c, a"):
        DenseClassifier(**OPTIONS).fit_stream(loader_of(dataset), features=features)
    with pytest.raises(ConfigError, match="what are the inputs"):
        DenseClassifier(**OPTIONS).fit_stream(columns)


@pytest.mark.parametrize("stop_after", [1, 7, 12, 23, 35])
def test_a_training_stopped_in_mid_epoch_goes_on_to_the_same_bits(
    dataset: Dataset, tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS, "dropout": 0.3}
    whole = DenseClassifier(**options).fit_stream(loader_of(dataset), validation=held_out(dataset))
    n_batches = loader_of(dataset).n_batches
    assert 3 * n_batches == 36

    resumable = {**options, "checkpoint": tmp_path, "checkpoint_batches": 4}
    original, steps = torch.optim.Adam.step, 0

    def step(*arguments: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > stop_after:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", step)
        with pytest.raises(KeyboardInterrupt):
            DenseClassifier(**resumable).fit_stream(loader_of(dataset), validation=held_out(dataset))
    resumed = DenseClassifier(**resumable).fit_stream(loader_of(dataset, prefetch=0), validation=held_out(dataset))
    np.testing.assert_array_equal(scores(resumed, dataset), scores(whole, dataset))
    losses = [[(e["train_loss"], e["validation_loss"]) for e in model.history_] for model in (resumed, whole)]
    assert losses[0] == losses[1]
    with pytest.raises(ResumeError, match="other options or other events"):
        DenseClassifier(**resumable).fit_stream(loader_of(dataset, seed=2), validation=held_out(dataset))


PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from fivesigma.dataset import BatchLoader, Dataset
from fivesigma.learn import DenseClassifier

kind, data, folder = sys.argv[1:]
dataset = Dataset.open(data)
options = dict(architecture={"nodes": [16]}, dropout=0.3, precision="float32", epochs=4, batch_size=100,
               checkpoint=Path(folder) / "checkpoint", checkpoint_batches=5)
X = np.stack([np.asarray(dataset.column(name)) for name in "abc"], axis=1)
model = DenseClassifier(**options)
print("begun", flush=True)
if kind == "memory":
    model.fit(X, dataset.y, dataset.weight)
else:
    model.fit_stream(BatchLoader(dataset, flat=tuple("abc"), batch_size=100, block_rows=50, blocks_in_buffer=8))
np.save(Path(folder) / "scores.npy", model.predict_proba(X)[:, 1])
"""


@pytest.mark.parametrize("kind", ["loader", pytest.param("memory", marks=pytest.mark.slow)])
def test_a_killed_process_leaves_a_training_that_ends_with_the_same_bits(
    dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, kind, str(dataset.path)]
    subprocess.run([*command, str(make(tmp_path / "whole"))], check=True, env=one_thread())
    folder = make(tmp_path / "killed")
    file = folder / "checkpoint" / "float32" / FILE_NAME
    with subprocess.Popen([*command, str(folder)], env=one_thread(), stdout=subprocess.DEVNULL) as process:
        while not (file.is_file() and file.with_name(PREVIOUS).is_file()):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "scores.npy").exists()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])  # torn by the disk: the one before is complete
    subprocess.run([*command, str(folder)], check=True, env=one_thread())
    np.testing.assert_array_equal(np.load(folder / "scores.npy"), np.load(tmp_path / "whole" / "scores.npy"))


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def test_an_input_that_is_not_finite_is_named_with_its_row(tmp_path: Path) -> None:
    b = np.random.default_rng(2).normal(size=500).astype(np.float32)
    b[321] = np.nan
    dataset = small_jets(tmp_path, 500, b=b)
    with pytest.raises(ModelError, match=r"'b' is nan in row 321 of the dataset \(batch \d+.*1 such values"):
        DenseClassifier(**OPTIONS).fit_stream(loader_of(dataset, folds=None))


def test_a_loss_that_is_not_finite_names_the_batch(dataset: Dataset) -> None:
    model = DenseClassifier(**OPTIONS, learning_rate=1e30, optimiser="sgd", batch_norm=False)
    with pytest.raises(ModelError, match=r"the loss is (nan|inf) in batch \d+ of \d+, epoch 1.*\d of '[abc]', "):
        model.fit_stream(loader_of(dataset))


def test_a_loss_that_is_not_finite_names_the_most_extreme_input_and_weight(tmp_path: Path) -> None:
    """Finite as it is, a square of it is not."""
    b = np.random.default_rng(2).normal(size=500).astype(np.float32)
    b[321] = 1e25
    dataset = small_jets(tmp_path, 500, b=b)
    weight = np.where(np.arange(500) == 321, 9.0, 1.0)
    one_batch = loader_of(dataset, folds=None, batch_size=500, weight=weight)
    model = DenseClassifier(**{**OPTIONS, "optimiser": "sgd"}, learning_rate=1e30, batch_norm=False)
    with pytest.raises(
        ModelError, match=r"1e\+25 of 'b', 22\.4 times its root mean square, and a weight of 8\.86 times"
    ):
        model.fit_stream(one_batch)


def test_weights_and_batch_sizes_that_cannot_be_meant(dataset: Dataset) -> None:
    with pytest.raises(WeightError, match="a positive sum of weights in class 1"):
        DenseClassifier(**OPTIONS).fit_stream(loader_of(dataset, weight=np.where(dataset.y == 1, -1.0, 1.0)))
    with pytest.raises(ConfigError, match="batch_size is 7, but the loader's is 100"):
        DenseClassifier(**OPTIONS, batch_size=7).fit_stream(loader_of(dataset))
    with pytest.raises(ConfigError, match="the loader is for rank 1 of 2, this process is 0 of 1"):
        DenseClassifier(**OPTIONS).fit_stream(loader_of(dataset, rank=1, world_size=2))
