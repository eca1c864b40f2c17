"""Answers of a model for many cells: by its trees in C where it has trees, and a judge by its own library."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import ParityError
from fivesigma.deploy.c_target import CompiledTrees
from fivesigma.deploy.c_trees import header
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TREE_LEARNERS, ensemble_on_inputs

EVERY_CELL = 1 << 22
"""Up to so many cells all are compared with the model's own library; of larger tables, this many, evenly spread, and all of
them with the model's trees in C, of which the very same cells are compared with the library bit for bit."""
NEAR = 1e-12


def fast_answer(model: TrainedModel) -> Callable[[Float64], Float64]:
    """The model as a function of values (cell, input), ten times faster for trees than their library."""
    if getattr(model.estimator, "estimator_name", "") not in TREE_LEARNERS:
        return model.probability
    ensemble = ensemble_on_inputs(model)
    with tempfile.TemporaryDirectory(prefix="fivesigma-") as made:
        (Path(made) / "trees.h").write_text(header(model, ensemble, "trees", "auto"), encoding="utf-8")
        compiled = CompiledTrees(Path(made), "trees", "-std=c99", "-O3", "-march=native")
    return lambda values: ensemble.probability(compiled.scores(values))


def table_answer(model: TrainedModel, cells: int) -> Callable[[Float64], Float64]:
    """Who fills a table of so many cells: the model's own library, or for large tables its trees in C."""
    return model.probability if cells <= EVERY_CELL else fast_answer(model)


class Judge:
    """What each cell must hold; counts by whom it was said."""

    def __init__(self, model: TrainedModel, cells: int) -> None:
        self._model, self._cells = model, cells
        self._answer = table_answer(model, cells)
        self._stride = -(-cells // EVERY_CELL)
        self._compared, self._by_library = 0, 0

    def __call__(self, values: Float64) -> Float64:
        """Of shape (cell,).

        Raises
        ------
        ParityError
            if the trees in C differ from the library.
        """
        answer = self._answer(values)
        if self.by_library:
            self._compared += len(values)
            self._by_library += len(values)
            return answer
        return self.confirm(answer, values[:: self._stride], "in C")

    @property
    def by_library(self) -> bool:
        """Whether the model's own library answers for every cell."""
        return self._cells <= EVERY_CELL

    @property
    def stride(self) -> int:
        """Every how many cells the library is asked."""
        return self._stride

    def confirm(self, answer: Float64, some: Float64, where: str) -> Float64:
        """Answers of trees evaluated elsewhere, (cell,), if the library agrees for the values of every `stride`-th.

        Raises
        ------
        ParityError
            if it does not.
        """
        exact = self._model.probability(some)
        worst = float(np.abs(exact - answer[:: self._stride]).max())
        if not worst <= NEAR * max(1.0, float(np.abs(exact).max())):
            raise ParityError(f"the trees {where} differ from the model by {worst:.3g}")
        self._compared += len(answer)
        self._by_library += len(some)
        return answer

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"cells_compared": self._compared, "cells_compared_with_the_library": self._by_library}
