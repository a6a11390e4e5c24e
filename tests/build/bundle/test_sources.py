"""Which files a service takes with it, and which distributions they need: found in the source, without importing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from kappa.build.bundle.plan import plan_build
from kappa.build.bundle.sources import Code, collect_code
from kappa.build.code.modules import CodeBase, SearchPath, search_path
from kappa.build.code.tracing import trace
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.project import Project, check_kappafile, read_project
from kappa.errors import ManifestError
from kappa.log import Kind, listening
from tests.build.projects import KAPPAFILE, PREDICT, write


def project_of(root: Path, files: Mapping[str, str], *, more: str = "") -> Project:
    return read_project(write(root / "project", {"kappafile.toml": KAPPAFILE + more, "handlers.py": PREDICT, **files}))


def included_of(project: Project) -> Mapping[PurePosixPath, Path]:
    return plan_build(project, version=None, labels={}, environ={}).includes


def names(code: Code) -> list[str]:
    return [place.as_posix() for place in code.files]


CASES = {
    "a module": ({"handlers.py": "import features", "features.py": ""}, ["features.py"]),
    "a module inside a function": (
        {"handlers.py": "def predict(value):\n    from features import scale\n", "features.py": ""},
        ["features.py"],
    ),
    "a module in a try block": (
        {"handlers.py": "try:\n    import fast\nexcept ImportError:\n    import slow\n", "fast.py": "", "slow.py": ""},
        ["fast.py", "slow.py"],
    ),
    "not what is for type checkers alone": (
        {
            "handlers.py": "import typing\nif typing.TYPE_CHECKING:\n    import hints\nelse:\n    import real\n",
            "hints.py": "",
            "real.py": "",
        },
        ["real.py"],
    ),
    "the packages around a module": (
        {"handlers.py": "import a.b.c", "a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": "", "a/d.py": ""},
        ["a/__init__.py", "a/b/__init__.py", "a/b/c.py"],
    ),
    "packages without an init file": (
        {"handlers.py": "from a.b import c", "a/b/c.py": "", "a/b/data.csv": ""},
        ["a/b/c.py"],
    ),
    "folders that are named like a library": (
        {"handlers.py": "import lib.x, lib64, python3.y", "lib/x.py": "", "lib64.py": "", "python3/y.py": ""},
        ["lib/x.py", "lib64.py", "python3/y.py"],
    ),
    "relative imports": (
        {
            "handlers.py": "import pkg.inner.a",
            "pkg/__init__.py": "",
            "pkg/inner/__init__.py": "from . import b",
            "pkg/inner/a.py": "from ..c import x\nfrom . import d as e",
            "pkg/inner/b.py": "",
            "pkg/inner/d.py": "",
            "pkg/c.py": "",
        },
        ["pkg/__init__.py", "pkg/c.py", "pkg/inner/__init__.py", "pkg/inner/a.py", "pkg/inner/b.py", "pkg/inner/d.py"],
    ),
    "names that are sub-modules": (
        {"handlers.py": "from pkg import one, two", "pkg/__init__.py": "two = 2", "pkg/one.py": "", "pkg/three.py": ""},
        ["pkg/__init__.py", "pkg/one.py"],
    ),
    "everything that a star takes": (
        {"handlers.py": "from p import *", "p/__init__.py": "__all__ = ['one']", "p/one.py": "", "p/two.py": ""},
        ["p/__init__.py", "p/one.py"],
    ),
    **{
        f"everything that a star takes, with {made}": (
            {"handlers.py": "from p import *", "p/__init__.py": made, "p/one.py": "", "p/two.py": "", "p/three.py": ""},
            ["p/__init__.py", "p/one.py", "p/two.py"],
        )
        for made in (
            "__all__ = ('one', 'two')",
            "__all__: list[str] = ['one', 'two']",
            "__all__ = ['one']\n__all__ += ('two',)",
            "__all__ = ['one'] + ['two']",
            "__all__ = ['one']\n__all__.append('two')",
            "__all__ = ['one']\n__all__.extend(['two'])",
            "__all__ = [*('one', 'two')]",
            "import json\n__all__ = [*json.__all__, 'one', 'two']",
            "import json\n__all__ = json.__all__ + ['one', 'two']",
        )
    },
    "cycles": (
        {"handlers.py": "import a", "a.py": "import b", "b.py": "import a, handlers"},
        ["a.py", "b.py"],
    ),
    "modules named by a text": (
        {
            "handlers.py": "import importlib\nimportlib.import_module('plugin.eu')\n__import__('other')",
            "plugin/eu.py": "",
            "other.py": "",
        },
        ["other.py", "plugin/eu.py"],
    ),
    "a regular package rather than a folder of its name": (
        {"handlers.py": "import features", "features.py": "", "features/notes.py": ""},
        ["features.py"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_local_code_is_found(name: str, tmp_path: Path) -> None:
    files, expected = CASES[name]
    files = {**files, "handlers.py": files["handlers.py"] + "\n" + PREDICT, "unused.py": ""}
    project = project_of(tmp_path, files)
    code = collect_code(project)
    assert names(code) == sorted([*expected, "handlers.py"])
    assert {place: path.relative_to(project.root).as_posix() for place, path in code.files.items()} == {
        place: place.as_posix() for place in code.files
    }
    assert code.distributions == {}


def test_a_folder_of_data_is_no_package(tmp_path: Path) -> None:
    project = project_of(tmp_path, {"handlers.py": f"import numpy\n{PREDICT}", "numpy/weights.csv": ""})
    assert collect_code(project).distributions == {"numpy": "handlers.py:1"}


def test_an_installed_package_wins_over_a_folder_of_its_name(tmp_path: Path) -> None:
    """As in Python: a package with an init file wins over one without, wherever they are."""
    project = project_of(tmp_path, {"handlers.py": f"import click\n{PREDICT}", "click/note.py": ""})
    assert names(collect_code(project)) == ["handlers.py"]


def test_setup_teardown_and_named_modules_are_followed_too(tmp_path: Path) -> None:
    files = {
        "life.py": "import a\ndef up(): ...\ndef down(): ...\n",
        "a.py": "",
        "plugins/eu.py": "import b",
        "b.py": "",
    }
    text = KAPPAFILE.replace("[service]", '[service]\nsetup = "life:up"\nteardown = "life:down"')
    write(tmp_path, {**files, "kappafile.toml": f'{text}[bundle]\nmodules = ["plugins.eu"]\n', "handlers.py": PREDICT})
    code = collect_code(read_project(tmp_path))
    assert names(code) == ["a.py", "b.py", "handlers.py", "life.py", "plugins/eu.py"]


def test_code_is_never_imported(tmp_path: Path) -> None:
    crash = "raise SystemExit('imported')\n"
    project = project_of(tmp_path, {"handlers.py": f"import inner\n{crash}{PREDICT}", "inner.py": crash})
    assert names(collect_code(project)) == ["handlers.py", "inner.py"]


def test_kappa_is_never_the_users_code(tmp_path: Path) -> None:
    text = f"import kappa\nfrom kappa.types import InferenceTask\nimport kappa.adapters.json\n{PREDICT}"
    code = collect_code(project_of(tmp_path, {"handlers.py": text}))
    assert (names(code), code.distributions) == (["handlers.py"], {})


def test_distributions_are_named_with_their_first_import(tmp_path: Path) -> None:
    files = {
        "handlers.py": f"import os, json\nimport inner\nimport yaml\nimport sklearn.svm\n{PREDICT}",
        "inner.py": "\nfrom ruamel.yaml import YAML\nimport sklearn\n",
    }
    code = collect_code(project_of(tmp_path, files))
    assert code.distributions == {
        "PyYAML": "handlers.py:3",
        "ruamel.yaml": "inner.py:2",
        "scikit-learn": "handlers.py:4",
    }


def collect_with_warnings(root: Path, files: Mapping[str, str]) -> tuple[Code, list[str]]:
    """Read a project and collect its code; return what both warn of."""
    lines: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        if kind == "warning":
            lines.append(message)

    with listening(listen):
        return collect_code(project_of(root, files)), lines


def test_a_missing_local_module_and_an_import_out_of_the_package_are_warnings(tmp_path: Path) -> None:
    files = {"handlers.py": f"import pkg.missing\nfrom . import x\n{PREDICT}", "pkg/__init__.py": ""}
    _, warnings = collect_with_warnings(tmp_path, files)
    assert warnings == [
        "handlers.py:1: There is no module `pkg.missing`.",
        "handlers.py:2: This import leads out of the package that its module is in.",
    ]


def test_code_that_cannot_be_parsed_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"inner\.py:2:9: error\[KF312\]: This is not valid Python"):
        project_of(tmp_path, {"handlers.py": f"import inner\n{PREDICT}", "inner.py": "x = 1\nx = x + \n"})


OPTIONAL = {
    "try": "try:\n    import inner\nexcept ImportError:\n    inner = None\n",
    "a tuple": "try:\n    from inner import x\nexcept (SyntaxError, ImportError):\n    x = None\n",
    "everything": "try:\n    import inner\nexcept Exception:\n    inner = None\n",
    "suppress": "from contextlib import suppress\nwith suppress(ImportError):\n    import inner\n",
    "contextlib.suppress": "import contextlib\nwith contextlib.suppress(ModuleNotFoundError):\n    import inner\n",
    "another version": "import sys\nif sys.version_info < (3, 0):\n    import inner\n",
    "another system": "import sys\nif sys.platform == 'plan9':\n    import inner\n",
    "not found": "from importlib.util import find_spec\nif find_spec('inner_needs'):\n    import inner\n",
    "in turn": "try:\n    import outer\nexcept ImportError:\n    outer = None\n",
}
BROKEN = {"outer.py": "import inner\n", "inner.py": "print 'of Python 2'\n"}


@pytest.mark.parametrize("name", OPTIONAL)
def test_code_that_only_an_optional_import_asks_for_may_be_what_nobody_can_parse(name: str, tmp_path: Path) -> None:
    code, warnings = collect_with_warnings(tmp_path, {"handlers.py": f"{OPTIONAL[name]}{PREDICT}", **BROKEN})
    assert PurePosixPath("inner.py") in code.files
    assert len(warnings) == 1
    assert warnings[0].startswith("inner.py:1: This is not valid Python: ")


@pytest.mark.parametrize("name", ["import inner\n", "def late():\n    import outer\n"])
def test_it_is_an_error_if_any_import_needs_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"inner\.py:1:1: error\[KF312\]"):
        project_of(tmp_path, {"handlers.py": f"{OPTIONAL['in turn']}{name}{PREDICT}", **BROKEN})


def test_a_warning_about_code_is_given_once(tmp_path: Path) -> None:
    files = {"handlers.py": f"import pkg.missing\nimport pkg.missing\n{PREDICT}", "pkg/__init__.py": ""}
    assert collect_with_warnings(tmp_path, files)[1] == [
        "handlers.py:1: There is no module `pkg.missing`.",
        "handlers.py:2: There is no module `pkg.missing`.",
    ]


@pytest.mark.parametrize("content", [b"\x00", b"# coding: klingon\n", b"x = (" * 300, "é".encode("latin-1")])
def test_files_that_are_no_python_are_errors_and_no_crash(content: bytes, tmp_path: Path) -> None:
    root = write(tmp_path, {"kappafile.toml": KAPPAFILE, "handlers.py": f"import inner\n{PREDICT}"})
    (root / "inner.py").write_bytes(content)
    with pytest.raises(ManifestError, match=r"inner\.py:\d+:\d+: error\[KF312\]"):
        read_project(root)


# -- editable installations and other folders --------------------------------------------------------------------------


def test_a_folder_on_sys_path_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a `.pth` file of an editable installation adds one, or `PYTHONPATH`."""
    write(tmp_path / "lib" / "src", {"shared/__init__.py": "from shared import inner", "shared/inner.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "lib" / "src"))
    project = project_of(tmp_path, {"handlers.py": f"import shared\n{PREDICT}"})
    code = collect_code(project)
    assert code.files == {
        PurePosixPath("handlers.py"): project.root / "handlers.py",
        PurePosixPath("shared/__init__.py"): tmp_path / "lib/src/shared/__init__.py",
        PurePosixPath("shared/inner.py"): tmp_path / "lib/src/shared/inner.py",
    }


def test_the_mapping_of_an_editable_finder_is_read_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setuptools installs such a finder; its code would raise here if it ran."""
    source = write(tmp_path / "checkout" / "packages", {"acme/__init__.py": "", "acme/core.py": "", "single.py": ""})
    mapping = {"acme": str(source / "acme"), "single": str(source / "single")}
    finder = f"raise SystemExit('ran')\nMAPPING: dict[str, str] = {mapping!r}\n"
    site = write(tmp_path / "site-packages", {"__editable___acme_1_0_finder.py": finder})
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    code = collect_code(project_of(tmp_path, {"handlers.py": f"import acme.core, single\n{PREDICT}"}))
    assert names(code) == ["acme/__init__.py", "acme/core.py", "handlers.py", "single.py"]


def test_an_editable_distribution_is_found_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "check out", {"src/acme/__init__.py": "import numpy"})
    url = (tmp_path / "check out").as_uri()
    site = write(
        tmp_path / "site-packages",
        {
            "acme-1.0.dist-info/METADATA": "Name: acme\nVersion: 1.0\n",
            "acme-1.0.dist-info/direct_url.json": f'{{"url": "{url}", "dir_info": {{"editable": true}}}}',
        },
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    code = collect_code(project_of(tmp_path, {"handlers.py": f"import acme\n{PREDICT}"}))
    assert code.files[PurePosixPath("acme/__init__.py")] == source / "src/acme/__init__.py"
    assert code.distributions == {"numpy": "acme/__init__.py:1"}


def test_a_namespace_may_be_part_local_and_part_installed(tmp_path: Path) -> None:
    site = write(tmp_path / "site-packages", {"acme/installed.py": ""})
    root = write(tmp_path / "project", {"handlers.py": "import acme.own, acme.installed", "acme/own.py": ""})
    found = trace(CodeBase(SearchPath((root,), (site,))), ["handlers"])
    assert sorted(map(str, found.modules)) == ["acme/own.py", "handlers.py"]
    assert [(foreign.module, foreign.is_installed) for foreign in found.foreign.values()] == [("acme.installed", True)]


def test_folders_of_python_and_of_kappa_are_not_searched(tmp_path: Path) -> None:
    import kappa._version

    checkout = Path(kappa._version.__file__).parents[1]
    search = search_path(tmp_path, [str(checkout), str(Path(os.__file__).parent), ""])
    assert search.local == (tmp_path,)


def test_the_distribution_of_a_module_in_a_shared_namespace_is_the_one_that_has_the_file() -> None:
    index = DistributionIndex()
    index.__dict__["_by_top_name"] = {"google": ["one", "two"]}
    index.__dict__["_records"] = {
        "one": "google/auth/__init__.py,,\n",
        "two": "google/cloud/storage/__init__.py,,\n",
    }
    assert index.brings("google.cloud", ["storage"]) == "two"
    assert index.brings("google.auth") == "one"
    assert index.brings("google.pubsub") is None


# -- includes ----------------------------------------------------------------------------------------------------------

FILES = {
    "lookup/a.csv": "",
    "lookup/deep/b.csv": "",
    "lookup/deep/c.txt": "",
    "lookup/.hidden.csv": "",
    "lookup/__pycache__/d.csv": "",
    "notes.md": "",
    "test_x.py": "",
    "pkg/test_y.py": "",
}
PATTERNS = {
    "lookup/*.csv": ["lookup/.hidden.csv", "lookup/a.csv"],
    "lookup/**/*.csv": ["lookup/.hidden.csv", "lookup/a.csv", "lookup/deep/b.csv"],
    "lookup": ["lookup/.hidden.csv", "lookup/a.csv", "lookup/deep/b.csv", "lookup/deep/c.txt"],
    "lookup/**": ["lookup/.hidden.csv", "lookup/a.csv", "lookup/deep/b.csv", "lookup/deep/c.txt"],
    "./notes.md": ["notes.md"],
    "**/test_*.py": ["pkg/test_y.py", "test_x.py"],
    "lookup/deep/[bc].*": ["lookup/deep/b.csv", "lookup/deep/c.txt"],
    "lookup/deep/[!b].*": ["lookup/deep/c.txt"],
    "*/deep/?.csv": ["lookup/deep/b.csv"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_include_what_they_say(pattern: str, tmp_path: Path) -> None:
    project = project_of(tmp_path, FILES, more=f"[bundle]\ninclude = ['{pattern}']\n")
    included = included_of(project)
    assert [path.as_posix() for path in included] == PATTERNS[pattern]
    assert all(path == project.root / place for place, path in included.items())


def test_exclude_takes_from_code_and_includes(tmp_path: Path) -> None:
    files = {**FILES, "handlers.py": f"import pkg.test_y\n{PREDICT}", "pkg/__init__.py": ""}
    more = "[bundle]\ninclude = ['lookup/**']\nexclude = ['**/test_*.py', 'lookup/deep']\n"
    project = project_of(tmp_path, files, more=more)
    assert names(collect_code(project)) == ["handlers.py", "pkg/__init__.py"]
    assert [path.as_posix() for path in included_of(project)] == ["lookup/.hidden.csv", "lookup/a.csv"]


def test_virtual_environments_are_not_searched(tmp_path: Path) -> None:
    files = {"env/pyvenv.cfg": "", "env/lib/x.csv": "", "data/x.csv": ""}
    project = project_of(tmp_path, files, more="[bundle]\ninclude = ['**/*.csv']\n")
    assert [path.as_posix() for path in included_of(project)] == ["data/x.csv"]


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["handlers.py", "inner.py", "package/__init__.py", "linked/deep.py"])
def test_code_that_is_a_link_out_of_the_project_is_refused(name: str, tmp_path: Path) -> None:
    files = {"handlers.py": f"import inner, package, linked.deep\n{PREDICT}", "inner.py": "", "package/__init__.py": ""}
    root = write(tmp_path / "project", {"kappafile.toml": KAPPAFILE, **files, "linked/deep.py": ""})
    elsewhere, part = tmp_path / "elsewhere", root / ("linked" if name.startswith("linked") else name)
    part.rename(elsewhere)
    part.symlink_to(elsewhere)
    (problem,) = check_kappafile(root / "kappafile.toml")[1]
    assert (problem.code, problem.file, problem.span.line) == ("KF303", root / name, 1)
    assert problem.message == f"`{Path(name).name}` is a link that leads out of the project."
    with pytest.raises(ManifestError, match="KF303"):
        read_project(root)


@pytest.mark.parametrize("files", [{"shared.py": ""}, {"shared.py": "", "__init__.py": ""}], ids=["folder", "package"])
def test_code_that_is_a_link_inside_of_the_project_or_to_a_named_folder_is_packed(
    files: Mapping[str, str], tmp_path: Path
) -> None:
    common = write(tmp_path / "common", files)
    more = '\n[bundle]\npaths = ["../common"]\n'
    code = {"handlers.py": "import alias, shared_alias", "real/there.py": ""}
    root = write(tmp_path / "project", {"kappafile.toml": KAPPAFILE + more, **code})
    (root / "alias.py").symlink_to("real/there.py")
    (root / "shared_alias.py").symlink_to(common / "shared.py")
    (root / "handlers.py").write_text(f"import alias, shared_alias\n{PREDICT}")
    assert names(collect_code(read_project(root))) == ["alias.py", "handlers.py", "shared_alias.py"]
