"""A model that says `stream`: what it learns, what it refuses, and how much memory it takes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.learn.jets import FLAT, small_jets

from fivesigma.core.errors import ConfigError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import BatchLoader, Conversion, Dataset, Sample, convert, loader, train_validation_test
from fivesigma.learn import Recipe, cross_validate, load_fold_model, streaming, training_events
from fivesigma.learn.cross_validation import fit_recipe
from fivesigma.simulate.root_file import write_root

N = 6_000
OPTIONS = {"architecture": {"nodes": [16]}, "epochs": 4, "batch_size": 100, "precision": "float32"}
RECIPE = Recipe("streamed", "dense", OPTIONS, "tabular", {"inputs": FLAT}, weight_policy="keep", stream=True)


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_jets(tmp_path_factory.mktemp("jets"), N)


def test_the_same_seed_gives_the_same_scores_and_memory_the_same_physics(dataset: Dataset, tmp_path: Path) -> None:
    in_memory = replace(RECIPE, name="in-memory", stream=False)
    first = cross_validate(dataset, dataset.weight, [RECIPE, in_memory], tmp_path, n_folds=dataset.n_folds, workers=1)
    train, validation, _ = train_validation_test(dataset.fold, 2, dataset.n_folds)
    for seed, same in ((2002, False), (1002, True)):  # 1,000 times the recipe's, and the fold
        again = fit_recipe(RECIPE, dataset, dataset.weight, train, validation, more_options={"seed": seed})
        assert np.array_equal(again.score_all(N)[0], first["streamed"].by_fold[2]) is same

    ours, theirs = (scores.out_of_fold(dataset.fold) for scores in first.values())
    auc = [roc_auc_score(dataset.y, score) for score in (ours, theirs)]
    assert min(auc) > 0.8
    spread = np.std([paired_difference(dataset.y, ours, theirs, seed) for seed in range(40)], ddof=1)
    assert spread < 0.01
    assert abs(auc[0] - auc[1]) < 4 * spread

    scales = [scales_of(tmp_path / name) for name in first]
    for ours_, theirs_ in zip(*scales, strict=True):
        assert ours_["mean"] == pytest.approx(theirs_["mean"], rel=1e-9)  # of all events, as they are few
        assert ours_["width"] == pytest.approx(theirs_["width"], rel=1e-9)


def scales_of(folder: Path) -> list[dict[str, Any]]:
    """How a fold's features were fitted."""
    _, features, _ = load_fold_model(folder, 2)
    assert features is not None
    return list(features.to_json()["scales"].values())


def paired_difference(y: NDArray[Any], a: NDArray[Any], b: NDArray[Any], seed: int) -> float:
    """Of the AUC, of events drawn anew."""
    drawn = np.random.default_rng(seed).integers(0, len(y), len(y))
    return float(roc_auc_score(y[drawn], a[drawn]) - roc_auc_score(y[drawn], b[drawn]))


@pytest.mark.parametrize("policy", ["keep", "absolute-rescaled", "drop-negative"])
def test_events_weights_and_scores_are_those_that_were_asked_for(
    dataset: Dataset, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one batch an epoch nothing is left to the order: all is that of memory, but for the rounding of sums."""
    plain = {"dropout": 0.0, "batch_norm": False, "batch_size": N, "patience": 0}
    recipe = replace(RECIPE, options={**OPTIONS, **plain}, weight_policy=policy, train_on="a > -1")
    train, validation = dataset.fold < 3, dataset.fold == 3
    scores = []
    for stream in (True, False):
        found = fit_recipe(replace(recipe, stream=stream), dataset, dataset.weight, train, validation)
        scores.append(found.score_all(N)[0])
        np.testing.assert_array_equal(found.score(validation), scores[-1][validation])
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-6)


def test_rows_of_a_stored_column_are_those_of_the_column(dataset: Dataset) -> None:
    """Across shards, flat and jagged, and none at all."""
    for name in ("a", "pt"):
        whole, stored = dataset.column(name), dataset.stored(name)
        assert len(stored) == N
        mask = dataset.fold == 1
        for rows in (slice(0, N), slice(690, 1410), slice(700, 700), slice(5_990, 9_000), mask, np.zeros(N, bool)):
            expected, got = whole[rows], stored[rows]
            assert got.dtype == expected.dtype
            if isinstance(expected, Jagged):
                assert isinstance(got, Jagged)
                np.testing.assert_array_equal(got.offsets, expected.offsets)
                expected, got = expected.values, got.values
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"estimator": "boosted-trees"},
            r"models.streamed.stream: the estimator 'boosted-trees' needs all events in memory: leave `stream` out.*dense",
        ),
        ({"scores": ("mass",)}, "models.streamed: `stream` does not go with `scores`: leave one of them out"),
        ({"nuisances": ("a",)}, "does not go with `nuisances`"),
        ({"weight_policy": "pair-cancel"}, "compares all events with one another.*choose another policy"),
    ],
)
def test_what_needs_all_events_says_so_and_what_to_do(dataset: Dataset, changed: Any, message: str) -> None:
    recipe = replace(RECIPE, **changed)
    with pytest.raises(ConfigError, match=message):
        fit_recipe(recipe, dataset, dataset.weight, dataset.fold < 3, dataset.fold == 3)


def test_memory_does_not_grow_with_the_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 columns of float32: 120 bytes an event, of which a training that streams holds those of its buffers."""
    for module in (loader, streaming, training_events):
        for name in ("BUFFER_ROWS", "FEATURE_EVENTS", "SCALE_EVENTS"):
            monkeypatch.setattr(module, name, 2_048, raising=False)
    # With threads, how many buffers are there at the same time depends on who is faster.
    monkeypatch.setattr(streaming, "BatchLoader", partial(BatchLoader, prefetch=0))
    names, sizes = tuple(f"x{i}" for i in range(30)), (5_000, 60_000, 120_000)
    datasets = [write_wide(tmp_path / f"{n}", names, n) for n in sizes]
    options = {**OPTIONS, "epochs": 1, "batch_size": 2_000}
    grown = {}
    for stream in (True, False):
        recipe = replace(RECIPE, feature_options={"inputs": names}, options=options, stream=stream)
        _, *peaks = [peak_of(recipe, dataset.path) for dataset in datasets]  # the first also loads and compiles
        grown[stream] = (peaks[1] - peaks[0]) / (sizes[2] - sizes[1])  # bytes an event
    assert grown[False] > 2 * 120  # the columns themselves, and what they are made into
    assert grown[True] < 60  # labels, weights and folds, of which some are there twice


def peak_of(recipe: Recipe, folder: Path) -> int:
    """Bytes that fitting and scoring have allocated at most."""
    tracemalloc.start()
    try:
        dataset = Dataset.open(folder, verify=False)
        found = fit_recipe(recipe, dataset, dataset.weight, dataset.fold < 3, dataset.fold == 3)
        found.score_all(len(dataset))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def write_wide(folder: Path, names: tuple[str, ...], n: int) -> Dataset:
    rng = np.random.default_rng(n)
    label = rng.integers(0, 2, n).astype(np.int8)
    columns: dict[str, Any] = {"event": np.arange(n), "label": label}
    columns |= {name: rng.normal(0.1 * label, 1.0).astype(np.float32) for name in names}
    folder.mkdir()
    write_root(folder / "a.root", "t", [columns])
    sample = Sample(name="a", files=(str(folder / "a.root"),))
    conversion = Conversion(samples=(sample,), columns=names, label="label", identity=("event",), step=5_000)
    return convert(conversion, folder / "dataset")
