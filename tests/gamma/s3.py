"""S3 servers of this run's own, and a proxy in front of one that misbehaves when it is told to."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

from filelock import FileLock

from tests.eventually import eventually

__all__ = ["CREDENTIALS", "FaultyProxy", "environment", "make_bucket", "s3_server", "s3rver"]

CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "S3RVER",
    "AWS_SECRET_ACCESS_KEY": "S3RVER",
    "AWS_REGION": "us-east-1",
}
"""Those of the only account that s3rver has; moto takes any."""


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables by which an S3 endpoint is reached."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's server in a process of its own; yield its endpoint."""
    port = _free_port()
    with _answering([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port], port, folder) as endpoint:
        yield endpoint


@contextmanager
def s3rver(folder: Path, programs: Path) -> Iterator[str]:
    """Run npm's s3rver in a process of its own; yield its endpoint. It is installed into ``programs`` once."""
    program = programs / "node_modules" / ".bin" / "s3rver"
    programs.mkdir(parents=True, exist_ok=True)
    with FileLock(programs / "lock"):
        if not program.exists():
            install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(programs), "s3rver@3.7.1"]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    port = _free_port()
    options = ["--directory", str(folder / "buckets"), "--no-vhost-buckets", "--address", "127.0.0.1", "--port", port]
    with _answering([str(program), *options], port, folder) as endpoint:
        yield endpoint


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextmanager
def _answering(command: Sequence[str], port: str, folder: Path) -> Iterator[str]:
    """Run a server; yield its endpoint when it answers."""
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
            return True

    try:
        eventually(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str) -> str:
    """Make a bucket and return its name."""
    bucket = f"bucket-{uuid4().hex}"
    now = datetime.now(timezone.utc)
    credential = f"Credential={CREDENTIALS['AWS_ACCESS_KEY_ID']}/{now:%Y%m%d}/us-east-1/s3/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",  # nobody checks it
        "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD",
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT", headers=headers), timeout=30).close()
    return bucket


@dataclass
class FaultyProxy:
    """Forwards requests to an S3 server; ``fault`` says of each what goes wrong.

    It returns a status (``500``) for an answer of it, ``half`` for an answer that breaks off, ``nothing`` for a
    connection that is closed without one, ``silent`` for none until the proxy ends, ``drops`` for one
    in a thousand bytes at a time, and ``""`` for no fault.
    """

    endpoint: str
    fault: Callable[[str, str], str] = field(default=lambda method, path: "")
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Of each: its method, its path, and its fault."""

    @contextmanager
    def running(self) -> Iterator[str]:
        """Listen, and yield the proxy's own endpoint."""
        self._ended = threading.Event()
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self._ended.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self
        host, port = self.endpoint.removeprefix("http://").split(":")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.fault(self.command, self.path)
                proxy.requests.append((self.command, self.path, fault))
                if fault.isdigit():
                    self.send_response(int(fault))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault in ("nothing", "silent"):
                    if fault == "silent":
                        proxy._ended.wait()
                    self.close_connection = True
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                connection = HTTPConnection(host, int(port), timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                if answer.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                connection.close()
                if fault == "half":
                    self.close_connection = True
                    with suppress(OSError):
                        self.wfile.write(content[: len(content) // 2])
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if self.command != "HEAD":
                    for start in range(0, len(content), 1000 if fault == "drops" else 1 << 20):
                        self.wfile.write(content[start : start + (1000 if fault == "drops" else 1 << 20)])
                        self.wfile.flush()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Log nothing."""

        return Handler
