"""Threads give what one thread gives: every outcome once, in order, no more begun than memory is meant for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import uproot
from tests.deploy.models import INPUTS, boosted, toy_events

from fivesigma.core.engine import Place, Task
from fivesigma.core.errors import ConfigError, DatasetError, MissingBranchError
from fivesigma.deploy import CTrees, export
from fivesigma.predict import Threads, predict_study, score_files


@dataclass(frozen=True)
class Square(Task[int]):
    number: int
    begun: ClassVar[list[int]] = []
    barrier: threading.Barrier | None = field(default=None, compare=False)

    @property
    def place(self) -> Place:
        return Place(f"number {self.number}")

    def run(self) -> int:
        if self.barrier is not None:
            self.barrier.wait(timeout=20)
        Square.begun.append(self.number)
        if self.number == 13:
            raise DatasetError("thirteen")
        return self.number**2


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_outcomes_come_once_and_in_order_and_few_are_begun(threads: int) -> None:
    Square.begun.clear()
    outcomes = Threads(threads).run(Square(i) for i in range(10))
    assert next(outcomes).result() == 0
    assert len(Square.begun) <= threads + 1
    assert [outcome.result() for outcome in outcomes] == [i**2 for i in range(1, 10)]


def test_two_threads_work_at_the_same_time() -> None:
    barrier = threading.Barrier(2)  # nobody passes it alone
    assert [o.result() for o in Threads(2).run(Square(i, barrier) for i in range(4))] == [0, 1, 4, 9]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_is_an_outcome_and_ends_nothing(threads: int) -> None:
    outcomes = list(Threads(threads).run(Square(i) for i in (12, 13, 14)))
    assert [outcome.value for outcome in outcomes] == [144, None, 196]
    with pytest.raises(DatasetError, match="thirteen"):
        outcomes[1].result()


def test_no_thread_is_too_few() -> None:
    with pytest.raises(ConfigError, match="at least one thread, got 0"):
        Threads(0)


def written(path: Path, seed: int, **more: Any) -> dict[str, Any]:
    columns = {**toy_events(3_000, seed)[0], "event_number": np.arange(3_000) + 10_000 * seed, **more}
    with uproot.recreate(path) as file:
        file.mktree("events", {name: column.dtype for name, column in columns.items()}).extend(columns)
    return columns


def test_scores_are_those_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "STEP", 700)
    model = boosted()
    export(model, CTrees(), tmp_path / "toy")
    columns = [written(tmp_path / f"{i}.root", i) for i in (1, 2)]
    predict_study(
        tmp_path / "toy", [tmp_path / "1.root", tmp_path / "2.root"], tmp_path / "s.root",
        tree="events", branches=["event_number"], engine=Threads(2),
    )  # fmt: skip
    found = uproot.open(tmp_path / "s.root")["scores"].arrays(library="np")
    np.testing.assert_array_equal(found["event_number"], np.concatenate([c["event_number"] for c in columns]))
    values = np.concatenate([np.stack([c[name] for name in INPUTS], axis=1) for c in columns])
    name = next(name for name in found if name != "event_number")
    np.testing.assert_allclose(found[name], model.probability(values), rtol=0, atol=1e-15)


def test_what_fails_in_a_thread_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "STEP", 700)
    export(boosted(), CTrees(), tmp_path / "toy")
    written(tmp_path / "1.root", 1)
    with pytest.raises(MissingBranchError, match="no_such"):
        predict_study(
            tmp_path / "toy", [tmp_path / "1.root"], tmp_path / "s.root",
            tree="events", branches=["no_such"], engine=Threads(2),
        )  # fmt: skip
    assert not list(tmp_path.glob("*s.root*"))
