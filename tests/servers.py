"""Servers on this machine for tests of remote input: nginx, XRootD, and web servers that misbehave."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVER_PROGRAMS = ("nginx", "xrootd", "openssl")
"""Debian's packages xrootd-server and nginx-light, and openssl."""
_SBIN = "/usr/sbin"
_START_S = 15.0


def program(name: str) -> str | None:
    """Where a server's program is; nginx is in a folder that is not on every user's path."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), _SBIN]))


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that the users whom servers run as can read; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="fivesigma-server-") as name:
        folder = Path(name)
        folder.chmod(0o777)  # a server that was started as root works as nobody
        yield folder


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    late = time.monotonic() + _START_S
    while time.monotonic() < late and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    words = log.read_text(errors="replace") if log.exists() else ""
    raise AssertionError(f"the server does not listen on port {port}:\n{words}")


@dataclass
class Server:
    """A server of the files in ``folder``; ``url`` is that of the folder, with a slash at the end."""

    folder: Path
    url: str
    command: list[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start, and wait until it listens."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        _wait_for_port(self.process, self.port, self.log)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes a server that listens and does not answer, from this method's return on."""
        self.process.send_signal(number)
        late = time.monotonic() + _START_S
        while number == signal.SIGSTOP and not self._every_thread_stopped():  # one stops first, and then the others
            assert time.monotonic() < late, f"process {self.process.pid} does not stop"
            time.sleep(0.001)

    def _every_thread_stopped(self) -> bool:
        states = [
            path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        ]
        return all(state == "T" for state in states)

    def stop(self) -> None:
        """End it in order, by force if it takes long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def nginx(*, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """nginx; with certificate and key over TLS. Below ``no-ranges/`` it has the same files and ignores ranges."""
    name = program("nginx")
    assert name is not None, "nginx is missing (apt-get install nginx-light)"
    with public_folder() as folder:
        port, data = free_port(), folder / "data"
        data.mkdir()
        tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};" if certificate else ""
        config = folder / "nginx.conf"
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config.write_text(
            f"""
            {f"user {getpass.getuser()};" if os.getuid() == 0 else ""}
            daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections 64; }}
            http {{
              access_log {folder}/access.log; {temporary}
              server {{
                listen 127.0.0.1:{port} {"ssl" if certificate else ""}; {tls}
                location / {{ root {data}; }}
                location /no-ranges/ {{ alias {data}/; max_ranges 0; }}
              }}
            }}
            """
        )
        url = f"{'https' if certificate else 'http'}://localhost:{port}/"
        server = Server(data, url, [name, "-c", str(config), "-e", f"{folder}/error.log"], port, folder / "error.log")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def xrootd() -> Iterator[Server]:
    """An XRootD server, as user nobody where it would be root's."""
    name = program("xrootd")
    assert name is not None, "xrootd is missing (apt-get install xrootd-server)"
    with public_folder() as folder:
        port, data = free_port(), folder / "data"
        for path in (data, folder / "admin"):
            path.mkdir()
            path.chmod(0o777)
        config = folder / "xrootd.cfg"
        config.write_text(
            f"xrd.port {port}\nxrd.network nodnr\nxrootd.export /\noss.localroot {data}\n"
            f"all.adminpath {folder}/admin\nall.pidpath {folder}/admin\n"
        )
        user = ["-R", "nobody"] if os.getuid() == 0 else []
        command = [name, *user, "-c", str(config), "-l", f"{folder}/admin/log", "-n", "test"]
        server = Server(data, f"root://localhost:{port}//", command, port, folder / "log")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody signed but itself, and its key."""
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    name = program("openssl")
    assert name is not None, "openssl is missing (apt-get install openssl)"
    subprocess.run(
        [
            *(
                name,
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    ssl.create_default_context(cafile=certificate)
    return certificate, key


Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One range request to a `WebServer`, with what an answer needs."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        """Count it, and answer as the path's rule says."""
        self.server.requests[self.name] += 1
        self.server.rules.get(self.name, Request.answer)(self)

    @property
    def name(self) -> str:
        """The path without the slash and the query."""
        return self.path.lstrip("/").partition("?")[0]

    @property
    def content(self) -> bytes:
        """The whole file."""
        return self.server.files[self.name]

    @property
    def attempt(self) -> int:
        """How many requests for this path there were, with this one."""
        return self.server.requests[self.name]

    def asked(self) -> tuple[int, int]:
        """First byte and byte after the last of the range."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert match is not None
        return int(match[1]), min(int(match[2]) + 1, len(self.content))

    def answer(self, body: bytes | None = None, *, status: int = 206, **headers: str) -> None:
        """The range that was asked for, or another ``body``; headers by name, ``_`` for ``-``, replace the right ones."""
        start, stop = self.asked() if self.name in self.server.files else (0, 0)
        body = self.content[start:stop] if body is None else body
        right = {
            "Content-Range": f"bytes {start}-{stop - 1}/{len(self.server.files.get(self.name, b''))}",
            "Content-Length": str(len(body)),
            "ETag": '"1"',
        }
        self.send_response(status)
        for header, value in (right | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int) -> None:
        """An answer without content."""
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the standard library's
        """Say nothing."""


class WebServer(ThreadingHTTPServer):
    """Files in memory by name, each answered in order or as its rule says; counts the requests for each."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.files: dict[str, bytes] = {}
        self.rules: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.stalled = threading.Event()  # answers that stall wait for it

    @property
    def url(self) -> str:
        """The folder's URL, with a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A `WebServer` that runs."""
    with WebServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stalled.set()
            server.shutdown()
            thread.join()
