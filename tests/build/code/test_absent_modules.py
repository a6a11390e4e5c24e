"""Imports of what is neither the user's own nor installed: known, named by the user, or an error; never a guess."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from kappa.build.bundle.plan import plan_build
from kappa.build.code.absent import AbsentModules, Unknown
from kappa.build.code.modules import CodeBase, SearchPath
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.packages.known_modules import KNOWN_MODULES, SIBLINGS
from kappa.build.packages.listed import Listed
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ManifestError
from tests.build.projects import INFERRING, PREDICT, write


def project_with(root: Path, code: str, *, env: str = "", files: Mapping[str, str] | None = None) -> Path:
    write(root, {"kappafile.toml": INFERRING + env, "handlers.py": f"{code}\n{PREDICT}", **(files or {})})
    return root


def problems(root: Path) -> list[Diagnostic]:
    return list(check_kappafile(root / "kappafile.toml")[1])


def requirements(root: Path) -> list[str]:
    plan = plan_build(read_project(root), version=None, labels={}, environ=os.environ)
    return [one.text for one in plan.requirements if one.why != "Kappa at run time"]


def in_an_empty_environment(module: str, root: Path, *, named: tuple[str, ...] = ()) -> str | Unknown:
    """Ask with nothing installed at all."""
    listed = Listed(frozenset(named), frozenset(named))
    return AbsentModules(CodeBase(SearchPath((root,))), listed).find(module)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_has_many_names_that_differ_and_writes_each_distribution_normalised() -> None:
    differing = {name for module, name in KNOWN_MODULES.items() if canonicalize_name(module) != name}
    assert len(differing) >= 120
    assert [name for name in KNOWN_MODULES.values() if name != canonicalize_name(name)] == []
    members = [name for group in SIBLINGS for name in group]
    assert len(members) == len(set(members))


@pytest.mark.parametrize("module", sorted(KNOWN_MODULES))
def test_a_well_known_module_that_is_not_installed_is_of_its_own_distribution(module: str, tmp_path: Path) -> None:
    assert in_an_empty_environment(module, tmp_path) == KNOWN_MODULES[module]
    assert in_an_empty_environment(f"{module}.inner", tmp_path) == KNOWN_MODULES[module]


UNKNOWN = [
    "common",
    "utils",
    "helpers",
    "config",
    "settings",
    "features",
    "preprocessing",
    "models",
    "schemas",
    "service",
    "pipeline",
    "loaders",
    "tools",
    "shared",
    "core",
    "domain",
    "infra",
    "constants",
    "metrics",
    "training",
    "inference",
    "data",
    "transforms",
    "predictors",
    "registry",
    "scoring",
    "evaluation",
    "db",
    "acme",
    "acmelib",
    "hoho",
    "mylib",
    "mypkg",
    "internal_sdk",
    "company",
    "corp",
    "platform_tools",
    "team_utils",
    "ml_common",
    "feature_store_client",
    "datasets",
    "evaluate",
    "haystack",
    "community",
    "google",
    "azure",
    "google.cloud",
    "azure.storage",
    "google.ads",
    "backports",
    "kappa_plugins",
    "churn_model",
    "fraud",
    "nlp_tools",
    "vision_utils",
]
"""Names of modules that people give their own, or that several distributions share."""


@pytest.mark.parametrize("module", UNKNOWN)
def test_a_name_in_no_table_is_an_error_and_never_a_distribution(module: str, tmp_path: Path) -> None:
    told = in_an_empty_environment(module, tmp_path)
    assert isinstance(told, Unknown)
    assert told.is_sure
    assert told.message.startswith(f"There is no module `{module}`: looked in `{tmp_path}`")
    assert "pip_packages" in told.help or "Did you mean" in told.help
    assert f"`{module}`" not in told.help or "guess" in told.help


TYPOS = {"skleran": "sklearn", "nunpy": "numpy", "pandsa": "pandas", "featurs": "features"}


@pytest.mark.parametrize("module", TYPOS)
def test_a_name_that_is_nearly_right_is_corrected(module: str, tmp_path: Path) -> None:
    write(tmp_path, {"features.py": ""})
    told = in_an_empty_environment(module, tmp_path)
    assert isinstance(told, Unknown)
    assert told.help == f"Did you mean `{TYPOS[module]}`?"


def test_a_guess_is_only_a_suggestion(tmp_path: Path) -> None:
    told = in_an_empty_environment("ldap3", tmp_path)
    assert isinstance(told, Unknown)
    assert told.is_sure


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from google.cloud import storage, bigquery", ["google-cloud-bigquery", "google-cloud-storage"]),
        ("import azure.storage.blob", ["azure-storage-blob"]),
        ("from azure import identity", ["azure-identity"]),
        ("from mysql import connector", ["mysql-connector-python"]),
    ],
)
def test_each_part_of_a_known_namespace_is_of_its_own_distribution(
    code: str, expected: list[str], tmp_path: Path
) -> None:
    assert requirements(project_with(tmp_path / "project", code)) == expected


# -- what the user names -----------------------------------------------------------------------------------------------

NAMED = {
    "the same name": ("redis", "redis"),
    "another spelling": ("acme_sdk", "Acme.SDK"),
    "a prefix": ("jenkins", "python-jenkins"),
    "a suffix": ("consul", "consul-python"),
    "py before it": ("gremlin", "pygremlin"),
    "the dotted name": ("google.ads.admanager", "google-ads"),
    "the table": ("cv2", "opencv-python"),
    "a sibling in the table": ("cv2", "opencv-contrib-python-headless"),
    "a sibling of the same name": ("tensorflow", "tensorflow-cpu"),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_module_that_a_named_distribution_brings_is_silent(case: str, tmp_path: Path) -> None:
    module, name = NAMED[case]
    assert in_an_empty_environment(module, tmp_path, named=(canonicalize_name(name),)) == canonicalize_name(name)


def test_a_named_distribution_that_is_known_for_another_module_brings_no_further_one(tmp_path: Path) -> None:
    told = in_an_empty_environment("acmelib", tmp_path, named=("redis", "opencv-python-headless"))
    assert isinstance(told, Unknown)
    assert told.is_sure


NOT_HERE = "import redis_nobody_has, cv2_nobody_has\nimport acmelib\nimport acmeother"
SOURCES = {
    "a list": ('pip_packages = ["redis-nobody-has", "cv2-nobody-has", "acme-private"]\n', {}),
    "a requirements file": (
        'requirements_txt_file = "req.txt"\n',
        {"req.txt": "redis-nobody-has==1\ncv2-nobody-has\n-r more.txt\n", "more.txt": "acme-private>=2\n"},
    ),
    "a pyproject": (
        'pyproject = "pyproject.toml"\n',
        {
            "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'
            'dependencies = ["redis-nobody-has", "cv2-nobody-has", "acme-private"]\n'
        },
    ),
    "conda": ('conda_dependencies = ["redis-nobody-has=1", "c::cv2-nobody-has", "acme-private"]\n', {}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_whatever_the_user_names_and_has_not_installed_is_believed_in_one_line(source: str, tmp_path: Path) -> None:
    env, files = SOURCES[source]
    root = project_with(tmp_path / "project", NOT_HERE, env=env, files=files)
    (warning,) = [problem for problem in problems(root) if problem.code == "KF314"]
    assert (warning.severity, warning.span.line) == ("warning", 2)
    assert warning.message == (
        "`acmelib` is not installed here, and is taken for a part of `acme-private`, which is not either."
    )


def test_a_requirement_for_another_system_brings_nothing(tmp_path: Path) -> None:
    env = """pip_packages = ["nobody-has; python_version < '3'"]\n"""
    root = project_with(tmp_path / "project", "import nobody_has", env=env)
    assert [problem.severity for problem in problems(root)] == ["error"]


def test_a_script_of_the_image_may_bring_anything_so_it_is_a_warning(tmp_path: Path) -> None:
    env = 'setup_sh = """#!/bin/sh\npip install acmelib\n"""\n'
    root = project_with(tmp_path / "project", "import acmelib", env=env)
    assert [(problem.code, problem.severity) for problem in problems(root)] == [("KF314", "warning")]


# -- where it lies -----------------------------------------------------------------------------------------------------

LAYOUTS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "below src": ("hoho.prep", {"src/hoho/__init__.py": "", "src/hoho/prep.py": ""}, 'paths = ["src"]'),
    "below src without an init file": ("hoho.prep", {"src/hoho/prep.py": ""}, 'paths = ["src"]'),
    "in another folder": ("hoho", {"lib/hoho.py": ""}, 'paths = ["lib"]'),
    "a package of the folder above": (
        "common.x",
        {"../common/__init__.py": "", "../common/x.py": ""},
        'paths = ["../common"]',
    ),
    "a folder of the folder above": ("common.x", {"../common/x.py": ""}, 'paths = ["../common"]'),
    "beside the project": (
        "two",
        {"../shared/one/__init__.py": "", "../shared/two/__init__.py": ""},
        'paths = ["../shared"]',
    ),
    "in the folder above": ("single", {"../single.py": ""}, 'paths = [".."]'),
    "two folders above": ("common", {"../../common/__init__.py": ""}, 'paths = ["../../common"]'),
    "a library of the repository": (
        "acme",
        {"../../.git/HEAD": "", "../../libs/acme/src/acme/__init__.py": "", "../../libs/acme/pyproject.toml": ""},
        'paths = ["../../libs/acme/src"]',
    ),
    "well known, and yet the user's": ("jwt", {"src/jwt.py": ""}, 'paths = ["src"]'),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_module_that_lies_nearby_is_an_error_that_says_where_and_what_to_write(layout: str, tmp_path: Path) -> None:
    module, files, advice = LAYOUTS[layout]
    root = project_with(tmp_path / "a" / "b" / "project", f"\nimport {module}", files=files)
    (problem,) = problems(root)
    assert (problem.code, problem.severity, problem.file.name, problem.span.line) == (
        "KF314",
        "error",
        "handlers.py",
        2,
    )
    assert problem.message.startswith(f"There is no module `{module}`: looked in `{root}`")
    assert advice in problem.help
    assert "PYTHONPATH=" in problem.help
    assert ("pip install -e ../../libs/acme" in problem.help) is (layout == "a library of the repository")
    with pytest.raises(ManifestError, match=r"handlers\.py:2:1: error\[KF314\]"):
        read_project(root)


@pytest.mark.parametrize(
    "key",
    ['[apis.other]\nfunction = "hoho.service:predict"\ninput = "json"\n', '[bundle]\nmodules = ["hoho.service"]\n'],
)
def test_a_module_that_the_kappafile_names_is_looked_for_nearby_too(key: str, tmp_path: Path) -> None:
    root = project_with(tmp_path / "project", "", files={"src/hoho/service.py": PREDICT})
    write(root, {"kappafile.toml": INFERRING + key})
    (problem,) = problems(root)
    assert problem.code == "KF304"
    assert 'paths = ["src"]' in problem.help


# -- imports that need not be there ------------------------------------------------------------------------------------

OPTIONAL = {
    "a handler": "try:\n    import nobody_has\nexcept ImportError:\n    pass",
    "suppress": "import contextlib\nwith contextlib.suppress(ImportError):\n    import nobody_has",
    "another version of Python": "import sys\nif sys.version_info < (3, 5):\n    import nobody_has",
    "another system": "import sys\nif sys.platform == 'win32':\n    import nobody_has",
    "what is asked for first": "from importlib.util import find_spec\nif find_spec('x'):\n    import nobody_has",
    "a script's end": "if __name__ == '__main__':\n    import nobody_has",
    "type checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nobody_has",
}


@pytest.mark.parametrize("case", OPTIONAL)
def test_code_that_goes_on_without_a_module_has_no_problem(case: str, tmp_path: Path) -> None:
    assert problems(project_with(tmp_path / "project", OPTIONAL[case])) == []


def test_a_well_known_module_becomes_a_requirement_and_a_word_of_the_users_wins(tmp_path: Path) -> None:
    absent = "import Stemmer"
    assert requirements(project_with(tmp_path / "one", absent)) == ["pystemmer"]
    env = 'pip_packages = ["pystemmer==2.2.0.3"]\n'
    assert requirements(project_with(tmp_path / "two", absent, env=env)) == ["pystemmer==2.2.0.3"]


# -- notebooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path"), [("features", "features.ipynb"), ("ml.features", "ml/features.ipynb")])
def test_a_notebook_of_a_modules_name_is_no_module_and_may_become_one(name: str, path: str, tmp_path: Path) -> None:
    help_ = (
        f"`{path}` is a notebook, which cannot be imported: `jupyter nbconvert --to script {path}` writes "
        f"`{path.removesuffix('.ipynb')}.py` from it."
    )
    importing = project_with(tmp_path / "importing", f"import {name}", files={path: "{}"})
    (problem,) = problems(importing)
    assert (problem.code, problem.help) == ("KF314", help_)
    naming = project_with(tmp_path / "naming", "", files={path: "{}"})
    kappafile = naming / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace("handlers:predict", f"{name}:predict"))
    (problem,) = problems(naming)
    assert (problem.code, problem.help) == ("KF304", help_)
    kappafile.write_text(INFERRING + f'[bundle]\nmodules = ["{name}"]\n')
    (problem,) = problems(naming)
    assert (problem.code, problem.help) == ("KF304", help_)
