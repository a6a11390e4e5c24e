"""The development server of an instance: `service.start_dev_server()`, also from a notebook."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from kappa import build
from kappa.errors import InferenceFailedError, PortInUseError
from kappa.log import listening, to_logging
from kappa.server.ports import listen_on
from kappa.services.declared import DeclaredService
from kappa.services.snapshot import write_snapshot

__all__ = ["DevServer", "start_dev_server"]

_HOST = "127.0.0.1"
_PORTS = range(5000, 5100)
_LOG = "server.log"
_POLL_S = 0.05
_STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class DevServer:
    """A server in the background, on this machine alone."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    """Its models and its log; removed when it stops."""

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    def stop(self) -> None:
        """End the process, if it still runs, and remove what it was given."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_dev_server(service: DeclaredService, *, port: int | None = None, ready_within_s: float = 300.0) -> DevServer:
    """Serve an instance with its packed models from a process of its own; returns once it answers.

    It listens on 127.0.0.1, at ``port`` or else at 5000 or the next port that is free, and ends with this process at
    the latest. Nothing is built or resolved. Raises `KappaError` with the server's output if it cannot start.
    """
    folder = Path(tempfile.mkdtemp(prefix="kappa-dev-"))
    try:
        with listening(to_logging):
            project = build.project_of(service)
        with build.standing_for_its_file(type(service)):
            write_snapshot(project.spec, project.sources, root=project.root, folder=folder)
        with _listener(port) as listener:
            server = _launch(folder, listener)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(service, server.stop)  # at the end of the program too
    try:
        _wait_until_ready(server, ready_within_s)
    except BaseException:
        server.stop()
        raise
    return server


def _listener(port: int | None) -> socket.socket:
    """Return a listening socket, which the server inherits: no other process can take its port meanwhile."""
    for candidate in _PORTS if port is None else ():
        with suppress(PortInUseError):
            return listen_on(_HOST, candidate)
    return listen_on(_HOST, port or 0)


def _launch(folder: Path, listener: socket.socket) -> DevServer:
    command = [sys.executable, "-m", "kappa.server.process.attended", str(folder), str(listener.fileno())]
    listener.set_inheritable(True)
    inherited: dict[str, Any] = {"pass_fds": (listener.fileno(),)} if os.name == "posix" else {"close_fds": False}
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **inherited)
    return DevServer(listener.getsockname()[1], process, folder)


def _wait_until_ready(server: DevServer, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while server.process.poll() is None and time.monotonic() < deadline:
        if _is_ready(server.port):
            return
        time.sleep(_POLL_S)
    output = (server.folder / _LOG).read_text(encoding="utf-8", errors="replace").strip()
    has_ended = server.process.poll() is not None
    problem = "ended before it could answer" if has_ended else f"was not ready within {within_s:g} seconds"
    raise InferenceFailedError(f"The development server {problem}. It said:\n{output}")


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(_HOST, port, timeout=5)  # whatever proxies the environment names
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
