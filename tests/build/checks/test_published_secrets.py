"""No secret in a URL is kept or published, wherever in a declaration it stands; and no message shows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.manifest.diagnostics import render_text
from kappa.build.packages.lock import Lock, check_lock
from kappa.build.packages.resolvers.indexes import redacted, secrets_in
from kappa.build.project import Project, check_kappafile
from kappa.containers.process import follow
from kappa.errors import KappaError, ManifestError

WriteProject = Callable[..., Project]

URLS = {
    "password": "https://user:hunter2@host.example/{}",
    "password with a slash": "https://user:hunter2/x@host.example/{}",
    "token for a user": "https://hunter2@host.example/{}",
    "token in a query": "https://host.example/{}?token=hunter2",
    "signature in a query": "https://host.example/{}?X-Amz-Date=1&X-Amz-Signature=hunter2",
    "token in the path": "https://host.example/t/hunter2/{}",
}
ONLY_A_PASSWORD = {"password", "password with a slash", "token in a query", "signature in a query", "token in the path"}
"""What is a secret for certain in any text; of the rest nobody knows."""

ADDRESSES = {
    "package": '[env]\npip_packages = ["x @ URL"]',
    "package without a name": '[env]\npip_packages = ["URL"]',
    "package of a repository": '[env]\npip_packages = ["x @ git+URL"]',
    "option as a package": '[env]\npip_packages = ["--index-url URL"]',
    "index": '[env]\npip_index_url = "URL"',
    "further index": '[env]\npip_extra_index_url = ["https://open.example/simple", "URL"]',
    "trusted host": '[env]\npip_trusted_host = ["URL"]',
    "channel": '[env]\nconda_channels = ["URL"]\nconda_dependencies = ["zlib"]',
    "conda package": '[env]\nconda_dependencies = ["URL"]',
    "conda file": '[env]\nconda_env_yml_file = "conda.yml"',
    "requirements file": '[env]\nrequirements_txt_file = "requirements.txt"',
    "constraint": '[env]\nrequirements_txt_file = "constrained.txt"',
    "index of a file": '[env]\nrequirements_txt_file = "index.txt"',
    "links of a file": '[env]\nrequirements_txt_file = "links.txt"',
    "file from elsewhere": '[env]\nrequirements_txt_file = "other.txt"',
    "editable package of a file": '[env]\nrequirements_txt_file = "editable.txt"',
    "pyproject": '[env]\npyproject = "project/pyproject.toml"',
    "base image": '[env]\ndocker_base_image = "URL"',
}
TEXTS = {
    "variable": '[env]\nvariables = { CACHE = "URL" }',
    "part of a variable": '[env]\nvariables = { CACHE = "one,URL,two" }',
    "script": "[env]\nsetup_sh = '''#!/bin/bash\ncurl URL\n'''",
    "script file": '[env]\nsetup_sh = "install.sh"',
    "template": '[env]\ndockerfile_template = "Dockerfile.j2"',
}
FILES = {
    "conda.yml": "channels: [URL]\ndependencies: [zlib]\n",
    "requirements.txt": "x @ URL\n",
    "constrained.txt": "-c constraints.txt\n",
    "constraints.txt": "x @ URL\n",
    "index.txt": "--index-url URL\n",
    "links.txt": "-f URL\n",
    "other.txt": "-r URL\n",
    "editable.txt": "-e git+URL\n",
    "project/pyproject.toml": '[project]\nname = "mine"\nversion = "1"\ndependencies = ["x @ URL"]\n',
    "install.sh": "curl --fail URL\n",
    "Dockerfile.j2": '{% extends "Dockerfile.j2" %}\n{% block image %}\nRUN curl URL\n{{ super() }}\n{% endblock %}\n',
}
CASES = [(place, url) for place in ADDRESSES for url in URLS] + [
    (place, url) for place in TEXTS for url in URLS if url in ONLY_A_PASSWORD
]


@pytest.mark.parametrize(("place", "url"), CASES, ids=[f"{place}, {url}" for place, url in CASES])
def test_secret_is_refused_and_never_shown(place: str, url: str, write_project: WriteProject, tmp_path: Path) -> None:
    project = write_project()
    secret = URLS[url].format("x-1-py3-none-any.whl")
    for name, text in FILES.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text.replace("URL", secret), encoding="utf-8")
    kappafile = project.root / "kappafile.toml"
    more = {**ADDRESSES, **TEXTS}[place].replace("URL", secret)
    kappafile.write_text(f"{kappafile.read_text(encoding='utf-8')}\n{more}\n", encoding="utf-8")
    found = list(check_kappafile(kappafile)[1])
    errors = [problem for problem in found if problem.is_error]
    assert errors, "it was accepted"
    for shown in (render_text(found), *(f"{problem.message} {problem.help}" for problem in found)):
        assert "hunter2" not in shown


OPEN = {
    "package": '[env]\npip_packages = ["x @ https://host.example/archive/v1@2.zip#sha256=00"]',
    "variable": '[env]\nvariables = { DB = "postgresql://app@db/x?sslmode=require", A = "user@host:path" }',
    "script": "[env]\nsetup_sh = '''#!/bin/bash\ncurl https://$USER:$TOKEN@host/x\ncurl https://x/y?raw=1\n'''",
}


@pytest.mark.parametrize("place", OPEN)
def test_what_is_no_secret_is_accepted(place: str, write_project: WriteProject) -> None:
    assert write_project(more=f"\n{OPEN[place]}\n").spec.name == "Greeter"


def test_secret_that_python_declares_is_refused_too(write_project: WriteProject) -> None:
    project = write_project()
    (name, source), *_ = project.sources.items()
    noted = replace(source, metadata={"data": {"from": ["postgresql://app:hunter2@db/x"]}})
    env = project.spec.env.model_copy(update={"variables": {"CACHE": "redis://:hunter2@cache/0"}})
    changed = replace(project, spec=project.spec.model_copy(update={"env": env}), sources={name: noted})
    with pytest.raises(KappaError) as refused:
        plan_build(changed, version=None, labels={}, environ=os.environ)
    assert "The variable `CACHE` has a password in its URL" in str(refused.value)
    assert "The metadata of `words` has a password in a URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)


LOCKS = {
    "index": "--index-url https://user:hunter2@host/simple\nfalcon==4.4.0 --hash=sha256:00\n",
    "package": "falcon @ https://host/f.whl?token=hunter2 --hash=sha256:00\n",
    "comment": "falcon==4.4.0 --hash=sha256:00\n    # via x @ https://user:hunter2@host/x.whl\n",
}


@pytest.mark.parametrize("kind", LOCKS)
def test_no_lock_with_a_secret_is_made_or_packed(
    kind: str, plan: BuildPlan, seed_lock: Callable[..., Lock], tmp_path: Path
) -> None:
    lock = seed_lock(plan, LOCKS[kind])
    for use in (
        lambda: check_lock(lock),
        lambda: build_bundle(plan, tmp_path / "bundle", environ=os.environ),
    ):
        with pytest.raises(KappaError) as refused:
            use()
        assert "hunter2" not in str(refused.value)
        assert "which a bundle would publish" in str(refused.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("url", URLS)
def test_what_resolvers_and_builders_print_is_masked(url: str) -> None:
    address = URLS[url].format("simple")
    environ = {"PIP_INDEX_URL": address, "PATH": os.environ["PATH"]}
    secret = "hunter2/x" if "slash" in url else "hunter2"
    said = redacted(f"Looking in indexes: {address}. No `x` with {secret}", secrets_in(environ))
    assert "hunter2" not in said
    lines: list[str] = []
    done = follow(["echo", f"Looking in indexes: {address}"], environ=environ, on_line=lines.append)
    assert "hunter2" not in f"{lines} {done.output}"
    assert lines[0].startswith("Looking in indexes: https://")


def uv_lock(url: str) -> Mapping[str, Any]:
    return {"name": "x", "version": "1", "source": {"url": url}, "sdist": {"url": url, "hash": "sha256:00"}}


@pytest.mark.parametrize("url", URLS)
def test_lock_of_another_tool_brings_no_secret(url: str) -> None:
    from kappa.build.packages.foreign_locks import _lock_of, _Needed
    from kappa.build.packages.targets import Target

    target = Target.of("3.11", ())
    found = _lock_of("uv.lock", [_Needed(uv_lock(URLS[url].format("x-1.tar.gz")), list(target.systems))], target)
    (problem,) = found.problems
    assert problem.startswith("`x` has ")
    assert problem.endswith(" in its URL there, which a bundle would publish.")


def test_manifest_error_is_what_a_kappafile_gets(write_project: WriteProject) -> None:
    with pytest.raises(ManifestError, match="KF330"):
        write_project(more='\n[env]\nvariables = { CACHE = "redis://:hunter2@cache/0" }\n')
