"""Engines, registries and bundles for tests: what is run, and how it is asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from kappa.build.packages.wheel import write_zip
from tests.containers.base_image import NAME
from tests.eventually import eventually

BASE_IMAGE = NAME
PODMAN_LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
"""What podman may give to containers where its own defaults are above what this process may have."""


@dataclass(frozen=True)
class Door:
    """One way to an engine: what `--builder` names, the command to look with, and the environment of both."""

    builder: str
    command: str
    environ: Mapping[str, str]
    title: str

    def kappa(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `kappa`; `check=False` because failures are what some tests are about."""
        return subprocess.run(
            [sys.executable, "-m", "kappa", *map(str, words)],
            env={**self.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def containerize(self, bundle: Path, *words: str, **variables: str) -> dict[str, Any]:
        done = self.kappa(
            "containerize", bundle, "--builder", self.builder, "--format", "json", "--verbose", *words, **variables
        )
        assert done.returncode == 0, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def ask(self, *words: str) -> str:
        """Return what the engine's command prints."""
        done = subprocess.run(
            [self.command, *words], env=dict(self.environ), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    @property
    def gateway(self) -> str:
        """The address of this machine in the network of Docker's containers.

        The first of its subnet. The engine names it only where the bridge was there before the engine (moby #26799).
        """
        subnet = self.ask("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
        return str(next(ip_network(subnet).hosts()))

    def inspect(self, image: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.ask("image", "inspect", image))[0]
        return facts

    def layers(self, image: str) -> list[str]:
        return list(self.inspect(image)["RootFS"]["Layers"])

    @contextmanager
    def running(
        self, image: str, *options: str, command: tuple[str, ...] = (), port: int = 5000
    ) -> Iterator[Container]:
        """Run an image until the block ends, once it says that it is ready."""
        publish = f"127.0.0.1::{port}"
        name = self.ask("run", "--detach", "--publish", publish, *options, image, *command).splitlines()[-1]
        try:
            host_port = int(self.ask("port", name, f"{port}/tcp").rpartition(":")[2])
            container = Container(self, name, host_port)
            container.wait_until_ready()
            yield container
        finally:
            with suppress(AssertionError):
                self.ask("rm", "--force", "--volumes", name)


@dataclass(frozen=True)
class Container:
    door: Door
    id: str
    port: int

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text[:1] in '[{"0123456789' else text

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.door.ask("inspect", "--format", "{{.State.Running}}", self.id) == "true", self.logs()
            with suppress(http.client.HTTPException):
                return self.request("GET", "/readyz")[0] == 200
            return False

        eventually(is_ready, every_s=0.1, why=self.logs)

    def logs(self) -> str:
        words = [self.door.command, "logs", self.id]
        done = subprocess.run(words, env=dict(self.door.environ), capture_output=True, text=True, check=False)
        return f"{done.stdout}{done.stderr}"

    def run(self, *words: str) -> str:
        return self.door.ask("exec", self.id, *words)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.door.ask("inspect", "--format", "{{json .State}}", self.id))
        return found


# -- registries and indexes ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Registry:
    """A registry of images on this machine, without TLS."""

    host: str


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@contextmanager
def serve_registry(folder: Path, more: str = "") -> Iterator[Registry]:
    """Run Debian's `docker-registry` until the block ends."""
    if (command := shutil.which("docker-registry")) is None:
        pytest.skip("`docker-registry` is not installed")
    port = free_port()
    config = folder / f"registry-{port}.yml"
    config.write_text(
        f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/registry-{port}\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{more}"
    )
    process = subprocess.Popen([command, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: is_listening(port))
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def serve_folder(folder: Path, host: str) -> Iterator[str]:
    """Serve a folder over HTTP to this machine's containers: as an index of pip's, or as a channel of conda's."""
    words: list[str | Path] = [sys.executable, "-u", "-m", "http.server", "0", "--bind", host, "--directory", folder]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found is not None
            yield f"http://{host}:{found[1]}"
        finally:
            server.terminate()


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel that holds one empty module."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    entries = {
        f"{name.replace('-', '_')}.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*entries, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}-py3-none-any.whl").write_bytes(write_zip({**entries, f"{info}/RECORD": record.encode()}))


def model_server(door: Door, variant: str, **variables: str) -> str:
    """Build one of Kappa's base images for Python 3.11 and return its name."""
    script = Path(__file__).parents[2] / "docker" / "model-server" / "build.sh"
    environ = {**door.environ, "PYTHONS": "3.11", "VARIANTS": variant, "ENGINE": door.command, **variables}
    done = subprocess.run(["bash", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout.splitlines()[-1]


# -- bundles -----------------------------------------------------------------------------------------------------------

KAPPAFILE = f"""\
kappafile = 1

[service]
name = "Adder"
labels = {{ team = "growth" }}

[env]
python = "3.11"
docker_base_image = "{BASE_IMAGE}"

[env.variables]
GREETING = "good day"

[bundle]
resolver = "uv"

[artifacts.weights]
type = "json"
path = "weights.json"

[apis.add]
function = "adder:add"
input = "json"

[apis.slow]
function = "adder:slow"
input = "json"
"""
CODE = """\
import os
import time


def add(value, weights):
    return {"sum": value["x"] + weights["bias"], "greeting": os.environ["GREETING"]}


def slow(value):
    time.sleep(value["seconds"])
    return value
"""


def write_project(folder: Path, *, kappafile: str = KAPPAFILE, code: str = CODE, bias: float = 40) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kappafile.toml").write_text(kappafile)
    (folder / "adder.py").write_text(code)
    (folder / "weights.json").write_text(json.dumps({"bias": bias}))
    return folder


def build(project: Path, bundle: Path, *words: str, **variables: str) -> Path:
    """Build a project as the directory ``bundle``."""
    done = subprocess.run(
        [sys.executable, "-m", "kappa", "build", project, "--output", bundle, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return bundle
