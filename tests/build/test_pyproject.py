"""Dependencies of a `pyproject.toml`, at the versions of the lock beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.build.plan import plan_build
from kappa.build.project import Project
from kappa.build.pyproject import ProjectDependencies, read_dependencies
from kappa.build.targets import Target

PYPROJECT = """\
[project]
name = "My.Service"
version = "0.1"
requires-python = ">=3.10"
dependencies = ["pear[skin]>=1; python_version >= '3.8'", "plum", "wine; sys_platform == 'win32'"]

[project.optional-dependencies]
dev = ["rowan"]
"""
UV_LOCK = """\
version = 1
revision = 3
requires-python = ">=3.10"

[[package]]
name = "apple"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version < '3.12'"]
sdist = { url = "https://x/apple-1.0.tar.gz", hash = "sha256:a0" }
wheels = [{ url = "https://x/apple-1.0.whl", hash = "sha256:a1" }]

[[package]]
name = "apple"
version = "2.0"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version >= '3.12'"]
wheels = [{ url = "https://x/apple-2.0.whl", hash = "sha256:a2" }]

[[package]]
name = "my-service"
version = "0.1"
source = { virtual = "." }
dependencies = [
    { name = "pear", extra = ["skin"], marker = "python_full_version >= '3.8'" },
    { name = "plum" },
    { name = "wine", marker = "sys_platform == 'win32'" },
]

[package.optional-dependencies]
dev = [{ name = "rowan" }]

[package.metadata]
requires-dist = [
    { name = "pear", extras = ["skin"], marker = "python_full_version >= '3.8'", specifier = ">=1" },
    { name = "plum" },
    { name = "rowan", marker = "extra == 'dev'" },
    { name = "wine", marker = "sys_platform == 'win32'" },
]

[[package]]
name = "pear"
version = "1.5"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "apple", version = "1.0", marker = "python_full_version < '3.12'" },
    { name = "apple", version = "2.0", marker = "python_full_version >= '3.12'" },
]
wheels = [{ url = "https://x/pear-1.5.whl", hash = "sha256:b1" }]

[package.optional-dependencies]
skin = [{ name = "quince" }]

[[package]]
name = "plum"
version = "3.0"
source = { url = "https://example.org/plum-3.0.zip" }
sdist = { hash = "sha256:c1" }

[[package]]
name = "quince"
version = "4.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "pear" }]
wheels = [{ url = "https://x/quince-4.0.whl", hash = "sha256:d1" }]

[[package]]
name = "rowan"
version = "5.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/rowan-5.0.whl", hash = "sha256:e1" }]

[[package]]
name = "wine"
version = "6.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/wine-6.0.whl", hash = "sha256:f1" }]
"""
PYLOCK = """\
lock-version = "1.0"
created-by = "hand"

[[packages]]
name = "apple"
version = "1.0"
requires-python = "<3.12"
wheels = [{ url = "https://x/apple-1.0.whl", hashes = { sha256 = "a1" } }]
sdist = { url = "https://x/apple-1.0.tar.gz", hashes = { sha256 = "a0" } }

[[packages]]
name = "apple"
version = "2.0"
requires-python = ">=3.12"
wheels = [{ url = "https://x/apple-2.0.whl", hashes = { sha256 = "a2" } }]

[[packages]]
name = "pear"
version = "1.5"
wheels = [{ url = "https://x/pear-1.5.whl", hashes = { sha256 = "b1" } }]

[[packages]]
name = "plum"
version = "3.0"
archive = { url = "https://example.org/plum-3.0.zip", hashes = { sha256 = "c1" } }

[[packages]]
name = "quince"
version = "4.0"
wheels = [{ url = "https://x/quince-4.0.whl", hashes = { sha256 = "d1" } }]

[[packages]]
name = "rowan"
version = "5.0"
marker = "'dev' in extras"
wheels = [{ url = "https://x/rowan-5.0.whl", hashes = { sha256 = "e1" } }]

[[packages]]
name = "wine"
version = "6.0"
marker = "sys_platform == 'win32'"
wheels = [{ url = "https://x/wine-6.0.whl", hashes = { sha256 = "f1" } }]
"""
LINUX = Target.of("3.11", ["linux/amd64"])
PINS = (
    "apple==1.0 --hash=sha256:a0 --hash=sha256:a1",
    "pear==1.5 --hash=sha256:b1",
    "plum @ https://example.org/plum-3.0.zip --hash=sha256:c1",
    "quince==4.0 --hash=sha256:d1",
)


def read(folder: Path, target: Target = LINUX, *, pyproject: str = PYPROJECT, **locks: str) -> ProjectDependencies:
    (folder / "pyproject.toml").write_text(pyproject)
    for name, text in {"uv.lock": locks.get("uv"), "pylock.toml": locks.get("pylock")}.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    return read_dependencies(folder / "pyproject.toml", target, shown="pyproject.toml")


def test_dependencies_are_taken_as_they_stand_and_extras_are_not(tmp_path: Path) -> None:
    assert read(tmp_path) == ProjectDependencies(
        ("pear[skin]>=1; python_version >= '3.8'", "plum", "wine; sys_platform == 'win32'")
    )


@pytest.mark.parametrize("kind", ["uv", "pylock"])
def test_a_lock_pins_what_the_target_needs_with_its_own_hashes(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, **{kind: UV_LOCK if kind == "uv" else PYLOCK})
    assert (found.pins, found.problems, found.warnings) == (PINS, (), ())
    assert found.lock == ("uv.lock" if kind == "uv" else "pylock.toml")


@pytest.mark.parametrize("kind", ["uv", "pylock"])
def test_another_python_has_other_versions(tmp_path: Path, kind: str) -> None:
    target = Target.of("3.13", ["linux/amd64"])
    found = read(tmp_path, target, **{kind: UV_LOCK if kind == "uv" else PYLOCK})
    assert [pin for pin in found.pins if pin.startswith("apple")] == ["apple==2.0 --hash=sha256:a2"]


@pytest.mark.parametrize("kind", ["uv", "pylock"])
def test_what_only_some_systems_need_says_which(tmp_path: Path, kind: str) -> None:
    target = Target.of("3.11", ["linux/amd64", "windows/amd64"])
    found = read(tmp_path, target, **{kind: UV_LOCK if kind == "uv" else PYLOCK})
    marker = "sys_platform == 'win32' and platform_machine == 'AMD64'"
    assert found.pins == (*PINS, f"wine==6.0 ; {marker} --hash=sha256:f1")


def test_uvs_own_lock_is_preferred_to_an_export_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, uv=UV_LOCK, pylock=PYLOCK).lock == "uv.lock"
    stale = UV_LOCK.replace('{ name = "plum" },\n    { name = "rowan"', '{ name = "rowan"')
    assert read(tmp_path, uv=stale, pylock=PYLOCK).lock == "pylock.toml"


@pytest.mark.parametrize(
    ("locks", "warning"),
    [
        pytest.param(
            {"uv": UV_LOCK.replace('specifier = ">=1"', 'specifier = ">=2"')},
            "`uv.lock` is not up to date with `pyproject.toml`, so it is not used. Run `uv lock`.",
            id="other version",
        ),
        pytest.param(
            {"uv": UV_LOCK.replace('name = "my-service"', 'name = "another"')},
            "`uv.lock` is not up to date with `pyproject.toml`, so it is not used. Run `uv lock`.",
            id="another project",
        ),
        pytest.param(
            {"pylock": PYLOCK.replace('version = "1.5"', 'version = "0.5"')},
            "`pylock.toml` is not up to date with `pyproject.toml`, so it is not used. "
            "Lock again with the tool that made it.",
            id="pinned too low",
        ),
        pytest.param(
            {"pylock": PYLOCK.replace('name = "plum"', 'name = "plumb"')},
            "`pylock.toml` is not up to date with `pyproject.toml`, so it is not used. "
            "Lock again with the tool that made it.",
            id="not pinned",
        ),
        pytest.param(
            {"uv": UV_LOCK.replace("version = 1\n", "version = 9\n", 1)},
            "`uv.lock` cannot be read as a lock, so it is not used: ValueError: its format has the version 9, and only "
            "1 is known.",
            id="newer format",
        ),
        pytest.param(
            {"uv": "version = 1\n[[package]]\nversion = 2\n"},
            "`uv.lock` cannot be read as a lock, so it is not used: KeyError: 'name'.",
            id="broken",
        ),
    ],
)
def test_a_lock_that_cannot_be_used_is_left_aside_with_a_warning(
    tmp_path: Path, locks: dict[str, str], warning: str
) -> None:
    found = read(tmp_path, **locks)
    assert (found.pins, found.lock, found.warnings) == ((), "", (warning,))


def test_what_has_no_hash_is_a_problem(tmp_path: Path) -> None:
    lock = UV_LOCK.replace('{ url = "https://example.org/plum-3.0.zip" }', '{ git = "https://h/plum?rev=1#1" }')
    assert read(tmp_path, uv=lock).problems == ("`uv.lock`: `plum` comes from a repository there, which has no hash.",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[project", "`pyproject.toml` cannot be read: ", id="syntax"),
        pytest.param(
            '[project]\ndynamic = ["dependencies"]\n', "The dependencies of `pyproject.toml` are dynamic", id="dynamic"
        ),
        pytest.param(
            '[project]\ndependencies = "pear"\n', "`project.dependencies` of `pyproject.toml` is not a list", id="kind"
        ),
        pytest.param(
            '[project]\ndependencies = ["pear=1"]\n',
            "`pyproject.toml`: `pear=1` is not a requirement",
            id="requirement",
        ),
        pytest.param(
            '[project]\nrequires-python = ">=3.12"\n',
            "`pyproject.toml` wants Python `>=3.12`, and the service",
            id="python",
        ),
        pytest.param('[project]\nrequires-python = "3.x.y"\n', "is not a range of versions: `3.x.y`", id="range"),
    ],
)
def test_a_pyproject_that_cannot_be_used_says_why(tmp_path: Path, text: str, problem: str) -> None:
    (said,) = read(tmp_path, pyproject=text).problems
    assert problem in said


def test_a_plan_asks_for_the_dependencies_under_the_locks_constraints(write_project: Callable[..., Project]) -> None:
    files = {"pyproject.toml": PYPROJECT, "uv.lock": UV_LOCK}
    more = (
        '\n[env]\npyproject = "pyproject.toml"\npip_packages = ["quince>=3"]\npython = "3.11"\n'
        '[bundle]\nplatforms = ["linux/amd64"]\nresolver = "uv"\n'
    )
    plan = plan_build(write_project(more=more, files=files), version=None, labels={}, environ=os.environ)
    reasons = {one.text: one.why for one in plan.requirements if one.why != "Kappa at run time"}
    assert reasons == {
        "pear[skin]>=1; python_version >= '3.8'": "`pyproject.toml`",
        "plum": "`pyproject.toml`",
        "quince>=3": "`pip_packages`",
        "wine; sys_platform == 'win32'": "`pyproject.toml`",
    }
    assert plan.lock_inputs.constraints == PINS
    assert "sha256:" not in plan.summary()
