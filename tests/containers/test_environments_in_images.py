"""What a kappafile asks of an image beyond packages of pip: Debian's packages, a script, a compiler, a template."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.containers.engines import BASE_IMAGE, KAPPAFILE, Door, build, model_server, serve_folder, write_project

pytestmark = [pytest.mark.engine, pytest.mark.index]


def bundle_with(folder: Path, shared: Path, *changes: tuple[str, str], code: str = "", **files: str) -> Path:
    text = KAPPAFILE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    project = write_project(folder / "project", kappafile=text)
    for name, content in files.items():
        (project / name).write_text(content)
    if code:
        (project / "adder.py").write_text(code)
    return build(project, folder / "bundle", KAPPA_HOME=str(shared / "home"))


def test_system_packages_a_script_and_a_template_make_the_image(docker: Door, tmp_path: Path, shared: Path) -> None:
    env = """[env]
system_packages = ["cowsay"]
setup_sh = "prepare.sh"
dockerfile_template = "own.j2"
"""
    template = """\
{% extends "Dockerfile.j2" %}
{% block base %}
{{ super() }}
RUN echo base > /from-template
{% endblock %}
{% block image %}
{{ super() }}
USER root
RUN echo image >> /from-template
USER ${KAPPA_UID}:${KAPPA_GID}
{% endblock %}
"""
    files = {"prepare.sh": "#!/bin/bash\nset -e\n/usr/games/cowsay prepared > /prepared\n", "own.j2": template}
    docker.containerize(bundle_with(tmp_path, shared, ("[env]", env), **files), "--tag", "adder-own")
    with docker.running("adder-own") as container:
        assert "< prepared >" in container.run("cat", "/prepared")
        assert container.run("cat", "/from-template").split() == ["base", "image"]
        assert container.run("id", "-u") == "1034"
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42


# -- packages that must be compiled ------------------------------------------------------------------------------------

EXTENSION = """\
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "kappa_tests_fig", "", -1, methods};
PyMODINIT_FUNC PyInit_kappa_tests_fig(void) { return PyModule_Create(&module); }
"""
PROJECT = """\
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "kappa-tests-fig"
version = "1.0"
"""
SETUP = "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('kappa_tests_fig', ['fig.c'])])\n"
METADATA = "Metadata-Version: 2.2\nName: kappa-tests-fig\nVersion: 1.0\n"


def write_sources(folder: Path) -> None:
    """Write a source distribution of one C extension, whose metadata need no build."""
    folder.mkdir(parents=True)
    files = {"pyproject.toml": PROJECT, "setup.py": SETUP, "fig.c": EXTENSION, "PKG-INFO": METADATA}
    with tarfile.open(folder / "kappa_tests_fig-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"kappa_tests_fig-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, BytesIO(text.encode()))


COMPILED = "import kappa_tests_fig\ndef add(value, weights): return kappa_tests_fig.answer()\ndef slow(value): ...\n"


def test_package_without_a_wheel_is_compiled_and_the_compiler_stays_behind(
    docker: Door, tmp_path: Path, shared: Path
) -> None:
    host = docker.gateway
    write_sources(tmp_path / "index" / "kappa-tests-fig")
    with serve_folder(tmp_path / "index", host) as address:
        env = f"""[env]
pip_packages = ["kappa-tests-fig==1.0"]
pip_extra_index_url = ["{address}"]
pip_trusted_host = ["{host}"]
build_packages = ["cowsay"]
"""
        bundle = bundle_with(tmp_path, shared, ("[env]", env), code=COMPILED)
        docker.containerize(bundle, "--tag", "adder-compiled")
    with docker.running("adder-compiled") as container:
        assert container.request("POST", "/add", {"x": 2}) == (200, 42)
        tools = "for tool in gcc g++ make cc pip /usr/games/cowsay; do command -v $tool; done; true"
        assert container.run("bash", "-c", tools) == ""
    base, image = docker.inspect(BASE_IMAGE), docker.inspect("adder-compiled")
    assert image["Size"] - base["Size"] < 60_000_000


def test_gpu_image_without_python_gets_it(docker: Door, tmp_path: Path, shared: Path) -> None:
    """The base image that `cuda` chooses has no Python; here a Debian without one stands in for NVIDIA's Ubuntu."""
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\n"
        "RUN dpkg --purge --force-all $(dpkg-query -W -f '${Package}\\n' | grep -i python3) >/dev/null 2>&1; "
        "! command -v python3\n"
    )
    docker.ask("build", "--tag", "kappa-tests/without-python", str(tmp_path))
    # A requirements file says itself where packages come from, so that PyTorch's index is not asked.
    env = 'cuda = "12.4"\nrequirements_txt_file = "requirements.txt"'
    bundle = bundle_with(
        tmp_path, shared, (f'docker_base_image = "{BASE_IMAGE}"', env), **{"requirements.txt": "# nothing\n"}
    )
    dockerfile = bundle / "Dockerfile"
    assert "FROM nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04 AS base\n" in dockerfile.read_text()
    docker.ask("tag", "kappa-tests/without-python", "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04")
    try:
        docker.containerize(bundle, "--tag", "adder-gpu")
    finally:
        docker.ask("rmi", "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04")
    with docker.running("adder-gpu") as container:
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42
    base = model_server(docker, "gpu", BASE_GPU="kappa-tests/without-python")
    assert docker.ask("run", "--rm", base, "python3.11", "-c", "import ensurepip; print('here')") == "here"
