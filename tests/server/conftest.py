"""Servers for tests: applications in this process, and real ones in processes of their own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@dataclass
class Running:
    """A server process; its start-up line said where it listens."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it has written to stderr so far."""

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Read its log until ``text`` was there ``times`` times; fails if it ends before."""
        assert self.process.stderr is not None
        while sum(text in line for line in self.lines) < times:
            line = self.process.stderr.readline()
            assert line, f"the server ended without {text!r}: {''.join(self.lines)}"
            self.lines.append(line)

    @property
    def port(self) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.lines))
        assert found is not None
        return int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, {"Content-Type": "application/json", **named})
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}

    def post(self, path: str, value: Any) -> Any:
        status, body, _ = self.request("POST", path, json.dumps(value).encode())
        assert status == 200, body
        return json.loads(body)

    def stop(self, with_signal: int = signal.SIGTERM) -> tuple[int, str]:
        """Ask it to stop, and return its exit code and all that it logged."""
        self.process.send_signal(with_signal)
        return self.end()

    def end(self) -> tuple[int, str]:
        _, rest = self.process.communicate(timeout=30)
        return self.process.returncode, "".join(self.lines) + rest


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers for the functions in ``code``; those still running are killed at the end."""
    started: list[Running] = []

    def start_one(code: str, *, ready: bool = True, **wanted: Any) -> Running:
        (tmp_path / "handlers.py").write_text(code, encoding="utf-8")
        command = [sys.executable, str(HERE / "server_process.py"), str(tmp_path), json.dumps(wanted)]
        started.append(running := Running(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
        if ready:
            running.wait_for("Ready.", times=wanted.get("options", {}).get("workers", 1))
        return running

    yield start_one
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.communicate()
