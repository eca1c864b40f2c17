"""Dask workers on loopback: killed while they work, out of memory, late; every task still has one outcome."""

# ruff: noqa: F811  fixtures of another folder are imported by name
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.engine_tasks import Dying, Failing, Hungry, Numbered, Stalling, WrappedMemoryError
from tests.dataset.conftest import jets, write_jets  # noqa: F401
from tests.dataset.test_convert import folder_bytes

from fivesigma.core.dask_cluster import DaskCluster
from fivesigma.core.errors import ConfigError, FileFormatError, WorkerError
from fivesigma.dataset import Conversion, convert


@pytest.fixture(name="cluster", scope="module")
def _cluster() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.core.dask_workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.wait(60)


@pytest.fixture(name="address", scope="module")
def _address(cluster: subprocess.Popen[str]) -> str:
    assert cluster.stdout is not None
    return cluster.stdout.readline().strip()


def kill_a_worker(cluster: subprocess.Popen[str]) -> None:
    """SIGKILL to one of the worker processes."""
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    cluster.stdin.write("\n")
    cluster.stdin.flush()
    os.kill(int(cluster.stdout.readline().split()[0]), signal.SIGKILL)


def test_one_outcome_each(address: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    tasks = [
        Numbered(1, log),
        Failing(2, log),
        WrappedMemoryError(3, log),
        Hungry(4, log, megabytes=1 << 30, most_pieces=16),
        Dying(5, log, deaths=1, signal=signal.SIGKILL),
        Numbered(6, log),
    ]
    found = {outcome.task: outcome for outcome in DaskCluster(address).run(tasks)}
    assert [found[task].value for task in tasks] == [1, None, None, None, 25, 36]
    with pytest.raises(FileFormatError, match=r"(?s)damaged.*copy it again") as caught:
        found[tasks[1]].result()
    assert caught.value.branch == "pt"
    for i in (2, 3):
        with pytest.raises(WorkerError, match="not enough memory, not even in the smallest pieces"):
            found[tasks[i]].result()


def test_a_late_worker_is_replaced(address: str, tmp_path: Path) -> None:
    tasks = [Stalling(1, tmp_path / "log", stalls=1), Numbered(2, tmp_path / "log")]
    assert {outcome.value for outcome in DaskCluster(address, deadline_s=3).run(tasks)} == {1, 4}


def test_a_fault_of_ours_is_raised(address: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        list(DaskCluster(address).run([Failing(1, tmp_path / "log", bug=True)]))


def test_conversion_with_a_worker_killed_halfway(
    jets: Conversion,
    cluster: subprocess.Popen[str],
    address: str,
    tmp_path: Path,
) -> None:
    convert(jets, tmp_path / "whole")

    converted = threading.Event()

    def kill() -> None:
        while not list(tmp_path.glob(".out.partial/shards/*.json")):
            assert not converted.wait(0.01), "the conversion was over before a worker could be killed"
        kill_a_worker(cluster)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        convert(jets.model_copy(update={"step": 20}), tmp_path / "out", engine=DaskCluster(address))
    finally:
        converted.set()
        killer.join()
    convert(jets.model_copy(update={"step": 20}), tmp_path / "expected")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "expected")


def test_no_scheduler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivesigma.core.dask_cluster._CONNECT_S", 1)
    with pytest.raises(ConfigError, match=r"no Dask scheduler at 'tcp://127\.0\.0\.1:1'"):
        list(DaskCluster("tcp://127.0.0.1:1").run([]))


def test_a_scheduler_without_workers_is_not_waited_for_without_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fivesigma.core.dask_cluster._LOOK_S", 0.05)
    command = [sys.executable, "-m", "tests.core.dask_workers", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as scheduler:
        assert scheduler.stdout is not None
        assert scheduler.stdin is not None
        address = scheduler.stdout.readline().strip()
        with pytest.raises(ConfigError, match=r"has had no worker for 0\.2 s; start workers"):
            list(DaskCluster(address, workers_within_s=0.2).run([Numbered(1, tmp_path / "log")]))
        scheduler.stdin.close()
