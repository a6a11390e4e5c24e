"""Real engines for tests: the ways to build, a base image, a registry, and bundles to make images of."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))

from base_image import NAME, has_image, import_image, make_file_system

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

    def inspect(self, image: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.ask("image", "inspect", image))[0]
        return facts

    def layers(self, image: str) -> list[str]:
        return list(self.inspect(image)["RootFS"]["Layers"])

    @contextmanager
    def running(self, image: str, *options: str, command: tuple[str, ...] = (), port: int = 5000) -> Iterator[Container]:
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
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.door.ask("inspect", "--format", "{{.State.Running}}", self.id) == "true", self.logs()
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"the container is not ready: {self.logs()}")

    def logs(self) -> str:
        words = [self.door.command, "logs", self.id]
        done = subprocess.run(words, env=dict(self.door.environ), capture_output=True, text=True, check=False)
        return f"{done.stdout}{done.stderr}"

    def run(self, *words: str) -> str:
        return self.door.ask("exec", self.id, *words)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.door.ask("inspect", "--format", "{{json .State}}", self.id))
        return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use an engine with its name."""
    for item in items:
        for name in ("docker", "podman"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)


# -- engines -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "containers"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def file_system(shared: Path) -> Callable[[], Path]:
    """Return a function that makes the files of the base image, once for all processes."""

    def make() -> Path:
        archive = shared / "root.tar"
        with FileLock(shared / "root.lock"):
            if not archive.is_file():
                if shutil.which("debootstrap") is None or os.geteuid() != 0:
                    pytest.skip("the base image is made by root, with `debootstrap`")
                make_file_system(archive)
        return archive

    return make


def _with_base_image(door: Door, shared: Path, file_system: Callable[[], Path]) -> Door:
    with FileLock(shared / f"{Path(door.command).name}.lock"):
        if not has_image(door.command, door.environ):
            import_image(file_system(), door.command, door.environ)
    return door


def _docker_with_buildkit(folder: Path) -> Path:
    """Return a folder whose only `docker` is one that has BuildKit, which the first on the PATH need not be."""
    folder.mkdir(exist_ok=True)
    for place in os.environ["PATH"].split(os.pathsep):
        command = Path(place, "docker")
        if not command.is_file():
            continue
        version = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        is_old = version.startswith("Docker version ") and int(version.split()[2].partition(".")[0]) < 23
        if is_old or subprocess.run([command, "buildx", "version"], capture_output=True).returncode == 0:
            (folder / "docker").unlink(missing_ok=True)
            (folder / "docker").symlink_to(command)
            return folder
    pytest.skip("no `docker` on the PATH has BuildKit")


@pytest.fixture(scope="session")
def docker(shared: Path, file_system: Callable[[], Path]) -> Door:
    """Docker with BuildKit, which has the base image."""
    with FileLock(shared / "path.lock"):
        folder = _docker_with_buildkit(shared / "bin")
    environ = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    door = Door("docker", str(folder / "docker"), environ, "Docker (BuildKit)")
    return _with_base_image(door, shared, file_system)


@pytest.fixture(scope="session")
def podman(shared: Path, file_system: Callable[[], Path], registry: Registry) -> Door:
    """podman with a store of its own, which has the base image."""
    folder = shared / "podman"
    folder.mkdir(exist_ok=True)
    (folder / "containers.conf").write_text(PODMAN_LIMITS)
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    environ = {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
    }
    return _with_base_image(Door("podman", "podman", environ, "podman"), shared, file_system)


DOORS = [
    pytest.param("buildkit", marks=pytest.mark.docker),
    pytest.param("classic", marks=pytest.mark.docker),
    pytest.param("sdk", marks=pytest.mark.docker),
    pytest.param("podman", marks=pytest.mark.podman),
]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """Every way to build an image, one after the other."""
    if request.param == "podman":
        podman: Door = request.getfixturevalue("podman")
        return podman
    docker: Door = request.getfixturevalue("docker")
    if request.param == "sdk":
        return Door("sdk", docker.command, docker.environ, "Docker (SDK)")
    if request.param == "classic":
        return Door("docker", docker.command, {**docker.environ, "DOCKER_BUILDKIT": "0"}, "Docker (classic builder)")
    return docker


@dataclass(frozen=True)
class Registry:
    """A registry of images on this machine, without TLS."""

    host: str


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


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
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen([command, "serve", config], stdout=nowhere, stderr=nowhere)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


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


@pytest.fixture(scope="session")
def adder(shared: Path) -> Path:
    """Return the bundle of a small service, built once for all processes."""
    bundle = shared / "adder"
    with FileLock(shared / "adder.lock"):
        if not bundle.is_dir():
            build(write_project(shared / "project"), bundle, KAPPA_HOME=str(shared / "home"))
    return bundle
