"""What goes wrong in real engines: what is said, the exit code, and that nothing is left running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.containers.engines import (
    BASE_IMAGE,
    KAPPAFILE,
    Door,
    build,
    serve_folder,
    serve_registry,
    write_project,
    write_wheel,
)
from tests.eventually import eventually

pytestmark = [pytest.mark.engine, pytest.mark.index]


def image_from(door: Door, name: str, *lines: str, folder: Path) -> str:
    """Make an image that differs from the base image by ``lines``."""
    (folder / "Dockerfile").write_text("\n".join([f"FROM {BASE_IMAGE}", *lines, ""]))
    door.ask("build", "--tag", name, str(folder))
    return name


def bundle_from(folder: Path, shared: Path, *changes: tuple[str, str]) -> Path:
    text = KAPPAFILE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    project = write_project(folder / "project", kappafile=text)
    return build(project, folder / "bundle", KAPPA_HOME=str(shared / "home"))


def failure(door: Door, bundle: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Return the exit code of a `kappa containerize` that fails, and what it says last."""
    done = door.kappa("containerize", bundle, "--builder", door.builder, "--quiet", *words, **variables)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_base_image_without_bash_is_named(door: Door, tmp_path: Path, shared: Path) -> None:
    image = image_from(door, "kappa-tests/without-bash", "RUN rm -f /bin/bash /usr/bin/bash", folder=tmp_path)
    bundle = bundle_from(tmp_path, shared, (BASE_IMAGE, image))
    said = f"error: The base image `{image}` has no bash, which Kappa's scripts need: install it in an image of your "
    said += "own, and name that one in `docker_base_image`.\n"
    assert failure(door, bundle) == (6, said)


def test_base_image_with_another_python_is_told_which(door: Door, tmp_path: Path, shared: Path) -> None:
    bundle = bundle_from(tmp_path, shared, ('python = "3.11"', 'python = "3.12"'))
    code, said = failure(door, bundle)
    assert code == 6
    assert re.fullmatch(r"error: Python3 is Python 3\.11\.\d+ here, and the bundle needs Python 3\.12\.\n", said)


def test_base_image_that_no_registry_has_is_named(door: Door, tmp_path: Path, shared: Path) -> None:
    image = "127.0.0.1:9/nobody/has:this"
    bundle = bundle_from(tmp_path, shared, (BASE_IMAGE, image))
    code, said = failure(door, bundle)
    assert code == 6
    assert said.startswith(f"error: The base image `{image}` cannot be pulled. ")


def test_package_that_has_nothing_for_the_image_is_named(docker: Door, tmp_path: Path, shared: Path) -> None:
    host = docker.gateway
    folder = tmp_path / "index" / "kappa-tests-pear"
    write_wheel(folder, "kappa-tests-pear", "1.0")
    with serve_folder(tmp_path / "index", host) as address:
        packages = f'[env]\npip_packages = ["kappa-tests-pear==1.0"]\npip_extra_index_url = ["{address}"]\n'
        packages += f'pip_trusted_host = ["{host}"]'
        bundle = bundle_from(tmp_path, shared, ("[env]", packages))
        next(folder.glob("*.whl")).unlink()
        code, said = failure(docker, bundle)
    assert code == 6
    assert said.startswith("error: The package `kappa-tests-pear==1.0` has nothing that fits the base image ")


def test_engine_that_does_not_run_is_named_with_what_starts_it(docker: Door, adder: Path) -> None:
    said = (
        "error: There is no engine to build images with. Docker does not answer: start it (`systemctl start docker`, "
    )
    said += "or Docker Desktop), or set `DOCKER_HOST`.\n"
    assert failure(docker, adder, DOCKER_HOST="unix:///nowhere/docker.sock") == (6, said)
    sdk = Door("sdk", docker.command, docker.environ, "")
    code, told = failure(sdk, adder, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (code, told) == (6, said.replace("There is no engine to build images with. ", ""))


HTPASSWD = "ada:$2y$05$WIP/k0GEdW2bDzQWUVfGWe9zT1ZoZ5BCKg2oUYxCfqL1R1gyQ5Fra\n"


def test_registry_that_refuses_is_named_with_how_to_log_in(door: Door, adder: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(HTPASSWD)
    more = f"auth:\n  htpasswd:\n    realm: tests\n    path: {tmp_path}/users\n"
    with serve_registry(tmp_path, more) as closed:
        environ = dict(door.environ)
        if door.builder == "podman":
            Path(tmp_path, "registries.conf").write_text(f'[[registry]]\nlocation = "{closed.host}"\ninsecure = true\n')
            environ["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "registries.conf")
        image = f"{closed.host}/adder:1"
        code, said = failure(Door(door.builder, door.command, environ, door.title), adder, "--tag", image, "--push")
    assert code == 6
    assert f"error: The registry `{closed.host}` refuses `{image}`: log in with `" in said
    assert f" login {closed.host}`, and check that you may write there." in said


def test_name_without_a_registry_is_advised_when_it_cannot_be_pushed(docker: Door, adder: Path) -> None:
    code, said = failure(docker, adder, "--tag", "adder-of-nobody", "--push", HTTPS_PROXY="", HTTP_PROXY="")
    assert code == 6
    assert "A name without a registry goes to Docker Hub: use `--tag YOUR-REGISTRY/adder-of-nobody`." in said


# -- stopped in the middle ---------------------------------------------------------------------------------------------


def processes(words: str) -> list[str]:
    """Return the processes of this machine, those in containers included, whose command line holds ``words``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if words in (line := entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")):
                found.append(line)
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_build_leaves_nothing_running(
    door: Door, tmp_path: Path, shared: Path, number: signal.Signals, code: int
) -> None:
    pause = f"sleep 9{time.time_ns() % 10**6}"
    bundle = bundle_from(tmp_path, shared, ("[env]", f'[env]\nsetup_sh = "#!/bin/bash\\n{pause}\\n"'))
    before = door.ask("ps", "--all", "--quiet").split()
    command: list[str | Path] = [sys.executable, "-m", "kappa", "containerize", bundle, "--builder", door.builder]
    with subprocess.Popen(command, env=dict(door.environ), stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: processes(pause))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    eventually(lambda: not processes(pause))
    # Containers of tests that run beside this one go by themselves.
    eventually(lambda: set(door.ask("ps", "--all", "--quiet").split()) <= set(before))


# -- a full disk -------------------------------------------------------------------------------------------------------


@contextmanager
def docker_on_a_small_disk(folder: Path, size: str) -> Iterator[str]:
    """Run a Docker engine whose disk is a piece of memory, in a network of its own: it would take away the other's."""
    if os.geteuid() != 0 or (command := shutil.which("dockerd")) is None:
        pytest.skip("a second engine is started by root, with `dockerd`")
    disk, socket = folder / "disk", f"unix://{folder}/docker.sock"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    words: list[str | Path] = [
        "unshare",
        "--net",
        command,
        "--iptables=false",
        "--data-root",
        disk,
        "--exec-root",
        folder / "exec",
        "--pidfile",
        folder / "pid",
        "--host",
        socket,
    ]
    engine = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        info = ["docker", "--host", socket, "info"]
        eventually(lambda: subprocess.run(info, capture_output=True, check=False).returncode == 0)
        yield socket
    finally:
        engine.terminate()
        engine.wait(30)
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("buildkit", ["1", "0"], ids=["buildkit", "classic"])
def test_full_disk_of_the_engine_is_told_with_what_frees_it(
    docker: Door, tmp_path: Path, shared: Path, buildkit: str
) -> None:
    folder = Path("/run", f"kappa-{os.getpid()}")  # the path of a socket must be short
    folder.mkdir()
    try:
        bundle = bundle_from(tmp_path, shared)
        with docker_on_a_small_disk(folder, "420M") as socket:
            environ = {**docker.environ, "DOCKER_HOST": socket, "DOCKER_BUILDKIT": buildkit}
            small = Door("docker", docker.command, environ, "")
            with subprocess.Popen([docker.command, "save", BASE_IMAGE], stdout=subprocess.PIPE) as saving:
                subprocess.run([docker.command, "load"], env=environ, stdin=saving.stdout, check=True)
            free = shutil.disk_usage(folder / "disk").free
            (folder / "disk" / "filler").write_bytes(bytes(free - 50_000_000))
            (tmp_path / "project" / "big.bin").write_bytes(bytes(200_000_000))
            text = (tmp_path / "project" / "kappafile.toml").read_text()
            (tmp_path / "project" / "kappafile.toml").write_text(
                text.replace("[bundle]", '[bundle]\ninclude = ["big.bin"]')
            )
            big = build(tmp_path / "project", tmp_path / "big", KAPPA_HOME=str(shared / "home"))
            said = "error: The disk of Docker is full: free it with `docker system prune`, and try again.\n"
            assert failure(small, big) == (6, said)
        assert bundle.is_dir()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
