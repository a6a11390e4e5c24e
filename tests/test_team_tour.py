"""What the page for teams shows is what happens: a real server, and two machines with homes of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.test_examples_in_docs import BLOCK, ROOT, normalised

pytestmark = pytest.mark.engine

PAGE = ROOT / "docs" / "tutorial" / "share-with-your-team.md"
PROMPT = re.compile(r"^(?P<machine>\w+)\$ ", re.MULTILINE)
VARYING = {
    r"sha256-[0-9a-f]{64}": "DIGEST",
    r"sha256:[0-9a-f]{64}": "DIGEST",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "TIME",
    r"/\S*/(?=kappa/|bundle$|wine\.kappa$)": "HOME/",
    r"\b\d+ files": "some files",
}


@dataclass
class Machine:
    """A folder to work in, and a home."""

    folder: Path
    home: Path
    ports: dict[str, int]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, command: str) -> str:
        """Run a command and return all it printed; one that ends with `&` is a server, and is waited for."""
        for usual, port in self.ports.items():
            command = command.replace(usual, str(port))
        if command.endswith("&"):
            self.servers.append(subprocess.Popen(command.rstrip("& ").split(), cwd=self.folder, env=self.environment))
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        home = str(self.home)
        return {**os.environ, "PATH": path, "HOME": home, "USERPROFILE": home, "KAPPA_HOME": str(self.home / "kappa")}

    def end(self) -> None:
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
        for server in self.servers:
            server.wait(60)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    """Return the machines of the page by name; Ada is in a folder of the example."""
    ports = free_ports("50051", "3000", "5000")
    shutil.copytree(ROOT / "examples" / "zero_code", tmp_path / "ada" / "zero_code")
    by_name = {}
    for name, folder in (("server", ""), ("ada", "zero_code"), ("bob", "")):
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        by_name[name] = Machine(home / folder, home, ports)
    yield by_name
    for machine in reversed(list(by_name.values())):
        machine.end()


def free_ports(*usual: str) -> dict[str, int]:
    sockets = [socket.socket() for _ in usual]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {port: one.getsockname()[1] for port, one in zip(usual, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


def plain(text: str) -> str:
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return normalised(text)


def is_ready(machine: Machine, command: str) -> bool:
    """Return whether the server that a command starts answers."""
    assert machine.servers[-1].poll() is None, "the server has ended"
    port = machine.ports["3000" if "gamma-service-start" in command else "5000"]
    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
    return True


def test_what_the_page_for_teams_shows_is_what_happens(machines: dict[str, Machine]) -> None:
    blocks = [
        match["text"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")) if match["language"] == "console"
    ]
    assert len(blocks) >= 6
    for block in blocks:
        _, *parts = PROMPT.split(block)
        for name, part in zip(parts[::2], parts[1::2], strict=True):
            command, _, output = part.partition("\n")
            machine = machines[name]
            printed = machine.run(command if "gamma-service-start" not in command else with_ports(command, machine))
            if command.endswith("&"):
                eventually(partial(is_ready, machine, command))
            else:
                assert plain(printed) == plain(output), command


def with_ports(command: str, machine: Machine) -> str:
    """Return the command of the server with the ports that are free here."""
    ports = f"--grpc-port {machine.ports['50051']} --ui-port {machine.ports['3000']}"
    return f"{command.rstrip('& ')} {ports} &"
