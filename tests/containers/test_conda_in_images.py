"""Conda packages in images: from a local channel where the image has a conda, else ignored with a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.containers.conda_channel import write_channel, write_image
from tests.containers.engines import BASE_IMAGE, KAPPAFILE, Door, build, model_server, serve_folder, write_project

pytestmark = [pytest.mark.engine, pytest.mark.index]

MICROMAMBA = "kappa-tests/micromamba"
CODE = """\
import os
import subprocess

import quince


def add(value, weights):
    printed = subprocess.run(["quince"], capture_output=True, text=True, check=True).stdout
    return [value["x"] * quince.price(), os.environ["QUINCE_HOME"], printed.strip()]


def slow(value): ...
"""


@pytest.fixture
def channel_folder(docker: Door, tmp_path: Path) -> Path:
    """Return a channel's folder, once the engine has an image like micromamba's."""
    packing = ["run", "--rm", BASE_IMAGE, "tar", "-C", "/usr", "-c", "bin/python3.11", "lib/python3.11"]
    python = subprocess.run([docker.command, *packing], env=dict(docker.environ), capture_output=True, check=True)
    write_channel(tmp_path / "channel", python.stdout)
    (tmp_path / "image").mkdir()
    write_image(tmp_path / "image", BASE_IMAGE)
    docker.ask("build", "--tag", MICROMAMBA, str(tmp_path / "image"))
    return tmp_path / "channel"


def test_conda_packages_of_a_local_channel_are_there_with_their_commands_and_variables(
    docker: Door, channel_folder: Path, tmp_path: Path, shared: Path
) -> None:
    with serve_folder(channel_folder, docker.gateway) as channel:
        env = f"""\
docker_base_image = "{MICROMAMBA}"
conda_channels = ["{channel}"]
conda_dependencies = ["quince=1.0"]
conda_override_channels = true
"""
        kappafile = KAPPAFILE.replace(f'docker_base_image = "{BASE_IMAGE}"', env)
        project = write_project(tmp_path / "project", kappafile=kappafile, code=CODE)
        bundle = build(project, tmp_path / "bundle", KAPPA_HOME=str(shared / "home"))
        docker.containerize(bundle, "--tag", "adder-conda")
        base = model_server(docker, "conda", BASE_CONDA=MICROMAMBA, CHANNEL=channel)
    with docker.running("adder-conda") as container:
        told = [14, "/opt/conda/share/quince", "a quince"]
        assert container.request("POST", "/add", {"x": 2}) == (200, told)
        where = "import os, sys; print(sys.prefix, sys.base_prefix, os.getuid())"
        assert container.run("python3", "-c", where) == "/opt/kappa /opt/conda 1034"
    assert docker.ask("run", "--rm", base, "python3", "-c", "import sys; print(sys.prefix)") == "/opt/conda"


def test_image_without_conda_ignores_its_packages_and_says_so(docker: Door, tmp_path: Path, shared: Path) -> None:
    base = model_server(docker, "slim", BASE_SLIM=BASE_IMAGE)
    kappafile = KAPPAFILE.replace("[env]", '[env]\nconda_channels = ["conda-forge"]\nconda_dependencies = ["quince"]')
    project = write_project(tmp_path / "project", kappafile=kappafile.replace(BASE_IMAGE, base))
    bundle = build(project, tmp_path / "bundle", KAPPA_HOME=str(shared / "home"))
    done = docker.kappa("containerize", bundle, "--tag", "adder-no-conda")
    assert done.returncode == 0, done.stderr
    told = "warning: This image has no conda, mamba or micromamba: environment.yml is ignored.\n"
    assert done.stderr.count(told) == 1
    with docker.running("adder-no-conda") as container:
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42
