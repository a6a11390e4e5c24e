"""What a kappafile says of its image, as far as a build writes it down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.cuda import CUDA_RELEASES
from kappa.build.packages.lock import Lock
from kappa.build.project import Project, check_kappafile
from kappa.errors import ConfigurationError
from kappa.spec.service import CudaVersion

WriteProject = Callable[..., Project]
SeedLock = Callable[..., Lock]


def plan_of(project: Project) -> BuildPlan:
    return plan_build(project, version="1.0", labels={}, environ=os.environ)


def test_every_cuda_version_of_a_kappafile_has_its_row() -> None:
    assert set(CUDA_RELEASES) == set(get_args(CudaVersion))
    for version, release in CUDA_RELEASES.items():
        assert release.patch.startswith(f"{version}.")
        for constraint in release.constraints:
            assert Requirement(constraint).name == "torch"


@pytest.mark.parametrize(
    ("cuda", "python", "image"),
    [
        ("12.4", "3.11", "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04"),
        ("12.6", "3.12", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"),
        ("12.6", "3.10", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04"),
        ("11.8", "3.13", "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04"),
    ],
)
def test_cuda_and_python_choose_the_image(cuda: CudaVersion, python: str, image: str) -> None:
    assert CUDA_RELEASES[cuda].image(python) == image


def test_cuda_chooses_image_index_and_bounds(write_project: WriteProject) -> None:
    plan = plan_of(write_project(more='\n[env]\ncuda = "12.4"\n'))
    assert plan.base_image == "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04"
    assert plan.brings_python
    assert plan.lock_inputs.options == ("--extra-index-url https://download.pytorch.org/whl/cu124",)
    assert plan.lock_inputs.constraints == ("torch<2.7",)


def test_image_of_the_user_wins_over_that_of_cuda(write_project: WriteProject) -> None:
    plan = plan_of(write_project(more='\n[env]\ncuda = "12.4"\ndocker_base_image = "mine:1"\n'))
    assert (plan.base_image, plan.brings_python) == ("mine:1", False)
    assert plan.lock_inputs.options == ("--extra-index-url https://download.pytorch.org/whl/cu124",)


def test_cuda_beside_conda_needs_an_image_that_has_both(write_project: WriteProject) -> None:
    more = '\n[env]\ncuda = "12.4"\nconda_channels = ["conda-forge"]\nconda_dependencies = ["gdal"]\n'
    with pytest.raises(ConfigurationError, match="`cuda` chooses an image that has no conda"):
        plan_of(write_project(more=more))
    assert plan_of(write_project(more=f'{more}docker_base_image = "mine:1"\n')).base_image == "mine:1"


OWN = """\
{% extends "Dockerfile.j2" %}
{% block packages %}
{{ super() }}
RUN echo {{ name }}
{% endblock %}
"""


def test_own_template_adds_to_the_blocks_of_kappas(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    plain = plan_of(write_project())
    own = write_project(more='\n[env]\ndockerfile_template = "own.j2"\n', files={"own.j2": OWN}, folder="extended")
    seed_lock(plain)
    texts = []
    for name, plan in {"plain": plain, "extended": plan_of(own)}.items():
        build_bundle(plan, tmp_path / "built" / name, environ=os.environ)
        texts.append((tmp_path / "built" / name / "Dockerfile").read_text())
    before, after = texts
    pip = "RUN KAPPA_COMPILER=apt bash ./kappa-init.sh install_pip_packages\n"
    expected = before.replace(pip, f"{pip}RUN echo Greeter\n").replace(digest_in(before), digest_in(after))
    assert [line for line in after.splitlines() if line] == [line for line in expected.splitlines() if line]
    assert "RUN echo Greeter" in after


def digest_in(dockerfile: str) -> str:
    return dockerfile.partition('content-digest="')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% block %}", "`own.j2` is not a template of a Dockerfile: line 1: "),
        (
            "{% extends 'Dockerfile.j2' %}\n{% block labels %}{% endblock %}\n{% block label %}RUN true{% endblock %}",
            "line 3: there is no block `label` in `Dockerfile.j2`, which has `base`, `image`, `labels` or `packages`.",
        ),
        ("{% extends 'Dockerfile.j2' %}\n{% block image %}", "`own.j2` is not a template of a Dockerfile: line 2: "),
    ],
)
def test_own_template_with_a_mistake_is_refused_before_anything_is_written(
    write_project: WriteProject, tmp_path: Path, template: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(write_project(more='\n[env]\ndockerfile_template = "own.j2"\n', files={"own.j2": template}))
    assert said in str(caught.value)
    (problem,) = check_kappafile(tmp_path / "project" / "kappafile.toml")[1]
    assert (problem.code, said in problem.message) == ("KF331", True)


def test_blocks_of_ones_own_inside_of_kappas_are_rendered(write_project: WriteProject) -> None:
    own = "{% extends 'Dockerfile.j2' %}{% block labels %}{% block mine %}RUN true{% endblock %}{% endblock %}"
    plan_of(write_project(more='\n[env]\ndockerfile_template = "own.j2"\n', files={"own.j2": own}))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("FROM {{ nothing }}", "cannot be rendered: 'nothing' is undefined"),
        ("{% extends 'other.j2' %}", "cannot be rendered: other.j2"),
        ("{% for i in range(10 ** 12) %}{% endfor %}", "cannot be rendered: OverflowError: Range too big."),
        ("{{ 1 / 0 }}", "cannot be rendered: ZeroDivisionError: division by zero"),
        ("{{ 'a' + 1 }}", "cannot be rendered: TypeError: "),
        ("{{ ''.__class__.__mro__ }}", "cannot be rendered: access to attribute '__class__' of 'str' object is unsafe"),
    ],
)
def test_own_template_that_cannot_be_rendered_leaves_nothing(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path, template: str, said: str
) -> None:
    plan = plan_of(write_project(more='\n[env]\ndockerfile_template = "own.j2"\n', files={"own.j2": template}))
    seed_lock(plan)
    with pytest.raises(ConfigurationError) as caught:
        build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    assert said in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_pinned_base_image_is_what_the_bundle_starts_from(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    plan = plan_of(write_project())
    pinned = f"{plan.base_image}@sha256:{'0' * 64}"
    lock = seed_lock(plan)
    text = lock.text.replace(" resolver=pip-compile 7.6\n", f" resolver=pip-compile 7.6 base-image={pinned}\n")
    (plan.project.root / "kappafile.lock").write_text(text)
    manifest = build_bundle(plan, tmp_path / "bundle", environ=os.environ).manifest
    assert manifest.env.docker_base_image == pinned
    assert f"FROM {pinned} AS base\n" in (tmp_path / "bundle" / "Dockerfile").read_text()
