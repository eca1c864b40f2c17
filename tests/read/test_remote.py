"""Files far away: how they are named, and how their bytes are fetched and kept."""

from __future__ import annotations

import io
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers import Request, WebServer, web_server

from fivesigma.core.errors import ConfigError, OutputError, RemoteError, UnknownNameError
from fivesigma.core.integrity import file_digest
from fivesigma.read.ranged_file import BLOCK, MAX_REQUEST, Blocks, RangedFile
from fivesigma.read.remote import ENDS, RemotePath, digest, fetched
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.remote_source import Status

QUICK = RemoteOptions(deadline_s=10, retries=2, back_off_s=0.001)
CONTENT = np.random.default_rng(1).bytes(5 * BLOCK + 17)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with web_server() as running:
        running.files["a.bin"] = CONTENT
        yield running


def test_secrets_are_not_shown() -> None:
    path = RemotePath("https://me:secret@host.org:8443/data/a.root?X-Amz-Signature=secret&id=1")
    for shown in (str(path), repr(path), f"{path}"):
        assert "secret" not in shown
        assert "me" not in shown.replace("RemotePath", "")
        assert "host.org:8443/data/a.root" in shown
    assert str(path) != str(RemotePath(path.url.replace("id=1", "id=2"))), "two files have two names"
    assert (path.name, path.suffix, path.scheme) == ("a.root", ".root", "https")
    assert pickle.loads(pickle.dumps(path)).url == path.url, "a worker process needs them"


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("roots://host//a.root", UnknownNameError, "unknown kind of URL 'roots'; did you mean 'root'"),
        ("s3://bucket/a.root", UnknownNameError, "Known: http, https, root"),
        ("https:///a.root", ConfigError, "expected https://host/path"),
        ("root://host", ConfigError, "expected root://host/path"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RemotePath(url)


def test_options_come_from_the_environment() -> None:
    words = {"FIVESIGMA_REMOTE_DEADLINE": "7.5", "FIVESIGMA_REMOTE_RETRIES": "0", "FIVESIGMA_REMOTE_DIGEST": "ends"}
    assert RemoteOptions.from_environment(words) == RemoteOptions(deadline_s=7.5, retries=0, digest="ends")
    assert RemoteOptions.from_environment({}) == RemoteOptions()


@pytest.mark.parametrize(
    ("variable", "word"), [("DEADLINE", "soon"), ("DEADLINE", "0"), ("RETRIES", "-1"), ("DIGEST", "none")]
)
def test_an_option_that_cannot_be_meant(variable: str, word: str) -> None:
    with pytest.raises(ConfigError, match=f"FIVESIGMA_REMOTE_{variable}={word}: "):
        RemoteOptions.from_environment({f"FIVESIGMA_REMOTE_{variable}": word})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) + 5), st.integers(0, 3 * BLOCK)), min_size=1, max_size=6))
def test_any_reads_give_the_bytes_of_the_file(reads: list[tuple[int, int]]) -> None:
    file, plain = RangedFile("a", len(CONTENT), lambda a, b: CONTENT[a:b], object()), io.BytesIO(CONTENT)
    for place, length in reads:
        file.seek(place)
        plain.seek(place)
        assert file.read(length) == plain.read(length)
        assert file.tell() == max(place, plain.tell())


def test_a_file_read_in_order_takes_few_requests() -> None:
    asked: list[tuple[int, int]] = []

    def read_range(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return bytes(stop - start)

    with RangedFile("a", 64 * BLOCK, read_range, object()) as file:
        while file.read(1000):
            pass
    assert [start for start, _ in asked] == [0, *[stop for _, stop in asked[:-1]]], "every byte once"
    assert [(stop - start) // BLOCK for start, stop in asked] == [1, 2, 4, 8, 16, 16, 16, 1]


def test_a_declared_length_is_not_believed() -> None:
    """A damaged file that says that it has 2⁶² bytes makes nobody allocate them."""
    with RangedFile("a", 10, lambda a, b: bytes(b - a)) as file:
        assert len(file.read(2**62)) == 10


def test_a_large_read_is_cut_into_requests() -> None:
    asked: list[int] = []

    def read_range(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return bytes(stop - start)

    RangedFile("a", 3 * MAX_REQUEST, read_range, object()).read()
    assert asked == [MAX_REQUEST] * 3


def test_kept_blocks_are_bounded() -> None:
    blocks = Blocks(limit=100)
    for i in range(50):
        blocks.put(i, bytes(7))
        blocks.get(0)  # used again and again: stays
    kept = [i for i in range(50) if blocks.get(i) is not None]
    assert kept == [0, *range(37, 50)]
    assert 7 * len(kept) <= 100


def test_status_and_content(server: WebServer, tmp_path: Path) -> None:
    local = tmp_path / "a.bin"
    local.write_bytes(CONTENT)
    path = RemotePath(f"{server.url}a.bin", QUICK)
    assert path.status() == Status(len(CONTENT), '"1"')
    assert path.open().read() == CONTENT
    assert digest(path) == digest(local) == file_digest(local)
    with fetched(path) as copy:
        assert copy.open().read() == CONTENT
        assert (digest(copy), copy.status(), copy.away()) == (file_digest(local), path.status(), path)


def test_what_was_fetched_is_not_asked_for_again(server: WebServer) -> None:
    server.files["again.bin"] = CONTENT
    path = RemotePath(f"{server.url}again.bin", QUICK).pinned()
    before = server.requests["again.bin"]
    for _ in range(3):
        with path.open() as file:
            assert file.read(1000) == CONTENT[:1000]
    assert server.requests["again.bin"] == before + 1


def test_the_digest_of_the_ends_says_so_and_sees_them(server: WebServer) -> None:
    content = bytearray(np.random.default_rng(2).bytes(3 << 20))
    ends = RemoteOptions(digest="ends")

    def of(name: str, changed: int | None = None) -> str:
        server.files[name] = bytes(content if changed is None else content[:changed] + b"?" + content[changed + 1 :])
        return digest(RemotePath(f"{server.url}{name}", ends))

    first = of("ends.0")
    assert first.startswith(ENDS)
    assert of("ends.1") == first
    assert of("ends.2", changed=5) != first
    assert of("ends.3", changed=len(content) - 5) != first
    assert of("ends.4", changed=len(content) // 2) == first, "what it cannot see, as documented"
    server.files["ends.5"] = bytes(content[:1000])
    short = digest(RemotePath(f"{server.url}ends.5", ends))
    server.files["ends.6"] = bytes(content[:999])
    assert digest(RemotePath(f"{server.url}ends.6", ends)) != short


def test_no_room_for_a_copy(server: WebServer) -> None:
    path = RemotePath(f"{server.url}a.bin", QUICK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK + 5, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot keep a temporary copy of .*a\.bin in .*TMPDIR"), fetched(path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_redirection_is_followed(server: WebServer) -> None:
    def elsewhere(request: Request) -> None:
        request.answer(b"", status=302, Location="/a.bin")

    server.rules["door"] = elsewhere
    assert RemotePath(f"{server.url}door", QUICK).open().read(100) == CONTENT[:100]


def test_user_and_password_go_to_the_server_and_nowhere_else(server: WebServer) -> None:
    def guarded(request: Request) -> None:
        if request.headers.get("Authorization") == "Basic bWU6c2VjcmV0":
            request.answer(status=206)
        else:
            request.refuse(401)

    server.files["guarded"], server.rules["guarded"] = CONTENT, guarded
    url = f"{server.url}guarded".replace("http://", "http://me:secret@")
    assert RemotePath(url, QUICK).open().read(10) == CONTENT[:10]
    with pytest.raises(RemoteError, match=r"HTTP 401 Unauthorized\n.*\*\*\*@.*\n.*netrc") as refused:
        RemotePath(url.replace("secret", "wrong"), QUICK).status()
    assert "wrong" not in str(refused.value)


def test_user_and_password_from_netrc(server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen = []

    def guarded(request: Request) -> None:
        seen.append(request.headers.get("Authorization"))
        request.answer()

    server.files["netrc"], server.rules["netrc"] = CONTENT, guarded
    RemotePath(f"{server.url}netrc", QUICK).status()
    assert seen == ["Basic bWU6c2VjcmV0"]
