"""Conversions of remote files: the dataset of the local ones, byte for byte; a stalled server costs what was allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from tests.servers import Request, Server, nginx, web_server, xrootd

from fivesigma.core.errors import RemoteError
from fivesigma.core.processes import Processes
from fivesigma.dataset import Conversion, Dataset, Sample, convert
from fivesigma.read.remote import ENDS
from fivesigma.read.remote_options import RemoteOptions

pytestmark = pytest.mark.servers

QUICK = RemoteOptions(deadline_s=20, retries=1, back_off_s=0.001)
N = 300


def write(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, N)
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        tree = file.mktree("jets", {"event": "int64", "pt": "float32", "track_pt": "var * float32"})
        tracks = ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts)
        tree.extend(
            {"event": np.arange(N) + seed * N, "pt": rng.normal(seed % 2, 1, N).astype(np.float32), "track_pt": tracks}
        )
    path.chmod(0o644)
    return path


def conversion(files: list[str], remote: RemoteOptions = QUICK, max_loss: float | None = None) -> Conversion:
    """Every second file is signal."""
    return Conversion(
        samples=tuple(Sample(name=f"s{i}", files=tuple(files[i::2]), label=i) for i in range(2)),
        tree="jets",
        columns=("pt", "track_pt"),
        identity=("event",),
        step=100,
        remote=remote,
        max_loss=max_loss,
    )


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        running = {"nginx": stack.enter_context(nginx()), "xrootd": stack.enter_context(xrootd())}
        for i in range(2):
            content = write(running["nginx"].folder / f"{i}.root", i).read_bytes()
            (running["xrootd"].folder / f"{i}.root").write_bytes(content)
            (running["xrootd"].folder / f"{i}.root").chmod(0o644)
        yield running


def bytes_of(dataset: Dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (dataset.path / "shards").iterdir()}


def test_the_same_dataset_from_far_away(servers: dict[str, Server], tmp_path: Path) -> None:
    server = servers["nginx"]
    local = convert(conversion([str(server.folder / f"{i}.root") for i in range(2)]), tmp_path / "local")
    for kind, running in servers.items():
        urls = [f"{running.url}{i}.root" for i in range(2)]
        remote = convert(conversion(urls), tmp_path / kind)
        assert bytes_of(remote) == bytes_of(local)
        assert remote.config_hash == local.config_hash, "the same bytes are the same input, wherever they are"
        assert [file.file for file in remote.ledger.files] == urls


def test_in_a_worker_process_with_the_ends_digested(servers: dict[str, Server], tmp_path: Path) -> None:
    """The options, and the version that was scanned, go with the file to whoever reads it."""
    server = servers["xrootd"]
    urls = [f"{server.url}{i}.root" for i in range(2)]
    ends = RemoteOptions(deadline_s=20, retries=1, back_off_s=0.001, digest="ends")
    local = convert(conversion([str(server.folder / f"{i}.root") for i in range(2)]), tmp_path / "local")
    remote = convert(conversion(urls, ends), tmp_path / "remote", engine=Processes(workers=1))
    assert bytes_of(remote) == bytes_of(local)
    assert [file.xxh3[: len(ENDS)] for file in remote.ledger.files] == [ENDS, ENDS], "the ledger says so"


def test_a_stalled_file_is_an_error_or_a_counted_loss(tmp_path: Path) -> None:
    """Fault 10: deadline, retries, then the list of what was left out."""
    impatient = RemoteOptions(deadline_s=0.5, retries=1, back_off_s=0.001)
    with web_server() as server:
        for i in range(6):
            server.files[f"{i}.root"] = write(tmp_path / f"{i}.root", i).read_bytes()

        def stall(request: Request) -> None:
            server.stalled.wait()

        server.rules["4.root"] = stall
        urls = [f"{server.url}{i}.root" for i in range(6)]
        with pytest.raises(RemoteError, match=r"no answer within 0\.5 s \(2 attempts\)\n  file:   http.*4\.root"):
            convert(conversion(urls, impatient), tmp_path / "refused")
        dataset = convert(conversion(urls, impatient, max_loss=0.4), tmp_path / "allowed")
    assert len(dataset) == 5 * N
    (lost,) = dataset.ledger.skipped
    assert (lost.file, lost.sample) == (urls[4], "s0")
    assert "no answer within 0.5 s (2 attempts)" in lost.reason
