"""Events from web servers and XRootD: the values of the local files, in every format; one outcome for every file."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from tests.servers import Server, nginx, xrootd

from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    DuplicateInputError,
    FileFormatError,
    RemoteError,
)
from fivesigma.core.integrity import file_digest
from fivesigma.core.jagged import Jagged
from fivesigma.read import inspect, open_events, write_manifest
from fivesigma.read.files import find_files
from fivesigma.read.https import HttpSource
from fivesigma.read.remote import ENDS
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.remote_source import Status
from fivesigma.read.xrootd import XRootDSource

pytestmark = pytest.mark.servers

QUICK = RemoteOptions(deadline_s=20, retries=1, back_off_s=0.001)
ENDS_ONLY = RemoteOptions(deadline_s=20, retries=1, back_off_s=0.001, digest="ends")
N = 4_000
FORMATS = ("ttree.root", "rntuple.root", "table.parquet", "arrays.h5")
NAMES = ("event", "pt", "track_pt")
MEBIBYTE = 1 << 20
LARGE = 20 * MEBIBYTE  # bytes of values
MOST_SCANNED = 6 * MEBIBYTE  # two ends, and a block of 256 KiB at each place where a key or a page header is looked at


def write(path: Path, seed: int = 1, n: int = N) -> Path:
    """Flat and jagged columns in the format that the ending says; every format has its own values."""
    rng = np.random.default_rng((seed, len(path.name)))
    counts = rng.integers(0, 6, n)
    event, pt = np.arange(n, dtype=np.int64), rng.normal(size=n).astype(np.float32)
    tracks = ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts)
    if path.suffix == ".root":
        with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
            columns = {"event": event, "pt": pt, "track_pt": tracks}
            if path.name.startswith("ttree"):
                file.mktree("jets", {"event": "int64", "pt": "float32", "track_pt": "var * float32"}).extend(columns)
            else:
                file.mkrntuple("jets", columns)
    elif path.suffix == ".parquet":
        table = pa.table({"event": event, "pt": pt, "track_pt": tracks.to_list()})
        pq.write_table(table, path, row_group_size=1_000, write_page_checksum=True)
    else:
        flat = np.zeros(n, [("event", "i8"), ("pt", "f4")])
        flat["event"], flat["pt"] = event, pt
        padded = np.zeros((n, 6), [("track_pt", "f4"), ("valid", "?")])
        padded["valid"] = np.arange(6) < counts[:, None]
        padded["track_pt"][padded["valid"]] = ak.flatten(tracks).to_numpy()
        with h5py.File(path, "w") as file:
            file.create_dataset("jets", data=flat, chunks=True, fletcher32=True)
            file.create_dataset("tracks", data=padded, chunks=True, compression="gzip")
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """nginx and XRootD with the same files."""
    with ExitStack() as stack:
        running = {"nginx": stack.enter_context(nginx()), "xrootd": stack.enter_context(xrootd())}
        for server in running.values():
            for name in FORMATS:
                write(server.folder / name)
        yield running


def columns_of(where: str | Path, names: list[str], **words: Any) -> dict[str, Any]:
    events = open_events(where, **words)
    parts = [events.read(part, names) for part in events.partitions(1_500)]
    return {
        name: [
            (part[name].values.tolist(), part[name].offsets.tolist())  # type: ignore[union-attr]
            if isinstance(part[name], Jagged)
            else part[name].tolist()  # type: ignore[union-attr]
            for part in parts
        ]
        for name in names
    }


@pytest.mark.parametrize("kind", ["nginx", "xrootd"])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("options", [QUICK, ENDS_ONLY], ids=["full", "ends"])
def test_remote_values_are_the_local_ones(
    servers: dict[str, Server], kind: str, name: str, options: RemoteOptions
) -> None:
    server = servers[kind]
    local, remote = open_events(server.folder / name).files[0], open_events(server.url + name, remote=options).files[0]
    assert remote.branches == local.branches
    assert {b.name: b.protection for b in remote.branches.values()} == {
        b.name: b.protection for b in local.branches.values()
    }
    assert (remote.tree, remote.entries, remote.size) == (local.tree, local.entries, local.size)
    if options.digest == "full":
        assert remote.xxh3 == local.xxh3 == file_digest(server.folder / name)
    else:
        assert remote.to_json()["xxh3"].startswith(ENDS)
    names = [branch for branch in local.branches if branch.rpartition(".")[2] in NAMES]
    assert len(names) == len(NAMES)
    assert columns_of(server.url + name, names, remote=options) == columns_of(server.folder / name, names)


@pytest.mark.parametrize("kind", ["nginx", "xrootd"])
@pytest.mark.parametrize("name", FORMATS)
def test_replaced_between_scan_and_read(servers: dict[str, Server], kind: str, name: str, tmp_path: Path) -> None:
    server = servers[kind]
    target = server.folder / f"replaced-{name}"
    write(target, seed=2, n=50)
    events = open_events(server.url + target.name, remote=QUICK)
    write(target, seed=3, n=51)
    os.utime(target, (1_000_000, 1_000_000))  # both servers tell whole seconds
    pt = next(branch for branch in events.files[0].branches if branch.rpartition(".")[2] == "pt")
    with pytest.raises(RemoteError, match=f"(?s)changed after it was scanned: .*{target.name}.*start again"):
        events.read(next(events.partitions()), [pt])
    target.unlink()
    with pytest.raises(RemoteError, match=r"HTTP 404 Not Found|no such file"):
        events.read(next(events.partitions()), [pt])


@pytest.mark.parametrize("name", FORMATS)
def test_the_server_dies_between_scan_and_read(name: str) -> None:
    """The client's own errors come through the readers of every format as ours, with the file and the attempts."""
    with nginx() as server:
        write(server.folder / name)
        events = open_events(server.url + name, remote=QUICK)
        pt = next(branch for branch in events.files[0].branches if branch.rpartition(".")[2] == "pt")
        server.kill()
        with pytest.raises(RemoteError, match=rf"the connection failed: .* \(2 attempts\)\n  file:   .*{name}"):
            events.read(next(events.partitions()), [pt])


def test_a_hundred_files_and_what_became_of_each(servers: dict[str, Server]) -> None:
    server = servers["nginx"]
    urls = []
    for i in range(100):
        name = f"many/{i}.parquet"
        (server.folder / name).parent.mkdir(exist_ok=True)
        if i == 13:
            (server.folder / name).write_bytes(b"<html>log in first</html>" * 100)
        elif i == 42:
            content = write(server.folder / name, seed=i, n=20).read_bytes()
            (server.folder / name).write_bytes(content[:-100])
        elif i != 99:
            write(server.folder / name, seed=i, n=20)
        urls.append(server.url + name)
    with pytest.raises(FileFormatError) as refused:
        open_events(urls, remote=QUICK)
    text = str(refused.value)
    assert text.startswith("3 of 100 files are refused:\n")
    assert text.count(": ok, 20 entries\n") == 97
    assert f"{urls[13]}: refused: not a Parquet file: an HTML page: b'<html>log in first</html" in text
    assert f"{urls[42]}: refused: cannot read the footer" in text
    assert f"{urls[99]}: refused: HTTP 404 Not Found\n" in text
    assert f"\n  file:   {urls[13]}\n" in text
    good = [url for i, url in enumerate(urls) if i not in (13, 42, 99)]
    assert open_events(good, remote=QUICK).entries == 97 * 20


def test_lists_and_filesets_may_have_urls(servers: dict[str, Server], tmp_path: Path) -> None:
    web, xrd = servers["nginx"], servers["xrootd"]
    (tmp_path / "files.txt").write_text(f"# two\n{web.url}ttree.root\n{xrd.url}*.parquet\n")
    found = [str(location.path) for location in find_files(tmp_path / "files.txt")]
    assert found == [f"{web.url}ttree.root", f"{xrd.url}table.parquet"]
    fileset = {"TTbar": {"files": {f"{xrd.url}rntuple.root": "jets"}}}
    (tmp_path / "fileset.json").write_text(json.dumps(fileset))
    assert open_events(tmp_path / "fileset.json", remote=QUICK).entries == N


def test_the_same_file_twice(servers: dict[str, Server]) -> None:
    web, xrd = servers["nginx"], servers["xrootd"]
    with pytest.raises(DuplicateInputError, match="is the same path as"):
        open_events([f"{web.url}ttree.root"] * 2, remote=QUICK)
    (xrd.folder / "copy.parquet").write_bytes((web.folder / "table.parquet").read_bytes())
    (xrd.folder / "copy.parquet").chmod(0o644)
    with pytest.raises(DuplicateInputError, match=r"copy\.parquet is a copy of equal content as http"):
        open_events([f"{web.url}table.parquet", f"{xrd.url}copy.parquet"], remote=QUICK)
    with pytest.raises(DuplicateInputError, match="is a copy of equal content"):
        open_events([str(web.folder / "table.parquet"), f"{web.url}table.parquet"], remote=QUICK)


def test_a_web_server_cannot_list(servers: dict[str, Server]) -> None:
    with pytest.raises(ConfigError, match="a web server cannot say which files it has: name each"):
        open_events(f"{servers['nginx'].url}*.root", remote=QUICK)


def test_inspect(servers: dict[str, Server]) -> None:
    server = servers["xrootd"]
    remote, local = inspect(f"{server.url}ttree.root"), inspect(server.folder / "ttree.root")
    assert remote.rows() == local.rows()
    assert remote.to_json()["files"][0]["path"] == f"{server.url}ttree.root"


def test_types_are_compared_between_local_and_remote(servers: dict[str, Server]) -> None:
    server = servers["nginx"]
    events = open_events([server.folder / "ttree.root", f"{server.url}table.parquet"], remote=QUICK)
    assert set(events.require(["pt"])) == {"pt"}
    with pytest.raises(BranchTypeError, match=r"(?s)jagged float64 here, but jagged float32.*file:   http"):
        events.require(["track_pt"])


@pytest.fixture
def count_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes were asked for of web servers."""
    asked = []

    def read(self: HttpSource, start: int, stop: int, expected: Status) -> bytes:
        asked.append(stop - start)
        return right(self, start, stop, expected)

    right = HttpSource.read
    monkeypatch.setattr(HttpSource, "read", read)
    return lambda: sum(asked)


def test_a_remote_file_is_not_read_as_a_whole(servers: dict[str, Server], count_bytes: Callable[[], int]) -> None:
    """Of a file with 40 branches, to read one is to fetch about a fortieth."""
    server = servers["nginx"]
    with uproot.recreate(server.folder / "wide.root", compression=None) as file:
        names = [f"x{i}" for i in range(40)]
        tree = file.mktree("wide", dict.fromkeys(names, "float64"))
        tree.extend({name: np.random.default_rng(i).random(50_000) for i, name in enumerate(names)})
    size = (server.folder / "wide.root").stat().st_size
    events = open_events(f"{server.url}wide.root", remote=ENDS_ONLY)
    scanned = count_bytes()
    events.read(next(events.partitions(50_000)), ["x7"])
    assert count_bytes() - scanned < size / 20


@pytest.mark.parametrize("kind", ["nginx", "xrootd"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_ends_are_all_that_a_scan_fetches_of_a_large_file(
    servers: dict[str, Server], kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 MiB the first and the last, and what says where values stand; by ranges only, as the server tells, too."""
    server, source = servers[kind], HttpSource if kind == "nginx" else XRootDSource
    right: Any = source.read
    columns = {f"x{i}": np.random.default_rng(i).random(LARGE // 8 // 4) for i in range(4)}
    path = write_large(server.folder / f"large-{name}", columns)
    size = path.stat().st_size
    assert size > LARGE
    asked = []

    def read(self: Any, start: int, stop: int, expected: Status) -> bytes:
        asked.append((start, stop))
        content: bytes = right(self, start, stop, expected)
        return content

    monkeypatch.setattr(source, "read", read)
    sent = bytes_sent(server)
    events = open_events(f"{server.url}{path.name}", remote=ENDS_ONLY)
    assert events.files[0].xxh3.startswith(ENDS)
    scanned = sum(stop - start for start, stop in asked)
    assert 2 * MEBIBYTE <= scanned < MOST_SCANNED
    assert all(stop - start < size / 4 for start, stop in asked)
    column = events.read(next(events.partitions(1_000)), ["x2"])["x2"]
    np.testing.assert_array_equal(column, columns["x2"][:1_000])
    fetched = sum(stop - start for start, stop in asked)
    assert fetched < size / 2
    if kind == "nginx":
        late = time.monotonic() + 20
        while len(answers := bytes_sent(server)[len(sent) :]) <= len(asked) and time.monotonic() < late:
            time.sleep(0.01)  # it writes down what it has sent
        assert {status for status, _ in answers} == {206}
        assert fetched <= sum(length for _, length in answers) <= fetched + len(answers)  # one byte asks for the status


def write_large(path: Path, columns: dict[str, Any]) -> Path:
    """Columns in two pieces, uncompressed."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False, row_group_size=LARGE // 64)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for column, values in columns.items():
                file.create_dataset(column, data=values, chunks=(LARGE // 64,))
    else:
        half = len(columns["x0"]) // 2
        first, second = ({k: v[some] for k, v in columns.items()} for some in (slice(half), slice(half, None)))
        with uproot.recreate(path, compression=None) as file:
            if "rntuple" in path.name:
                tree = file.mkrntuple("t", first)
            else:
                tree = file.mktree("t", dict.fromkeys(columns, "float64"))
                tree.extend(first)
            tree.extend(second)
    path.chmod(0o644)
    return path


def bytes_sent(server: Server) -> list[tuple[int, int]]:
    """Status and length of every answer of nginx until now, by its own account."""
    log = server.folder.parent / "access.log"
    return (
        [(int(status), int(n)) for status, n in re.findall(r'" (\d{3}) (\d+) "', log.read_text())]
        if log.exists()
        else []
    )


def test_a_manifest_needs_every_byte(
    servers: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for a file of which only the ends are digested, and neither written nor believed."""
    server = servers["nginx"]
    write_manifest(server.folder / "ttree.root", tmp_path / "manifest.json")
    url = f"{server.url}ttree.root"
    assert open_events(url, manifest=tmp_path / "manifest.json", remote=QUICK).files[0].covered
    with pytest.raises(ConfigError, match="a manifest needs the option `digest: full`"):
        open_events(url, manifest=tmp_path / "manifest.json", remote=ENDS_ONLY)
    monkeypatch.setenv("FIVESIGMA_REMOTE_DIGEST", "ends")
    with pytest.raises(ConfigError, match="a manifest needs the option `digest: full`"):
        write_manifest(url, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()
