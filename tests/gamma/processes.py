"""Processes of `kappa gamma-service-start`, as an operator starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.eventually import eventually

__all__ = ["GammaProcess", "gamma_process"]


@dataclass
class GammaProcess:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def banner(self) -> str:
        return "".join(self.out)

    @property
    def grpc(self) -> str:
        return self._named(r"Running on (\S+) ")

    @property
    def http(self) -> str:
        return self._named(r"Web UI: running on (\S+)")

    def _named(self, pattern: str) -> str:
        match = re.search(pattern, self.banner)
        assert match is not None, self.banner
        return match[1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def gamma_process(
    home: Path, *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[GammaProcess]:
    """Start a server at free ports of the loopback interface, and yield it when it answers; it is killed at the end."""
    command = [sys.executable, "-m", "kappa", "gamma-service-start", "--host", "127.0.0.1"]
    if "--grpc-port" not in arguments:
        command += ["--grpc-port", "0", "--ui-port", "0"]
    started = subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, "KAPPA_HOME": str(home), "PYTHONUNBUFFERED": "1", **(environ or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = GammaProcess(started)
    readers = [
        threading.Thread(target=lines.extend, args=(stream,), daemon=True)
        for lines, stream in ((server.out, started.stdout), (server.errors, started.stderr))
    ]
    for reader in readers:
        reader.start()
    try:
        eventually(lambda: "Usage:" in server.banner or started.poll() is not None, why=lambda: "".join(server.errors))
        yield server
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(60)
        for reader in readers:
            reader.join(60)
        for stream in (started.stdout, started.stderr):
            assert stream is not None
            stream.close()
