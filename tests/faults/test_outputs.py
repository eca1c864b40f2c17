"""Faults 21 and 23 of whatever else is written: the old file or the complete new one, and words where there is no room."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from tests.dataset.conftest import jets, write_jets  # noqa: F401
from tests.dataset.test_convert import changed
from tests.faults.conversion_killed import arm, forked

from fivesigma.core.errors import OutputError
from fivesigma.dataset import Conversion, convert
from fivesigma.dataset.exchange import read_exchange, write_exchange
from fivesigma.learn.checkpoint import FILE_NAME, TrainingState, read_checkpoint, write_checkpoint
from fivesigma.predict.friend_file import TREE, friend_file
from fivesigma.read import read_manifest, write_manifest

SUFFIXES = {
    "parquet": ".parquet",
    "hdf5": ".h5",
    "lmdb": ".lmdb",
    "numpy": ".npz",
    "scores": ".root",
    "manifest": ".json",
    "checkpoint": "",
}


@dataclass(frozen=True)
class Output:
    """How a kind of file is written in an old and a new version, and which of them one is: its number of rows."""

    path: Path
    write: Callable[[int], object]
    read: Callable[[], int]


@pytest.fixture(name="output", params=SUFFIXES)
def _output(request: pytest.FixtureRequest, jets: Conversion, tmp_path: Path) -> Output:  # noqa: F811
    kind: str = request.param
    path = tmp_path / f"out{SUFFIXES[kind]}"
    if kind == "scores":
        return Output(path, lambda n: write_scores(path, n), lambda: int(uproot.open(path)[TREE].num_entries))
    if kind == "manifest":
        files = jets.samples[0].files
        return Output(path, lambda n: write_manifest(files[:n], path), lambda: len(read_manifest(path).files))
    if kind == "checkpoint":
        return Output(path / FILE_NAME, lambda n: write_state(path, n), lambda: read_state(path))
    datasets = {
        n: convert(changed(jets, selection={"mass": f"jet_mass > {70 + n}"}), tmp_path / f"{n}") for n in (1, 2)
    }
    numbers = {len(dataset): n for n, dataset in datasets.items()}

    def read() -> int:
        return numbers[sum(len(part["label"]) for part in read_exchange(path))]

    return Output(path, lambda n: write_exchange(datasets[n], path), read)


def write_scores(path: Path, n: int) -> None:
    with friend_file(path, {}) as file:
        file.extend({"score": np.zeros(n)})


def state(epoch: int = 0) -> TrainingState:
    network = torch.nn.Linear(30, 30)
    return TrainingState(network, torch.optim.Adam(network.parameters()), torch.Generator(), epoch=epoch)


def write_state(folder: Path, epoch: int) -> None:
    write_checkpoint(folder, state(epoch), "fingerprint")


def read_state(folder: Path) -> int:
    found = state()
    assert read_checkpoint(folder, found, "fingerprint")
    return found.epoch


@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_kill_leaves_the_old_or_the_new_file(output: Output, operation: str) -> None:
    output.write(1)
    for number in range(1, 20):

        def die(number: int = number) -> None:
            arm(operation, number)
            output.write(2)

        status = forked(die)
        assert output.read() in (1, 2)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        output.write(1)
        assert output.read() == 1
    assert number > 1
    assert output.read() == 2


def test_no_room_is_said_and_leaves_what_was_there(output: Output) -> None:
    """A quota: the system writes no more than so many bytes into a file."""
    output.write(1)
    before = output.path.read_bytes()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        with pytest.raises(OutputError, match="cannot write"):
            output.write(2)

    assert forked(limited) == 0
    assert output.path.read_bytes() == before
    assert output.read() == 1
    assert not [path for path in output.path.parent.iterdir() if path.name.endswith(".partial")]
