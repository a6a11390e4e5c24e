"""An S3 server of this run's own, and a proxy in front of it that misbehaves when it is told to."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

from tests.eventually import eventually

__all__ = ["CREDENTIALS", "FaultyProxy", "environment", "make_bucket", "s3_server"]

CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables by which an S3 endpoint is reached."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's server in a process of its own; yield its endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "moto.log").read_text()
        with urlopen(f"{endpoint}/moto-api/", timeout=5) as answer:
            return bool(answer.status == 200)

    try:
        eventually(answers)
        yield endpoint
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str) -> str:
    """Make a bucket and return its name."""
    bucket = f"bucket-{uuid4().hex}"
    credential = "Credential=test/20260101/us-east-1/s3/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"}
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
