"""Trees on a grid of integers have the very bits of the trees one event at a time; large tables are judged with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fivesigma.core.errors import ParityError
from fivesigma.deploy import IntegerTable, TrainedModel, export, fast_answer, integer_target
from fivesigma.deploy.integer_table import AddressSpace, IntegerField
from fivesigma.deploy.tree_ensemble import ensemble_on_inputs
from fivesigma.deploy.tree_grid import TreeGrid, integers_in_order, tree_grid
from fivesigma.trees import BoostedTreesRegressor

INPUTS = ("a", "b", "c")
FIELDS = (
    IntegerField("c", 3, values=6, step=0.25, offset=-0.5),
    IntegerField("a", 4, signed=True),
    IntegerField("b", 5, signed=True, values=27, step=0.5),
)
ORDER = [INPUTS.index(field.name) for field in FIELDS]


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    rng = np.random.default_rng(1)
    X = np.stack(
        [rng.integers(-8, 8, 3000), rng.integers(-13, 14, 3000) / 2, rng.integers(0, 6, 3000) / 4 - 0.5], axis=1
    )
    y = np.abs(X[:, 0]) + np.sin(X[:, 1]) * X[:, 2] + rng.normal(0, 0.1, 3000)
    trees = BoostedTreesRegressor(trees=30, learning_rate=0.2, min_events_in_leaf=5).fit(X, y)
    return TrainedModel("toy", trees, INPUTS, recorded=X)


@pytest.mark.parametrize("packing", ["concatenated", "packed"])
def test_the_grid_has_the_bits_of_the_library(model: TrainedModel, packing: Any) -> None:
    space = AddressSpace(FIELDS, packing)
    integers = space.integers(np.arange(space.addresses, dtype=np.int64))
    values = np.empty(integers.shape)
    values[:, ORDER] = space.values(integers)
    grid = tree_grid(model, space, ORDER)
    assert grid is not None
    np.testing.assert_array_equal(grid(0, space.addresses), model.probability(values))
    np.testing.assert_array_equal(grid(0, space.addresses), ensemble_on_inputs(model).score(values))
    np.testing.assert_array_equal(grid(77, 200), model.probability(values[77:200]))  # not at a row's begin
    in_order = integers_in_order(space, ORDER, 77, 200)
    np.testing.assert_array_equal(in_order[:, ORDER], integers[77:200])


def test_falling_steps_and_other_learners_have_no_grid(model: TrainedModel) -> None:
    falling = (IntegerField("c", 3, step=-0.25), *FIELDS[1:])
    assert tree_grid(model, AddressSpace(falling), ORDER) is None
    assert tree_grid(TrainedModel("other", object(), INPUTS), AddressSpace(FIELDS), ORDER) is None


def words() -> dict[str, dict[str, Any]]:
    return {field.name: {k: v for k, v in asdict(field).items() if k != "name"} for field in FIELDS}


def test_a_large_table_is_compared_with_the_grid_and_some_of_it_with_the_library(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_answer, "EVERY_CELL", 1 << 8)
    artifact = export(model, IntegerTable(words(), limits=(-2.0, 10.0)), tmp_path / "table")
    proof = artifact.manifest["proof"]
    assert (proof["cells_compared"], proof["cells_compared_with_the_library"]) == (1 << 12, 1 << 8)


def test_a_grid_that_is_not_the_model_is_refused(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(TreeGrid):
        def __call__(self, begin: int, end: int) -> Any:
            return super().__call__(begin, end) + 0.3

    monkeypatch.setattr(integer_target, "tree_grid", lambda m, space, order: Wrong(ensemble_on_inputs(m), space, order))
    with pytest.raises(ParityError, match=r"address 0 holds|not the model"):
        export(model, IntegerTable(words(), limits=(-2.0, 10.0)), tmp_path / "a")
    monkeypatch.setattr(fast_answer, "EVERY_CELL", 1 << 8)
    with pytest.raises(ParityError, match=r"on the grid differ from the model by 0.3|not the model"):
        export(model, IntegerTable(words(), limits=(-2.0, 10.0)), tmp_path / "b")
    assert not (tmp_path / "a").exists()
