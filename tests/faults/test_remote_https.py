"""Web servers that are busy, slow, gone, or wrong: the right bytes, or a named error; never others, never too many."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.servers import Request, WebServer, free_port, nginx, self_signed, web_server

from fivesigma.core.errors import RemoteError
from fivesigma.read.ranged_file import BLOCK
from fivesigma.read.remote import RemotePath, refuse_change
from fivesigma.read.remote_options import RemoteOptions

RETRIES = 2
QUICK = RemoteOptions(deadline_s=20, retries=RETRIES, back_off_s=0.001)
IMPATIENT = RemoteOptions(deadline_s=0.3, retries=1, back_off_s=0.001)
CONTENT = np.random.default_rng(1).bytes(2 * BLOCK)
WHOLE = 1 << 28  # bytes that no socket's buffer takes


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with web_server() as running:
        yield running


@pytest.fixture
def serve(server: WebServer, request: pytest.FixtureRequest) -> Callable[..., RemotePath]:
    """A file that the server answers by a rule."""

    def serving(rule: Callable[[Request], None], options: RemoteOptions = QUICK) -> RemotePath:
        name = re.sub(r"\W", "-", request.node.name) + ".root"
        server.files[name], server.rules[name] = CONTENT, rule
        return RemotePath(f"{server.url}{name}", options)

    return serving


def refused(path: RemotePath, *, after_status: bool = True) -> str:
    """What is said of a file of which the status came, or did not, and the content does not."""
    with pytest.raises(RemoteError) as error:
        path.pinned().open().read(100) if after_status else path.status()
    assert f"file:   {path}" in str(error.value)
    return str(error.value)


def but_for_the_status(fault: Callable[[Request], None]) -> Callable[[Request], None]:
    """Answer the first request, for the status, as it should be."""
    return lambda request: request.answer() if request.attempt == 1 else fault(request)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_busy_twice_then_fine(serve: Callable[..., RemotePath], server: WebServer, status: int) -> None:
    path = serve(lambda request: request.refuse(status) if request.attempt <= 2 else request.answer())
    assert path.status().size == len(CONTENT)
    assert server.requests[path.name] == 3
    assert path.open().read() == CONTENT


def test_busy_all_the_time(serve: Callable[..., RemotePath], server: WebServer) -> None:
    path = serve(lambda request: request.refuse(503))
    text = refused(path, after_status=False)
    assert "HTTP 503 Service Unavailable (3 attempts)" in text
    assert "remedy: try later, or with a longer deadline or more retries" in text
    assert server.requests[path.name] == 1 + RETRIES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 501, 599])
def test_what_does_not_pass_is_not_tried_again(
    serve: Callable[..., RemotePath], server: WebServer, status: int
) -> None:
    path = serve(lambda request: request.refuse(status))
    assert refused(path, after_status=False).startswith(f"HTTP {status}")
    assert server.requests[path.name] == 1


def test_an_answer_that_never_comes(serve: Callable[..., RemotePath], server: WebServer) -> None:
    def stall(request: Request) -> None:
        server.stalled.wait()

    path = serve(stall, IMPATIENT)
    assert "no answer within 0.3 s (2 attempts)" in refused(path, after_status=False)
    assert server.requests[path.name] == 2


def test_an_answer_that_stops_half_way(serve: Callable[..., RemotePath], server: WebServer) -> None:
    def half(request: Request) -> None:
        request.answer(CONTENT[:1000], Content_Length=str(BLOCK))
        server.stalled.wait()

    assert "no answer within 0.3 s (2 attempts)" in refused(serve(but_for_the_status(half), IMPATIENT))


def test_an_answer_that_trickles(serve: Callable[..., RemotePath], server: WebServer) -> None:
    """Bytes that keep coming do not put the deadline off."""

    def trickle(request: Request) -> None:
        request.answer(CONTENT[:1], Content_Length=str(BLOCK))
        while not server.stalled.wait(0.02):
            request.wfile.write(b"x")

    assert "no answer within 0.3 s (2 attempts)" in refused(serve(but_for_the_status(trickle), IMPATIENT))


def test_a_body_cut_short_once_is_asked_for_again(serve: Callable[..., RemotePath]) -> None:
    def cut(request: Request) -> None:
        start, stop = request.asked()
        if request.attempt == 2:
            request.answer(CONTENT[start : stop - 100], Content_Length=str(stop - start))
            request.close_connection = True
        else:
            request.answer()

    assert serve(but_for_the_status(cut)).pinned().open().read() == CONTENT


def test_a_body_cut_short_always(serve: Callable[..., RemotePath]) -> None:
    def cut(request: Request) -> None:
        start, stop = request.asked()
        request.answer(CONTENT[start : stop - 100], Content_Length=str(stop - start))
        request.close_connection = True

    assert f"expected {BLOCK:,} bytes, got fewer before the connection closed (3 attempts)" in refused(
        serve(but_for_the_status(cut))
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda request: request.answer(CONTENT[: BLOCK - 1]), f"expected {BLOCK:,} bytes, got {BLOCK - 1:,}"),
        (lambda request: request.answer(CONTENT[: BLOCK + 1]), f"expected {BLOCK:,} bytes, got {BLOCK + 1:,}"),
        (
            lambda request: request.answer(CONTENT[1 : BLOCK + 1], Content_Range=f"bytes 1-{BLOCK}/{len(CONTENT)}"),
            f"expected bytes 0 to {BLOCK:,}, got 1 to {BLOCK + 1:,}",
        ),
        (
            lambda request: request.answer(Content_Range=f"bytes 0-{BLOCK}/{len(CONTENT)}"),
            f"expected bytes 0 to {BLOCK:,}, got 0 to {BLOCK + 1:,}",
        ),
        (
            lambda request: request.answer(gzip.compress(CONTENT[:BLOCK]), Content_Encoding="gzip"),
            "the server sends the file in another encoding (gzip)",
        ),
        (
            lambda request: request.answer(ETag='"2"'),
            'the file changed after it was scanned: it was of "1", now of "2"',
        ),
        (
            lambda request: request.answer(Content_Range=f"bytes 0-{BLOCK - 1}/{len(CONTENT) + 1}"),
            f"the file changed after it was scanned: it had {len(CONTENT):,} bytes, now {len(CONTENT) + 1:,}",
        ),
        (lambda request: request.answer(Content_Range="bytes 0-1/*"), "the server does not say how long the file is"),
        (lambda request: request.answer(Content_Range="nonsense"), "the server does not support range requests"),
        (lambda request: request.answer(CONTENT, status=200), "the server does not support range requests"),
        (lambda request: request.refuse(404), "HTTP 404 Not Found"),
    ],
    ids=["short", "long", "shifted", "longer-range", "gzip", "version", "size", "no-size", "nonsense", "whole", "gone"],
)
def test_wrong_answers_are_refused_at_once(
    serve: Callable[..., RemotePath], server: WebServer, fault: Callable[[Request], None], message: str
) -> None:
    path = serve(but_for_the_status(fault))
    assert message in refused(path)
    assert server.requests[path.name] == 2


def test_more_bytes_than_were_announced_are_not_taken_for_the_next_answer(serve: Callable[..., RemotePath]) -> None:
    def pad(request: Request) -> None:
        request.answer()
        request.wfile.write(b"HTTP/1.1 206 Partial Content\r\n" * 10)

    file = serve(but_for_the_status(pad)).pinned().open()
    try:
        assert file.read() == CONTENT
    except RemoteError as error:
        assert "attempts" in str(error)  # noqa: PT017  right bytes, or an error; which of them is up to the connection


def test_a_server_without_ranges_does_not_send_the_file(serve: Callable[..., RemotePath]) -> None:
    """Neither silently nor at all: the connection is closed."""
    sent = []

    def whole(request: Request) -> None:
        request.answer(b"", status=200, Content_Length=str(WHOLE), Content_Range="")
        try:
            for _ in range(WHOLE >> 20):
                request.wfile.write(bytes(1 << 20))
                sent.append(1 << 20)
        except OSError:
            sent.append(-1)

    path = serve(whole)
    assert "the server does not support range requests: it would send the whole file" in refused(
        path, after_status=False
    )
    late = time.monotonic() + 20
    while -1 not in sent and time.monotonic() < late:
        time.sleep(0.01)
    assert sum(sent) < WHOLE


def test_nobody_listens() -> None:
    path = RemotePath(f"http://127.0.0.1:{free_port()}/a.root", QUICK)
    assert "the connection failed: " in (text := refused(path, after_status=False))
    assert "(3 attempts)" in text


def test_no_such_host() -> None:
    path = RemotePath("http://no-such-host.invalid/a.root", QUICK)
    assert "the connection failed: " in (text := refused(path, after_status=False))
    assert "(3 attempts)" in text


@pytest.mark.servers
def test_ranges_off_in_nginx() -> None:
    with nginx() as server:
        (server.folder / "a.root").write_bytes(CONTENT)
        path = RemotePath(f"{server.url}no-ranges/a.root", QUICK)
        assert "the server does not support range requests" in refused(path, after_status=False)
        assert RemotePath(f"{server.url}a.root", QUICK).open().read() == CONTENT


@pytest.mark.servers
def test_replaced_removed_then_the_server_dies() -> None:
    with nginx() as server:
        (server.folder / "a.root").write_bytes(CONTENT)
        path = RemotePath(f"{server.url}a.root", QUICK).pinned()
        refuse_change(path, path.status(), "")
        (server.folder / "a.root").write_bytes(CONTENT + b"more")
        assert path.known is not None
        with pytest.raises(
            RemoteError, match=r"the file changed after it was scanned: it had 524,288 bytes, now 524,292"
        ):
            refuse_change(path, path.known, "")
        assert "changed after it was scanned" in refused(path)
        (server.folder / "a.root").unlink()
        with pytest.raises(RemoteError, match="HTTP 404"):
            refuse_change(path, path.known, "")
        server.kill()
        assert "(3 attempts)" in refused(path)


@pytest.mark.servers
def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with nginx(certificate=certificate) as server:
        (server.folder / "a.root").write_bytes(CONTENT)
        path = RemotePath(f"{server.url}a.root", QUICK)
        text = refused(path, after_status=False)
        assert "the server's certificate is not trusted: self-signed certificate" in text
        assert "`ca_bundle`" in text
        trusting = RemotePath(path.url, RemoteOptions(retries=0, ca_bundle=str(certificate[0])))
        assert trusting.open().read() == CONTENT
        wrong = RemotePath(path.url, RemoteOptions(retries=0, ca_bundle=str(tmp_path / "missing.pem")))
        assert "cannot read the certificate authorities" in refused(wrong, after_status=False)
