"""Conda packages: from the keys of a kappafile and an environment file to `environment.yml`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.conda import conda_environment
from kappa.build.project import Project
from kappa.spec.service import EnvSpec

FILE = """\
name: whatever
channels: [bioconda, conda-forge]
dependencies:
  - python=3.11
  - pip
  - samtools=1.20
"""


def made(folder: Path, **keys: Any) -> tuple[str, list[str]]:
    environment = conda_environment("Iris", EnvSpec(**keys), python="3.11", root=folder)
    return environment.text, environment.problems


def test_a_service_without_conda_packages_has_no_environment(tmp_path: Path) -> None:
    assert made(tmp_path) == ("", [])


def test_keys_alone_are_enough(tmp_path: Path) -> None:
    assert made(tmp_path, conda_channels=("h2oai",), conda_dependencies=("h2o==3.24.0.2",)) == (
        "name: kappa-Iris\nchannels:\n- h2oai\n- defaults\ndependencies:\n- python=3.11\n- pip\n- h2o==3.24.0.2\n",
        [],
    )


def test_without_channels_condas_own_are_used(tmp_path: Path) -> None:
    text, _ = made(tmp_path, conda_dependencies=("libgdal",))
    assert "channels:\n- defaults\n" in text


def test_condas_own_channels_can_be_switched_off(tmp_path: Path) -> None:
    text, _ = made(tmp_path, conda_channels=("h2oai",), conda_dependencies=("h2o",), conda_override_channels=True)
    assert "channels:\n- h2oai\n- nodefaults\n" in text


def test_a_file_is_the_base_of_the_keys(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text(FILE)
    text, problems = made(tmp_path, conda_env_yml_file="env.yml", conda_dependencies=("libgdal",))
    assert problems == []
    assert text == (
        "name: kappa-Iris\nchannels:\n- bioconda\n- conda-forge\n"
        "dependencies:\n- python=3.11\n- pip\n- libgdal\n- samtools=1.20\n"
    )
    text, _ = made(tmp_path, conda_env_yml_file="env.yml", conda_channels=("own",))
    assert "channels:\n- own\n- defaults\ndependencies" in text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "`env.yml` cannot be read: No such file or directory.", id="absent"),
        pytest.param("a: [", "`env.yml` cannot be read: ", id="syntax"),
        pytest.param("- a\n", "`env.yml` is not a conda environment: it has no `dependencies`.", id="list"),
        pytest.param("dependencies: [python=3.9]\n", "`python=3.9` is not Python 3.11", id="python"),
        pytest.param(
            "dependencies:\n- pip:\n  - pear\n", "`env.yml` names packages of pip, which would be installed", id="pip"
        ),
        pytest.param("variables: {A: b}\n", "`env.yml` has the key `variables`, which Kappa does not know.", id="key"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "env.yml").write_text(content)
    _, (said,) = made(tmp_path, conda_env_yml_file="env.yml")
    assert problem in said


@pytest.mark.parametrize("text", ["python", "python=3.11", "python >=3.11,<3.12", "conda-forge::python==3.11.4"])
def test_the_same_python_in_condas_words_is_no_clash(tmp_path: Path, text: str) -> None:
    assert made(tmp_path, conda_dependencies=(text, "libgdal"))[1] == []


def test_overriding_without_channels_is_said(tmp_path: Path) -> None:
    assert made(tmp_path, conda_override_channels=True)[1] == [
        "`conda_override_channels` needs `conda_channels`, which there are none of."
    ]


def test_a_bundle_carries_the_environment_and_starts_from_a_conda_image(
    write_project: Callable[..., Project], seed_lock: Callable[[BuildPlan], object], tmp_path: Path
) -> None:
    project = write_project(more='\n[env]\nconda_channels = ["h2oai"]\nconda_dependencies = ["h2o==3.24.0.2"]\n')
    plan = plan_build(project, version="1", labels={}, environ=os.environ)
    seed_lock(plan)
    manifest = build_bundle(plan, tmp_path / "bundle", environ=os.environ).manifest
    text = (tmp_path / "bundle" / "environment.yml").read_text()
    assert text == plan.conda_environment == manifest.env.conda_environment
    assert text.endswith("- h2o==3.24.0.2\n")
    dockerfile = (tmp_path / "bundle" / "Dockerfile").read_text()
    assert "FROM mambaorg/micromamba AS base\n" in dockerfile
    assert "COPY environment.yml ./\nRUN bash ./kappa-init.sh restore_conda_env\n" in dockerfile
    assert "include environment.yml\n" in (tmp_path / "bundle" / "MANIFEST.in").read_text()
