"""Batches of a dataset: every event once, the stated randomness, the same batches again, in bounded memory."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError, DatasetError, ResumeError, WeightError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import BatchLoader, Collection, Conversion, Dataset, RootSource, Sample, convert
from fivesigma.dataset.batch import Batch
from fivesigma.dataset.block_shuffle import EpochOrder
from fivesigma.dataset.padding import Padded, Ragged, Runs, padded, padded_by_hand

N = 3_000


@pytest.fixture(scope="module", name="conversion")
def _conversion(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """Jets with up to 11 constituents, some with none, in two files and shards of 1,000 entries; signed weights."""
    folder = tmp_path_factory.mktemp("jets")
    rng = np.random.default_rng(1)
    for name, n, first in (("a.root", 2_000, 0), ("b.root", 1_000, 2_000)):
        counts = rng.integers(0, 12, n)
        columns = {
            "event": np.arange(first, first + n),
            "label": rng.integers(0, 2, n).astype(np.int8),
            "w": rng.normal(1.0, 0.7, n),
            "mass": rng.random(n).astype(np.float32),
            "n": counts.astype(np.int32),
            **{x: ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts) for x in ("pt", "eta", "phi")},
            "id": ak.unflatten(rng.integers(-300, 300, int(counts.sum())), counts),
        }
        types = {
            k: f"var * {v.type.content.content}" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()
        }
        with uproot.recreate(folder / name) as file:
            file.mktree("jets", types).extend(columns)
    return Conversion(
        samples=(Sample(name="jets", files=(str(folder / "a.root"), str(folder / "b.root"))),),
        columns=("mass", "n", "pt", "eta", "phi", "id"),
        selection={"mass": "mass > 0.05"},
        label="label",
        weight="where(label == 1, 3.0, 1.0) * w",
        identity=("event",),
        step=1_000,
    )


@pytest.fixture(scope="module", name="dataset")
def _dataset(conversion: Conversion, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return convert(conversion, tmp_path_factory.mktemp("out") / "dataset")


def loader_of(dataset: Any, **options: Any) -> BatchLoader:
    asked = {
        "flat": ("mass", "n"),
        "collections": {"padded": Collection(("pt", "eta", "phi"), 8), "ragged": Collection(("phi", "pt"))},
        "columns": ("id", "mass"),
    }
    return BatchLoader(dataset, **{"batch_size": 256, "block_rows": 64, "blocks_in_buffer": 8, **asked, **options})


def rows_of(batches: Any) -> list[int]:
    return [int(row) for batch in batches for row in batch.row]


def assert_equal(first: Batch, second: Batch) -> None:
    for name in ("number", "size"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("flat", "y", "weight", "fold", "row"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for ours, theirs in [
        *((first.collections[k], second.collections[k]) for k in first.collections),
        *((first.columns[k], second.columns[k]) for k in first.columns),
    ]:
        for part in ("values", "offsets", "mask"):
            if hasattr(ours, part):
                np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_every_event_comes_once_with_what_the_dataset_has(dataset: Dataset, prefetch: int) -> None:
    loader = loader_of(dataset, prefetch=prefetch)
    batches = list(loader.batches(epoch=0))
    assert sorted(rows_of(batches)) == list(range(len(dataset)))
    assert len(batches) == loader.n_batches == -(-len(dataset) // 256)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    for batch in batches:
        row = batch.row
        np.testing.assert_array_equal(batch.y, dataset.y[row])
        np.testing.assert_array_equal(batch.weight, dataset.weight[row])
        np.testing.assert_array_equal(batch.fold, dataset.fold[row])
        flat = np.stack([np.asarray(dataset.column(name))[row] for name in ("mass", "n")], axis=1)
        np.testing.assert_array_equal(batch.flat, flat.astype(np.float32))
        pt, eta, phi = (jagged(dataset, name)[row] for name in ("pt", "eta", "phi"))
        whole, cut = batch.collections["ragged"], batch.collections["padded"]
        assert isinstance(whole, Ragged)
        assert isinstance(cut, Padded)
        np.testing.assert_array_equal(whole.values, np.stack([phi.values, pt.values], axis=1))
        np.testing.assert_array_equal(whole.offsets, phi.offsets)
        runs = Runs(np.stack([pt.values, eta.values, phi.values], axis=1), pt.offsets[:-1], pt.counts)
        by_hand = padded_by_hand(runs, np.arange(len(row)), 8)
        np.testing.assert_array_equal(cut.values, by_hand.values)
        np.testing.assert_array_equal(cut.mask, by_hand.mask)
        assert (cut.truncated, cut.lost) == (by_hand.truncated, by_hand.lost)
        stored = batch.columns["id"]
        assert isinstance(stored, Jagged)
        assert stored.dtype == np.int64
        np.testing.assert_array_equal(stored.values, jagged(dataset, "id")[row].values)
        np.testing.assert_array_equal(batch.columns["mass"], dataset.column("mass")[row])


def jagged(dataset: Dataset, name: str) -> Jagged:
    column = dataset.column(name)
    assert isinstance(column, Jagged)
    return column


def test_what_padding_leaves_out_is_counted(dataset: Dataset) -> None:
    loader = loader_of(dataset)
    assert len(list(loader)) == loader.n_batches
    counts = jagged(dataset, "pt").counts
    found = loader.truncation["padded"]
    assert (found.events, found.truncated) == (len(dataset), int((counts > 8).sum()))
    assert found.lost == int(np.maximum(counts - 8, 0).sum())
    assert str(found).endswith("constituents left out")


def test_prefetch_changes_nothing_and_seeds_and_epochs_do(dataset: Dataset) -> None:
    for first, second in zip(
        loader_of(dataset, prefetch=0).batches(3), loader_of(dataset, prefetch=2).batches(3), strict=True
    ):
        assert_equal(first, second)
    orders = {tuple(rows_of(loader_of(dataset, seed=seed).batches(e))) for seed in (1, 2) for e in (0, 1)}
    assert len(orders) == 4


@pytest.mark.parametrize("stop", [0, 1, 5, 10])
def test_a_loader_resumes_in_mid_epoch_with_the_same_batches(dataset: Dataset, stop: int) -> None:
    whole = loader_of(dataset, prefetch=0)
    expected = [batch for _ in range(2) for batch in whole]
    assert whole.state()["epoch"] == 2
    killed = loader_of(dataset)
    done = list(islice(killed, stop)) if stop else []
    resumed = loader_of(dataset, prefetch=2)
    resumed.resume(killed.state())
    rest = [batch for _ in range(2) for batch in resumed]
    assert len(done) + len(rest) == len(expected)
    for ours, theirs in zip([*done, *rest], expected, strict=True):
        assert_equal(ours, theirs)
    with pytest.raises(ResumeError, match="other events or options"):
        loader_of(dataset, seed=2).resume(killed.state())


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_each_batch_and_read_only_their_own_blocks(dataset: Dataset, world_size: int) -> None:
    alone = list(loader_of(dataset).batches(1))
    read: list[set[int]] = []
    parts = []
    for rank in range(world_size):
        loader = loader_of(dataset, rank=rank, world_size=world_size)
        blocks: set[int] = set()
        original = loader.source.read
        loader.source.read = lambda b, g, p, o=original, s=blocks: (s.add(b), o(b, g, p))[1]  # type: ignore[method-assign, misc]
        parts.append(list(loader.batches(1)))
        read.append(blocks)
    assert not set.intersection(*read)
    assert len(set.union(*read)) == len(loader.source.block_rows)
    for i, batch in enumerate(alone):
        mine = [part[i] for part in parts]
        assert {part.size for part in mine} == {len(batch)}
        assert sorted(rows_of(mine)) == sorted(batch.row.tolist())
    sizes = np.array([[len(batch) for batch in part] for part in parts])
    assert np.abs(sizes - sizes.sum(axis=0) / world_size).max() < 6 * np.sqrt(256 / world_size)


def test_folds_masks_and_weights(dataset: Dataset) -> None:
    mask = np.arange(len(dataset)) % 3 != 0
    weight = np.linspace(-1.0, 2.0, len(dataset))
    loader = loader_of(dataset, folds=(0, 2), mask=mask, weight=weight)
    expected = np.flatnonzero(mask & np.isin(dataset.fold, (0, 2)))
    batches = list(loader)
    assert sorted(rows_of(batches)) == expected.tolist()
    for batch in batches:
        np.testing.assert_array_equal(batch.weight, weight[batch.row])
        np.testing.assert_array_equal(batch.columns["mass"], dataset.column("mass")[batch.row])
    assert loader.chosen.mean_absolute_weight == pytest.approx(np.abs(weight[expected]).mean())


def test_balance_gives_both_classes_the_same_signed_sum(dataset: Dataset) -> None:
    batches = list(loader_of(dataset, balance=True).batches(0))
    y, weight = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("y", "weight"))
    assert (weight < 0).any()
    assert weight[y == 0].sum() == pytest.approx(weight[y == 1].sum())
    assert weight.sum() == pytest.approx(dataset.weight.sum())
    with pytest.raises(WeightError, match="cannot be balanced: their sums of weights are"):
        loader_of(dataset, balance=True, weight=np.where(dataset.y == 1, -1.0, 1.0))


def test_two_events_of_a_batch_share_a_block_as_often_as_is_stated(dataset: Dataset) -> None:
    b, m = 50, 6
    counts = np.full(60, b)
    same = pairs = 0
    for epoch in range(40):
        order = EpochOrder.of(counts, m, 100, 7, epoch, True)
        for batch in range(0, order.n_batches, 3):
            blocks = np.concatenate(
                [order.blocks_of(w)[order.permutation(w)[start:stop] // b] for w, start, stop in order.pieces(batch)]
            )
            _, found = np.unique(blocks, return_counts=True)
            same += int((found * (found - 1)).sum())
            pairs += len(blocks) * (len(blocks) - 1)
    stated = (b - 1) / (m * b - 1)
    assert same / pairs == pytest.approx(stated, rel=0.02)  # a full shuffle: (b − 1) / (60·b − 1), a tenth of it


def test_batches_cover_an_epoch_without_gap_or_overlap() -> None:
    counts = np.array([5, 0, 17, 3, 0, 40, 1])
    order = EpochOrder.of(counts, 2, 13, 1, 0, True)
    assert set(order.blocks.tolist()) == {0, 2, 3, 5, 6}
    covered = [
        (int(order.window_edges[w]) + start, int(order.window_edges[w]) + stop)
        for i in range(order.n_batches)
        for w, start, stop in order.pieces(i)
    ]
    assert covered[0][0] == 0
    assert covered[-1][1] == counts.sum()
    assert all(before[1] == after[0] for before, after in pairwise(covered))


def test_without_shuffling_events_come_in_the_order_of_rows(dataset: Dataset) -> None:
    assert rows_of(loader_of(dataset, shuffle=False)) == list(range(len(dataset)))


def test_memory_is_that_of_the_buffers_whatever_the_size_of_the_dataset(dataset: Dataset) -> None:
    loader = loader_of(dataset, prefetch=1)  # a buffer has as many rows as two batches
    for _ in range(3):
        assert sum(1 for _ in loader) == loader.n_batches
    assert len(loader._buffers) <= 3 + 1


def test_straight_from_root_gives_the_events_of_the_conversion(conversion: Conversion, dataset: Dataset) -> None:
    source = RootSource(conversion, step=700)
    assert source.schema == dataset.schema
    batches = list(loader_of(source, blocks_in_buffer=2, folds=(1, 3)))
    assert sorted(rows_of(batches)) == np.flatnonzero(np.isin(dataset.fold, (1, 3))).tolist()
    converted = loader_of(dataset, folds=(1, 3), shuffle=False)
    for ours, theirs in zip(loader_of(source, blocks_in_buffer=2, folds=(1, 3), shuffle=False), converted, strict=True):
        assert_equal(ours, theirs)


def test_columns_of_one_collection_are_one_run_of_bytes(dataset: Dataset) -> None:
    arrays = dataset.shards[0].arrays
    places = [arrays[f"column:{name}/values"] for name in ("pt", "eta", "phi")]
    assert [place.stride for place in places] == [3, 3, 3]
    assert [place.offset - places[0].offset for place in places] == [0, 4, 8]
    assert arrays["column:pt/offsets"] == arrays["column:phi/offsets"]
    assert arrays["column:id/values"].stride == 1  # of another type: a block of its own


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flat": ("mas",)}, DatasetError, "unknown column 'mas'; did you mean 'mass'"),
        ({"flat": ("pt",)}, ConfigError, "'pt' is a jagged column, it cannot be one of `flat`"),
        ({"collections": {"c": Collection(("mass",))}}, ConfigError, "'mass' is a flat column"),
        ({"folds": (5,)}, ConfigError, "there is no fold 5: expected 0 to 4"),
        ({"mask": np.zeros(N - 1, bool)}, ConfigError, r"expected a mask of shape"),
        ({"rank": 2, "world_size": 2}, ConfigError, "expected a rank from 0 to 1, got 2 of 2"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    dataset: Dataset, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        loader_of(dataset, **options)


def test_no_events_chosen_and_lengths_below_one(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="no event is chosen"):
        loader_of(dataset, mask=np.zeros(len(dataset), bool))
    with pytest.raises(ConfigError, match="a length of at least 1"):
        Collection(("pt",), 0)


def test_columns_of_different_lengths_are_no_collection(tmp_path: Path) -> None:
    columns = {
        "event": np.arange(20),
        "label": np.arange(20) % 2,
        "a": ak.Array([[1.0] * (i % 3) for i in range(20)]),
        "b": ak.Array([[1.0] * (i % 4) for i in range(20)]),
    }
    types = {k: "var * float64" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    with uproot.recreate(tmp_path / "x.root") as file:
        file.mktree("t", types).extend(columns)
    conversion = Conversion(
        samples=(Sample(name="x", files=(str(tmp_path / "x.root"),)),),
        columns=("a", "b"),
        label="label",
        identity=("event",),
    )
    for source in (convert(conversion, tmp_path / "out"), RootSource(conversion)):
        loader = BatchLoader(source, collections={"c": Collection(("a", "b"), 4)}, prefetch=0)
        with pytest.raises(DatasetError, match="'a' and 'b' are not of one collection: 0 and 3 values in row 3"):
            list(loader)


def test_a_shard_that_is_cut_short_while_it_is_read_is_an_error(conversion: Conversion, tmp_path: Path) -> None:
    dataset = convert(conversion, tmp_path / "out")
    loader = loader_of(dataset)
    last = tmp_path / "out" / "shards" / dataset.shards[-1].name
    last.write_bytes(last.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="ends too early: it was changed after it was opened"):
        list(loader)


@pytest.mark.parametrize("features", [1, 4])
def test_compiled_padding_is_that_by_hand(features: int) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, 200)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    runs = Runs(rng.random((int(counts.sum()), features), dtype=np.float32), starts, counts)
    chosen = rng.integers(0, 200, 300)
    for length in (1, 5, 12):
        ours, expected = padded(runs, chosen, length), padded_by_hand(runs, chosen, length)
        np.testing.assert_array_equal(ours.values, expected.values)
        np.testing.assert_array_equal(ours.mask, expected.mask)
        assert (ours.truncated, ours.lost) == (expected.truncated, expected.lost)
