"""Real engines for tests: the ways to build, a base image, a registry, and a bundle to make images of."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.containers.base_image import has_image, import_image, make_file_system
from tests.containers.engines import PODMAN_LIMITS, Door, Registry, build, serve_registry, write_project


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
def podman(
    shared: Path, file_system: Callable[[], Path], registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Door:
    """podman with settings of its own, which has the base image."""
    folder = tmp_path_factory.mktemp("podman")
    (folder / "containers.conf").write_text(PODMAN_LIMITS)
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    environ = {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
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


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def adder(shared: Path) -> Path:
    """Return the bundle of a small service, built once for all processes."""
    bundle = shared / "adder"
    with FileLock(shared / "adder.lock"):
        if not bundle.is_dir():
            build(write_project(shared / "project"), bundle, KAPPA_HOME=str(shared / "home"))
    return bundle
