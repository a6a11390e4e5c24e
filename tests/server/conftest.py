"""Servers for tests: applications in this process, and real ones in processes of their own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "process" / "server_process.py"


class Running:
    """A server process; its start-up line said where it listens."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
        self.lines: list[str] = []
        """What it has written to stderr so far."""
        self._arrived = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Take what it writes at once: a full pipe would hold it up."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
        with self._arrived:
            self._is_over = True
            self._arrived.notify_all()

    def wait_for(self, text: str, *, times: int = 1, timeout_s: float = 60) -> None:
        """Wait until ``text`` was in its log ``times`` times; fails if it ends before."""

        def is_there() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._arrived:
            self._arrived.wait_for(lambda: is_there() or self._is_over, timeout=timeout_s)
            assert is_there(), f"the server did not say {text!r}: {''.join(self.lines)}"

    @property
    def port(self) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.lines))
        assert found is not None
        return int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
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
        code = self.process.wait(60)
        self._reader.join(60)
        return code, "".join(self.lines)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers for the functions in ``code``; those still running are killed at the end."""
    started: list[Running] = []

    def start_one(code: str, *, ready: bool = True, **wanted: Any) -> Running:
        (tmp_path / "handlers.py").write_text(code, encoding="utf-8")
        command = [sys.executable, str(SCRIPT), str(tmp_path), json.dumps(wanted)]
        started.append(running := Running(command))
        if ready:
            running.wait_for("Ready.", times=wanted.get("options", {}).get("workers", 1))
        return running

    yield start_one
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.end()
            except subprocess.TimeoutExpired:
                running.process.kill()
        running.end()
        assert running.process.stderr is not None
        running.process.stderr.close()
