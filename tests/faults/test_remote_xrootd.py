"""XRootD servers that lose files, stall, die and come back; all of it with a real server."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.servers import Server, xrootd

from fivesigma.core.errors import FileFormatError, MissingDependencyError, RemoteError
from fivesigma.read.files import find_files
from fivesigma.read.ranged_file import BLOCK
from fivesigma.read.remote import RemotePath, digest, fetched, refuse_change
from fivesigma.read.remote_options import RemoteOptions

pytestmark = pytest.mark.servers

QUICK = RemoteOptions(deadline_s=20, retries=2, back_off_s=0.001)
IMPATIENT = RemoteOptions(deadline_s=1, retries=1, back_off_s=0.001)
CONTENT = np.random.default_rng(1).bytes(4 * BLOCK)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with xrootd() as running:
        yield running


def put(server: Server, name: str, content: bytes = CONTENT) -> Path:
    path = server.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    path.write_bytes(content)
    path.chmod(0o644)
    return path


def test_status_content_digest(server: Server) -> None:
    local = put(server, "a.root")
    path = RemotePath(f"{server.url}a.root", QUICK)
    assert path.status().size == len(CONTENT)
    assert path.status().version == f"mtime {int(local.stat().st_mtime)}"
    assert path.open().read() == CONTENT
    assert digest(path) == digest(local)
    with fetched(path) as copy:
        assert digest(copy) == digest(local)


def test_not_there_and_not_a_file(server: Server) -> None:
    put(server, "folder/a.root")
    with pytest.raises(
        RemoteError, match=r"Unable to locate /gone.root; no such file or directory\n.*\n.*check the URL"
    ):
        RemotePath(f"{server.url}gone.root", QUICK).status()
    with pytest.raises(RemoteError, match=r"it is a directory, not a file\n.*\n.*end the URL with a slash"):
        RemotePath(f"{server.url}folder", QUICK).status()


def test_secrets_in_the_query_are_not_shown(server: Server) -> None:
    path = RemotePath(f"{server.url}gone.root?authz=secret", QUICK)
    with pytest.raises(RemoteError, match="no such file") as error:
        path.status()
    assert "secret" not in str(error.value)


def test_changed_and_removed_after_the_scan(server: Server) -> None:
    local = put(server, "changed.root")
    path = RemotePath(f"{server.url}changed.root", QUICK).pinned()
    assert path.known is not None
    refuse_change(path, path.known, "")
    os.utime(local, (1_000_000, 1_000_000))
    with pytest.raises(RemoteError, match=r"changed after it was scanned: it was of mtime .*, now of mtime 1000000"):
        refuse_change(path, path.known, "")
    with pytest.raises(RemoteError, match="changed after it was scanned"):
        path.open().read(10)
    local.write_bytes(CONTENT[:-1])
    with pytest.raises(RemoteError, match="it had 1,048,576 bytes, now 1,048,575"):
        path.open().read(10)
    local.unlink()
    with pytest.raises(RemoteError, match="no such file"):
        refuse_change(path, path.known, "")


def test_cut_while_it_is_read(server: Server) -> None:
    local = put(server, "cut.root")
    with RemotePath(f"{server.url}cut.root", QUICK).open() as file:
        assert file.read(10) == CONTENT[:10]
        os.truncate(local, 2 * BLOCK + 5)
        with pytest.raises(RemoteError, match="changed after it was scanned: it had 1,048,576 bytes, now 524,293"):
            file.read()


def test_stalled_and_going_on(server: Server) -> None:
    put(server, "stalled.root")
    with RemotePath(f"{server.url}stalled.root", IMPATIENT).open() as file:
        assert file.read(10) == CONTENT[:10]
        server.signal(signal.SIGSTOP)
        try:
            file.seek(2 * BLOCK)
            with pytest.raises(RemoteError, match=r"Operation expired.* \(2 attempts\)"):
                file.read(10)
        finally:
            server.signal(signal.SIGCONT)
        assert file.read(10) == CONTENT[2 * BLOCK : 2 * BLOCK + 10]


def test_killed_while_it_is_read_and_back_again(server: Server) -> None:
    put(server, "killed.root")
    path = RemotePath(f"{server.url}killed.root", IMPATIENT)
    with path.open() as file:
        assert file.read(10) == CONTENT[:10]
        server.kill()
        file.seek(2 * BLOCK)
        with pytest.raises(RemoteError, match=r"\(2 attempts\)"):
            file.read(10)
        with pytest.raises(RemoteError, match=r"\(2 attempts\)"):
            path.status()
        server.start()
    assert path.open().read() == CONTENT


def test_patterns_and_folders(server: Server) -> None:
    for name in ("run2/10.root", "run2/2.root", "run2/notes.txt", "run2/more/3.parquet", "run3/1.root"):
        put(server, f"lists/{name}", b"")
    below = f"{server.url}lists/"

    def found(pattern: str) -> list[str]:
        return [str(location.path).removeprefix(below) for location in find_files(below + pattern, QUICK)]

    assert found("run2/*.root") == ["run2/2.root", "run2/10.root"]
    assert found("run[3]/*") == ["run3/1.root"]
    assert found("run*/*.root") == ["run2/2.root", "run2/10.root", "run3/1.root"]
    assert found("**/*.parquet") == ["run2/more/3.parquet"]
    assert found("run2/") == ["run2/2.root", "run2/10.root", "run2/more/3.parquet"]
    with pytest.raises(FileFormatError, match="no file matches this pattern"):
        found("run2/*.h5")
    with pytest.raises(RemoteError, match="no such file or directory"):
        found("run4/*.root")


def test_without_the_extra(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec_xrootd", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fivesigma\[xrootd\]'"):
        RemotePath(f"{server.url}a.root").status()
