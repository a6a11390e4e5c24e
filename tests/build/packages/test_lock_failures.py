"""What a resolver cannot do, or could do only in part, is told with what asked for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from kappa.build.bundle.plan import plan_build
from kappa.build.packages.lock import LockInputs
from kappa.build.packages.lock_record import InputLine
from kappa.build.packages.locking import lock_packages
from kappa.build.project import Project
from kappa.errors import IndexUnreachableError, ResolutionError
from kappa.log import listening
from kappa.spec.platforms import running_platform, running_python

RESOLVERS = ["pip-compile", "uv"]
RUNTIME = InputLine("kappa", "pydantic>=2.9", "pydantic>=2.9", "Kappa at run time")


def inputs(resolver: str, *asked: InputLine) -> LockInputs:
    requirements = tuple(one.requirement for one in asked if one.requirement is not None)
    return LockInputs(
        requirements, python=running_python(), platform=running_platform(), resolver=resolver, input_lines=asked
    )


ASKED = {
    "the user against Kappa": (
        [InputLine("user", "pydantic<2", "pydantic<2", "`pip_packages`"), RUNTIME],
        ["- `pydantic<2`: `pip_packages`", "- `pydantic>=2.9`: Kappa at run time"],
    ),
    "a file against another": (
        [
            InputLine("user", "Apple>=2", "Apple>=2", "requirements.txt:3"),
            InputLine("user", "pear", "pear", "`pyproject.toml`"),
        ],
        ["- `Apple>=2`: requirements.txt:3", "- `pear`: `pyproject.toml`"],
    ),
    "an import that nobody has": (
        [InputLine("import", "acme_plain", "acme-plain==0.1.0", "imported at handlers.py:1"), RUNTIME],
        ["- `acme-plain==0.1.0`: imported at handlers.py:1"],
    ),
    "a plugin against a model": (
        [
            InputLine("plugin", "pear", "pear==1.0", "the artifact `model` (forest)"),
            InputLine("model", "apple", "apple==2.0", "named in model.pkl (apple.core)"),
        ],
        [
            "- `pear==1.0`: the artifact `model` (forest)",
            "- `apple==2.0`: named in model.pkl (apple.core)",
        ],
    ),
}


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("kind", ASKED)
def test_who_asks_for_what_does_not_fit_is_said(index_environ: dict[str, str], kind: str, resolver: str) -> None:
    asked, lines = ASKED[kind]
    with pytest.raises(ResolutionError) as raised:
        lock_packages(inputs(resolver, *asked), committed=None, environ=index_environ)
    _, _, said = str(raised.value).partition("\nWho asks for them:\n")
    assert said.splitlines() == lines


def test_a_version_that_is_only_installed_here_says_so(index_environ: dict[str, str]) -> None:
    version = metadata.version("numpy")
    asked = InputLine("model", "numpy", f"numpy=={version}", "named in model.joblib (numpy)")
    with pytest.raises(ResolutionError) as raised:
        lock_packages(
            inputs("uv", InputLine("user", "numpy<1", "numpy<1", "x"), asked), committed=None, environ=index_environ
        )
    assert str(raised.value).splitlines()[-1] == (
        f"- `numpy=={version}`: named in model.joblib (numpy); this version is installed here (name another one in "
        "`pip_packages`)"
    )


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_an_index_that_does_not_answer_is_nobodys_fault(index_environ: dict[str, str], resolver: str) -> None:
    environ = {**index_environ, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    asked = InputLine("user", "quince", "quince", "`pip_packages`")
    with pytest.raises(IndexUnreachableError) as raised:
        lock_packages(inputs(resolver, asked), committed=None, environ={**environ, "UV_HTTP_RETRIES": "0"})
    assert "Who asks" not in str(raised.value)


@pytest.mark.parametrize(
    ("resolver", "warning"),
    [
        ("pip-compile", "pip says: apple 2.0 does not provide the extra 'sknn'."),
        ("uv", "uv says: The package `apple==2.0` does not have an extra named `sknn`."),
    ],
)
def test_an_extra_that_does_not_exist_is_warned_of(index_environ: dict[str, str], resolver: str, warning: str) -> None:
    said: list[str] = []
    with listening(lambda message, kind: said.append(message) if kind == "warning" else None):
        asked = InputLine("user", "apple[sknn]", "apple[sknn]", "`pip_packages`")
        lock_packages(inputs(resolver, asked), committed=None, environ=index_environ)
    assert said == [warning]


def test_an_extra_that_does_not_exist_is_warned_of_without_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    info = tmp_path / "pear-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: pear\nVersion: 1.0\nProvides-Extra: skin_less\n")
    said: list[str] = []
    with listening(lambda message, kind: said.append(message) if kind == "warning" else None):
        asked = InputLine("user", "pear[sknn,Skin-Less]", "pear[sknn,Skin-Less]", "`pip_packages`")
        lock_packages(inputs("installed", asked), committed=None, environ=os.environ)
    assert said == ["pear 1.0 has no extra `sknn`."]


def test_a_build_says_who_asks(
    write_project: Callable[..., Project], index_environ: dict[str, str], tiny_index: Path
) -> None:
    more = f"\n[env]\npip_packages = {json.dumps(['apple>1', 'pear'])}\n"
    plan = plan_build(write_project(more=more), version=None, labels={}, environ=index_environ, resolver="uv")
    with pytest.raises(ResolutionError) as raised:
        lock_packages(plan.lock_inputs, committed=None, environ=index_environ)
    assert str(raised.value).endswith("Who asks for them:\n- `apple>1`: `pip_packages`\n- `pear`: `pip_packages`")
