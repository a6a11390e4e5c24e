"""Dependencies of a `pyproject.toml`, at the versions of the lock beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappa.build.bundle.plan import plan_build
from kappa.build.packages.pyproject import ProjectDependencies, read_dependencies
from kappa.build.packages.targets import Target
from kappa.build.project import Project
from kappa.log import listening

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
    found = read(tmp_path, uv=UV_LOCK) if kind == "uv" else read(tmp_path, pylock=PYLOCK)
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
    tmp_path: Path, locks: dict[str, Any], warning: str
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
            '[project]\ndependencies = []\nrequires-python = ">=3.12"\n',
            "`pyproject.toml` wants Python `>=3.12`, and the service",
            id="python",
        ),
        pytest.param(
            '[project]\ndependencies = []\nrequires-python = "3.x.y"\n',
            "is not a range of versions: `3.x.y`",
            id="range",
        ),
    ],
)
def test_a_pyproject_that_cannot_be_used_says_why(tmp_path: Path, text: str, problem: str) -> None:
    (said,) = read(tmp_path, pyproject=text).problems
    assert problem in said


ELSEWHERE = {
    "Poetry": (
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"\npear = "^1"\n'},
        (
            "`[tool.poetry.dependencies]` holds Poetry's: move what the service needs to `[project] dependencies`, or "
            "run `poetry export --output requirements.txt` and name that in `requirements_txt_file`"
        ),
    ),
    "Flit": ({"pyproject.toml": '[tool.flit.metadata]\nrequires = ["pear"]\n'}, "holds Flit's: move what"),
    "Hatch": ({"pyproject.toml": '[tool.hatch.envs.default]\ndependencies = ["pear"]\n'}, "Hatch's environments"),
    "Pixi": ({"pyproject.toml": '[tool.pixi.pypi-dependencies]\npear = "*"\n'}, "holds Pixi's: move what"),
    "PDM": ({"pyproject.toml": '[tool.pdm.dev-dependencies]\nserve = ["pear"]\n'}, "holds PDM's groups: move them"),
    "uv": ({"pyproject.toml": '[tool.uv]\ndev-dependencies = ["pear"]\n'}, "holds uv's: move them"),
    "groups": (
        {"pyproject.toml": '[project]\nname = "x"\n[dependency-groups]\nserve = ["pear"]\ndev = []\n'},
        "`[dependency-groups]` holds groups (`serve`, `dev`): name those that the service needs in `pyproject_groups`",
    ),
    "extras": (
        {"pyproject.toml": '[project]\nname = "x"\n[project.optional-dependencies]\ngpu = ["pear"]\n'},
        "holds extras (`gpu`): name those that the service needs in `pyproject_extras`",
    ),
    "setup.cfg": (
        {"pyproject.toml": "[build-system]\n", "setup.cfg": "[options]\ninstall_requires =\n    pear\n"},
        "`setup.cfg` has `install_requires`: move",
    ),
    "setup.py": (
        {"pyproject.toml": "[build-system]\n", "setup.py": "setup(install_requires=['pear'])"},
        "only running `setup.py` could tell what it says: move",
    ),
    "Pipfile": ({"pyproject.toml": "[tool.black]\n", "Pipfile": ""}, "run `pipenv requirements > requirements.txt`"),
    "requirements.txt": (
        {"pyproject.toml": "[tool.black]\n", "requirements.txt": "pear\n"},
        "`requirements.txt` lies beside it: name it in `requirements_txt_file`, instead of `pyproject`",
    ),
    "environment.yml": ({"pyproject.toml": "", "environment.yml": ""}, "name it in `conda_env_yml_file`"),
    "other tools alone": (
        {"pyproject.toml": "[tool.black]\nline-length = 100\n"},
        "nothing here says what it needs: write `dependencies = []` in `[project]` if that is nothing",
    ),
    "a project without any": (
        {"pyproject.toml": '[project]\nname = "x"\n'},
        "nothing here says what it needs: write `dependencies = []` in `[project]` if that is nothing",
    ),
    "several": (
        {"pyproject.toml": '[tool.poetry.dependencies]\npear = "1"\n', "requirements.txt": "pear\n"},
        ". What is there: `[tool.poetry.dependencies]` holds Poetry's",
    ),
    "dynamic, from files": (
        {
            "pyproject.toml": '[project]\ndynamic = ["dependencies"]\n'
            '[tool.setuptools.dynamic]\ndependencies = { file = ["reqs.in"] }\n'
        },
        "are dynamic: only building it could tell them. Name `reqs.in`, from which setuptools reads them",
    ),
    "UTF-16": (
        {"pyproject.toml": "UTF-16"},
        "`pyproject.toml` cannot be read: it looks like UTF-16, which PowerShell writes: save it as UTF-8.",
    ),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_pyproject_that_does_not_say_what_it_needs_is_an_error_that_names_what_is_there(
    tmp_path: Path, kind: str
) -> None:
    files, said = ELSEWHERE[kind]
    for name, text in files.items():
        (tmp_path / name).write_bytes(PYPROJECT.encode("utf-16") if text == "UTF-16" else text.encode())
    found = read_dependencies(tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml")
    (problem,) = found.problems
    assert said in problem
    assert problem.startswith(("`pyproject.toml` ", "The dependencies of `pyproject.toml` "))
    assert found.requirements == ()


def test_no_dependencies_that_are_written_out_are_none(tmp_path: Path) -> None:
    assert read(tmp_path, pyproject='[project]\ndependencies = []\n[tool.poetry.dependencies]\npear = "1"\n') == (
        ProjectDependencies()
    )


# -- extras and groups -------------------------------------------------------------------------------------------------

PARTS = """\
[project]
name = "My.Service"
dependencies = ["plum"]

[project.optional-dependencies]
gpu = ["pear>=1"]
Tall_Trees = ["rowan"]
all = ["my-service[gpu,tall-trees]"]
circle = ["my_service[circle]", "quince"]

[dependency-groups]
Serve = ["apple", { include-group = "base" }]
base = ["pear", { include-group = "Serve" }]
whole = ["my.service[gpu]"]
odd = ["apple", 5]
"""


@pytest.mark.parametrize(
    ("extras", "groups", "expected"),
    [
        ([], [], ["plum"]),
        (["gpu"], [], ["plum", "pear>=1"]),
        (["tall-trees"], [], ["plum", "rowan"]),
        (["all"], [], ["plum", "pear>=1", "rowan"]),
        (["circle"], [], ["plum", "quince"]),
        ([], ["serve"], ["plum", "apple", "pear"]),
        ([], ["whole"], ["plum", "pear>=1"]),
        (["gpu"], ["whole", "base"], ["plum", "pear>=1", "pear", "apple"]),
    ],
)
def test_extras_and_groups_come_to_the_dependencies(
    tmp_path: Path, extras: list[str], groups: list[str], expected: list[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PARTS)
    found = read_dependencies(tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml", extras=extras, groups=groups)
    assert (list(found.requirements), found.problems) == (expected, ())


def test_groups_alone_are_enough(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\nserve = ["pear"]\n')
    found = read_dependencies(tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml", groups=["serve"])
    assert (found.requirements, found.problems) == (("pear",), ())


@pytest.mark.parametrize(
    ("extras", "groups", "problem"),
    [
        (
            ["gpus"],
            [],
            "There is no extra `gpus` in `[project.optional-dependencies]` of `x.toml`: did you mean `gpu`.",
        ),
        (
            [],
            ["kitchen"],
            "There is no group `kitchen` in `[dependency-groups]` of `x.toml`: it has `Serve`, `base`, `whole`, `odd`.",
        ),
        ([], ["odd"], "The group `odd` of `x.toml` holds `5`, not a requirement."),
    ],
)
def test_extras_and_groups_that_are_not_there_are_told(
    tmp_path: Path, extras: list[str], groups: list[str], problem: str
) -> None:
    (tmp_path / "x.toml").write_text(PARTS)
    found = read_dependencies(tmp_path / "x.toml", LINUX, shown="x.toml", extras=extras, groups=groups)
    assert found.problems == (problem,)


GROUPED = (
    PYPROJECT
    + """\

[dependency-groups]
serve = [{ include-group = "base" }, "my-service[dev]"]
base = ["wine>=6"]
"""
)
GROUPED_UV = UV_LOCK.replace(
    """\
[package.metadata]
""",
    """\
[package.dev-dependencies]
base = [{ name = "wine" }]
serve = [{ name = "my-service", extra = ["dev"] }, { name = "wine" }]

[package.metadata]
""",
).replace(
    """\
[[package]]
name = "pear"
""",
    """\
[package.metadata.requires-dev]
base = [{ name = "wine", specifier = ">=6" }]
serve = [{ name = "my-service", extras = ["dev"] }, { name = "wine", specifier = ">=6" }]

[[package]]
name = "pear"
""",
)
GROUPED_PYLOCK = PYLOCK.replace(
    "marker = \"sys_platform == 'win32'\"",
    "marker = \"sys_platform == 'win32' or 'serve' in dependency_groups\"",
).replace("\"'dev' in extras\"", "\"'dev' in extras or 'serve' in dependency_groups\"")
ROWAN, WINE = "rowan==5.0 --hash=sha256:e1", "wine==6.0 --hash=sha256:f1"


@pytest.mark.parametrize("kind", ["uv", "pylock"])
@pytest.mark.parametrize(
    ("extras", "groups", "more"),
    [([], [], []), (["dev"], [], [ROWAN]), ([], ["Serve"], [ROWAN, WINE]), (["dev"], ["serve"], [ROWAN, WINE])],
)
def test_a_lock_pins_extras_and_groups_too(
    tmp_path: Path, kind: str, extras: list[str], groups: list[str], more: list[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(GROUPED)
    name, text = ("uv.lock", GROUPED_UV) if kind == "uv" else ("pylock.toml", GROUPED_PYLOCK)
    (tmp_path / name).write_text(text)
    found = read_dependencies(tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml", extras=extras, groups=groups)
    assert (found.pins, found.problems, found.warnings) == (tuple(sorted([*PINS, *more])), (), ())


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda text: text.replace('base = ["wine>=6"]', 'base = ["wine>=7"]'), id="a group"),
        pytest.param(lambda text: text.replace('dev = ["rowan"]', 'dev = ["rowan", "plum"]'), id="an extra"),
    ],
)
def test_a_uv_lock_of_other_extras_or_groups_is_not_up_to_date(tmp_path: Path, edit: Callable[[str], str]) -> None:
    (tmp_path / "pyproject.toml").write_text(edit(GROUPED))
    (tmp_path / "uv.lock").write_text(GROUPED_UV)
    found = read_dependencies(
        tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml", extras=["dev"], groups=["serve"]
    )
    assert found.warnings == ("`uv.lock` is not up to date with `pyproject.toml`, so it is not used. Run `uv lock`.",)


def test_a_uv_lock_of_groups_alone_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\nserve = ["rowan>=5"]\n')
    rowan = UV_LOCK[UV_LOCK.index('[[package]]\nname = "rowan"') : UV_LOCK.index('[[package]]\nname = "wine"')]
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[manifest.dependency-groups]\nserve = [{ name = "rowan", specifier = ">=5" }]\n' + rowan
    )
    found = read_dependencies(tmp_path / "pyproject.toml", LINUX, shown="pyproject.toml", groups=["serve"])
    assert (found.pins, found.lock) == ((ROWAN,), "uv.lock")


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


# -- what is said to a tool alone --------------------------------------------------------------------------------------

CORP = "https://pypi.corp.example/simple"
PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["acme-private", "plum"]\n'
BOUND = {
    "uv": (
        f'[tool.uv.sources]\nacme-private = {{ index = "corp" }}\n'
        f'[[tool.uv.index]]\nname = "corp"\nurl = "{CORP}"\nexplicit = true\n'
    ),
    "Poetry": (
        f'[[tool.poetry.source]]\nname = "corp"\nurl = "{CORP}"\npriority = "explicit"\n'
        '[tool.poetry.dependencies]\nAcme_Private = { source = "corp" }\n'
    ),
    "PDM": f'[[tool.pdm.source]]\nname = "corp"\nurl = "{CORP}"\ninclude_packages = ["acme-*"]\n',
}
FOR_ALL = {
    "uv": f'[[tool.uv.index]]\nname = "corp"\nurl = "{CORP}"\ndefault = true\n',
    "uv, without a name": f'[[tool.uv.index]]\nurl = "{CORP}/"\n',
    "uv's older key": f'[tool.uv]\nindex-url = "{CORP}"\n',
    "uv's older list": f'[tool.uv]\nextra-index-url = ["{CORP}"]\n',
    "Poetry": f'[[tool.poetry.source]]\nname = "corp"\nurl = "{CORP}"\npriority = "supplemental"\n',
    "PDM": f'[[tool.pdm.source]]\nname = "corp"\nurl = "{CORP}"\n',
}


def read_with(folder: Path, more: str, *, indexes: tuple[str, ...] = ()) -> ProjectDependencies:
    (folder / "pyproject.toml").write_text(PROJECT + more)
    return read_dependencies(folder / "pyproject.toml", Target.of("3.11", ()), shown="pyproject.toml", indexes=indexes)


@pytest.mark.parametrize("tool", BOUND)
def test_a_dependency_that_is_of_one_index_is_asked_of_no_other(tool: str, tmp_path: Path) -> None:
    (problem,) = read_with(tmp_path, BOUND[tool]).problems
    assert problem.startswith(f"`pyproject.toml`: `acme-private` comes from the index `{CORP}` alone, and another")
    found = read_with(tmp_path, BOUND[tool], indexes=(f"{CORP}/",))
    assert (found.requirements, found.problems, found.unread) == (("acme-private", "plum"), (), ())


@pytest.mark.parametrize("tool", FOR_ALL)
def test_an_index_that_only_a_tool_would_ask_is_told(tool: str, tmp_path: Path) -> None:
    (unread,) = read_with(tmp_path, FOR_ALL[tool]).unread
    assert unread.startswith("`pyproject.toml` names the index `https://pypi.corp.example/simple")
    assert unread.endswith("is not asked: name it in `pip_index_url` or `pip_extra_index_url`.")
    assert read_with(tmp_path, FOR_ALL[tool], indexes=(CORP,)).unread == ()


def test_the_public_index_need_not_be_named(tmp_path: Path) -> None:
    public = '[[tool.uv.index]]\nname = "pypi"\nurl = "https://pypi.org/simple/"\ndefault = true\n'
    assert read_with(tmp_path, public).unread == ()


@pytest.mark.parametrize("key", ["constraint-dependencies", "override-dependencies", "exclude-dependencies"])
def test_rules_that_only_uv_reads_are_told(key: str, tmp_path: Path) -> None:
    assert read_with(tmp_path, f'[tool.uv]\n{key} = ["plum"]\n').unread == (
        f"`pyproject.toml` has `{key}` in `[tool.uv]`, which only uv reads: run `uv lock`, whose pins are taken.",
    )


def test_what_is_said_to_a_tool_alone_is_said_once(write_project: Callable[..., Project], tmp_path: Path) -> None:
    said: list[str] = []
    files = {"pyproject.toml": PROJECT.replace('"acme-private", ', "") + FOR_ALL["uv"]}
    with listening(lambda message, kind: said.append(message) if kind == "warning" else None):
        project = write_project(more='\n[env]\npyproject = "pyproject.toml"\n', files=files)
        said += plan_build(project, version=None, labels={}, environ=os.environ).warnings
    assert sum("names the index" in message for message in said) == 1
