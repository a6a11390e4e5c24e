"""Code of the user's own that lies elsewhere: folders, installations from a folder, a repository or a file, sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.code.modules import search_path
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ManifestError
from tests.build.projects import INFERRING, PREDICT, write


def project_in(root: Path, code: str, *, env: str = "", bundle: str = "") -> Path:
    more = f"[bundle]\n{bundle}" if bundle else ""
    return write(root, {"kappafile.toml": INFERRING + env + more, "handlers.py": f"{code}\n{PREDICT}"})


def problems(root: Path) -> list[Diagnostic]:
    return list(check_kappafile(root / "kappafile.toml")[1])


def plan_of(root: Path) -> BuildPlan:
    return plan_build(read_project(root), version=None, labels={}, environ=os.environ)


def packed(plan: BuildPlan) -> list[str]:
    return sorted(str(path) for path in (*plan.code, *plan.includes))


def requirements(plan: BuildPlan) -> list[str]:
    return [one.text for one in plan.requirements if one.why != "Kappa at run time"]


# -- folders of `[bundle] paths` ---------------------------------------------------------------------------------------

PATHS: Mapping[str, tuple[str, str, Mapping[str, str], list[str]]] = {
    "a package": (
        "../common",
        "from common.x import c",
        {"../common/__init__.py": "", "../common/x.py": "c = 1", "../common/x.json": "{}", "../other.py": ""},
        ["common/__init__.py", "common/x.json", "common/x.py"],
    ),
    "a package without an init file": (
        "../common",
        "from common.x import c",
        {"../common/x.py": "c = 1"},
        ["common/x.py"],
    ),
    "a folder of packages": (
        "../shared",
        "import one, two.deep",
        {"../shared/one/__init__.py": "", "../shared/two/__init__.py": "", "../shared/two/deep.py": "import one"},
        ["one/__init__.py", "two/__init__.py", "two/deep.py"],
    ),
    "a folder of modules": ("../shared", "import single", {"../shared/single.py": ""}, ["single.py"]),
    "a library in a src layout": (
        "../libs/acme",
        "import acme.core",
        {"../libs/acme/src/acme/__init__.py": "", "../libs/acme/src/acme/core.py": "", "../libs/acme/setup.py": ""},
        ["acme/__init__.py", "acme/core.py"],
    ),
    "a folder of the project": (
        "src",
        "from hoho import prep",
        {"src/hoho/__init__.py": "", "src/hoho/prep.py": ""},
        ["src/hoho/__init__.py", "src/hoho/prep.py"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PATHS)
def test_code_in_a_named_folder_is_packed_and_the_project_runs_with_it(case: str, tmp_path: Path) -> None:
    path, code, files, expected = PATHS[case]
    root = project_in(write(tmp_path / "work", {}) / "project", code, bundle=f'paths = ["{path}"]\n')
    write(root, files)
    assert problems(root) == []
    assert packed(plan_of(root)) == sorted([*expected, "handlers.py"])
    check = (
        "from pathlib import Path\nfrom kappa.build.project import read_project\n"
        "from kappa.services.service import load_service\nfrom kappa.services.source import ServiceSource\n"
        f"project = read_project(Path({str(root)!r}))\n"
        "load_service(ServiceSource.of_project(project.spec, project.sources, root=project.root))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("path", "code"), [("/somewhere", "KF303"), ("~/common", "KF303"), ("../absent", "KF302")])
def test_a_path_that_is_of_this_machine_or_not_there_is_refused(path: str, code: str, tmp_path: Path) -> None:
    root = project_in(tmp_path / "project", "", bundle=f'paths = ["{path}"]\n')
    assert [problem.code for problem in problems(root)] == [code]


def test_the_current_folder_counts_where_pythonpath_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "services" / "a"
    entries = [str(tmp_path), "/elsewhere"]
    assert search_path(root, entries, environ={}).local == (root,)
    assert search_path(root, ["/scripts", str(tmp_path)], environ={}).local == (root, tmp_path)
    for value in (".", str(tmp_path), os.pathsep.join(["/x", "."])):
        assert search_path(root, entries, environ={"PYTHONPATH": value}).local == (root, tmp_path)
    assert search_path(root, ["", "/elsewhere"], environ={}).local == (root,)


# -- what was not installed from an index ------------------------------------------------------------------------------


def installed(
    site: Path,
    *,
    direct: object,
    files: Mapping[str, str],
    name: str = "acme-plain",
    installer: str = "pip",
    requires: str = "",
) -> None:
    info = f"{name.replace('-', '_')}-0.1.0.dist-info"
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD", f"{info}/METADATA"))
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n{requires}"
    texts = {"RECORD": record, "METADATA": metadata, "INSTALLER": f"{installer}\n"}
    texts |= {"direct_url.json": json.dumps(direct)} if direct is not None else {}
    write(site, {**files, **{f"{info}/{file}": text for file, text in texts.items()}})


CODE = {"acme_plain/__init__.py": "from acme_plain import inner", "acme_plain/inner.py": "", "acme_plain/data.csv": "1"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "env" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def test_what_was_installed_from_a_folder_is_packed_with_its_data(site: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "lib", {"pyproject.toml": ""})
    installed(site, direct={"url": folder.as_uri(), "dir_info": {}}, files=CODE)
    plan = plan_of(project_in(tmp_path / "project", "import acme_plain"))
    assert packed(plan) == ["acme_plain/__init__.py", "acme_plain/data.csv", "acme_plain/inner.py", "handlers.py"]
    assert requirements(plan) == []


def test_an_environment_inside_of_the_project_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project_in(tmp_path / "project", "import acme_plain")
    folder, inside = write(tmp_path / "lib", {"pyproject.toml": ""}), root / ".venv" / "lib" / "site-packages"
    installed(inside, direct={"url": folder.as_uri(), "dir_info": {}}, files=CODE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(inside)])
    assert "acme_plain/__init__.py" in packed(plan_of(root))


REFUSED: Mapping[str, tuple[object, Mapping[str, str], str]] = {
    "a repository": (
        {"url": "https://git.example.org/acme.git", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
        CODE,
        "was installed from the repository `https://git.example.org/acme.git`",
    ),
    "a repository on this machine": (
        {"url": "file:///srv/acme", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
        CODE,
        "was installed from the repository `file:///srv/acme`",
    ),
    "a wheel": (
        {"url": "file:///tmp/acme_plain-0.1.0-py3-none-any.whl", "archive_info": {}},
        CODE,
        "was installed from the file",
    ),
    "a folder with compiled modules": (
        {"url": "FOLDER", "dir_info": {}},
        {**CODE, "acme_plain/fast.cpython-311-x86_64-linux-gnu.so": ""},
        "has compiled modules",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_else_has_is_refused_by_name_with_its_origin(case: str, site: Path, tmp_path: Path) -> None:
    direct, files, said = REFUSED[case]
    folder = write(tmp_path / "lib", {"pyproject.toml": ""})
    installed(site, direct=json.loads(json.dumps(direct).replace("FOLDER", folder.as_uri())), files=files)
    root = project_in(tmp_path / "project", "\nimport acme_plain.inner")
    (problem,) = problems(root)
    assert (problem.code, problem.severity, problem.file.name, problem.span.line) == (
        "KF342",
        "error",
        "handlers.py",
        2,
    )
    assert "`acme-plain` 0.1.0" in problem.message
    assert said in problem.message
    assert problem.help
    with pytest.raises(ManifestError):
        plan_of(root)
    write(root, {"kappafile.toml": f'{INFERRING}pip_packages = ["acme-plain==0.1.0"]\n'})
    assert requirements(plan_of(root)) == ["acme-plain==0.1.0"]


def test_an_archive_is_asked_for_by_its_url(site: Path, tmp_path: Path) -> None:
    url = "https://packages.example.org/acme_plain-0.1.0-py3-none-any.whl"
    installed(site, direct={"url": url, "archive_info": {"hash": "sha256=00"}}, files=CODE)
    (requirement,) = requirements(plan_of(project_in(tmp_path / "project", "import acme_plain")))
    assert requirement.split() == ["acme-plain", "@", url]


@pytest.mark.parametrize(
    ("direct", "installer"),
    [
        (None, "pip"),
        ({"url": "file:///croot/acme_1700000000000/work", "dir_info": {}}, "conda"),
        ({"url": "file:///surely/not/there", "dir_info": {}}, "pip"),
    ],
)
def test_what_an_index_or_conda_brought_is_asked_for_by_its_version(
    direct: object, installer: str, site: Path, tmp_path: Path
) -> None:
    installed(site, direct=direct, files=CODE, installer=installer)
    assert requirements(plan_of(project_in(tmp_path / "project", "import acme_plain"))) == ["acme-plain==0.1.0"]


def test_a_namespace_that_an_editable_installation_maps_is_packed(site: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "lib" / "code", {"__init__.py": "import acme.mapped.inner", "inner.py": "", "x.csv": ""})
    finder = f"MAPPING: dict[str, str] = { ({'acme.mapped': str(source)})!r}\nNAMESPACES = {{'acme': ['x']}}\n"
    write(site, {"__editable___acme_mapped_0_1_0_finder.py": finder})
    installed(
        site,
        direct={"url": (tmp_path / "lib").as_uri(), "dir_info": {"editable": True}},
        files={"__editable___acme_mapped_0_1_0_finder.py": finder},
        name="acme-mapped",
    )
    plan = plan_of(project_in(tmp_path / "project", "from acme.mapped import inner"))
    assert packed(plan) == ["acme/mapped/__init__.py", "acme/mapped/inner.py", "acme/mapped/x.csv", "handlers.py"]
    assert requirements(plan) == []


@pytest.mark.parametrize(
    "init",
    [
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
        "__import__('pkg_resources').declare_namespace(__name__)\n",
    ],
)
def test_a_package_that_extends_its_path_has_parts_of_others(init: str, site: Path, tmp_path: Path) -> None:
    installed(site, direct=None, files={"company/__init__.py": init, "company/common.py": ""}, name="company-common")
    root = project_in(tmp_path / "project", "from company import common, own")
    write(root, {"company/__init__.py": init, "company/own.py": ""})
    plan = plan_of(root)
    assert packed(plan) == ["company/__init__.py", "company/own.py", "handlers.py"]
    assert [text for text in requirements(plan) if "setuptools" not in text] == ["company-common==0.1.0"]


def test_a_part_of_a_namespace_that_is_not_installed_is_not_of_those_that_are(site: Path, tmp_path: Path) -> None:
    installed(site, direct=None, files={"acme/one/__init__.py": ""}, name="acme-one")
    for code in ("import acme.two", "from acme import two"):
        (problem,) = problems(project_in(tmp_path / "project", f"import acme.one\n{code}"))
        assert (problem.code, problem.span.line) == ("KF314", 2)
        assert "`acme.two`" in problem.message


# -- sources of a pyproject --------------------------------------------------------------------------------------------

MEMBER = '[project]\nname = "acme"\nversion = "1"\ndependencies = ["tomli>=2"]\n'
APP = '[project]\nname = "app"\nversion = "1"\ndependencies = ["acme", "click"]\n'
SOURCES: Mapping[str, str] = {
    "a path of uv's": '[tool.uv.sources]\nacme = { path = "../acme", editable = true }\n',
    "a path of uv's for some systems": (
        '[tool.uv.sources]\nacme = [{ path = "../acme", marker = "os_name == \'posix\'" }]\n'
    ),
    "a workspace of uv's": (
        '[tool.uv.sources]\nacme = { workspace = true }\n[tool.uv.workspace]\nmembers = ["../acme"]\n'
    ),
    "a path of Poetry's": '[tool.poetry.dependencies]\nacme = { path = "../acme", develop = true }\n',
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_a_project_of_ones_own_is_packed_with_its_needs_and_never_asked_of_an_index(
    source: str, tmp_path: Path
) -> None:
    root = project_in(tmp_path / "app", "import acme", env='pyproject = "pyproject.toml"\n')
    write(
        tmp_path,
        {
            "app/pyproject.toml": APP + SOURCES[source],
            "acme/pyproject.toml": MEMBER,
            "acme/src/acme/__init__.py": "",
            "acme/src/acme/data.json": "{}",
        },
    )
    plan = plan_of(root)
    assert packed(plan) == ["acme/__init__.py", "acme/data.json", "handlers.py"]
    assert requirements(plan) == ["click", "tomli>=2"]


def test_the_member_of_a_workspace_knows_what_the_workspace_says(tmp_path: Path) -> None:
    root = project_in(tmp_path / "services" / "app", "import acme", env='pyproject = "pyproject.toml"\n')
    whole = '[tool.uv.workspace]\nmembers = ["services/*", "libs/*"]\n[tool.uv.sources]\nacme = { workspace = true }\n'
    files = {"services/app/pyproject.toml": APP, "libs/acme/pyproject.toml": MEMBER, "libs/acme/acme/__init__.py": ""}
    write(tmp_path, {**files, "pyproject.toml": whole})
    plan = plan_of(root)
    assert packed(plan) == ["acme/__init__.py", "handlers.py"]
    assert requirements(plan) == ["click", "tomli>=2"]


NO_SOURCES = {
    "a repository": '[tool.uv.sources]\nacme = { git = "https://git.example.org/acme" }\n',
    "a repository of Poetry's": '[tool.poetry.dependencies]\nacme = { git = "https://git.example.org/acme" }\n',
    "a wheel": '[tool.uv.sources]\nacme = { path = "acme.whl" }\n',
    "a folder that is not there": '[tool.uv.sources]\nacme = { path = "../gone" }\n',
    "a member that is not there": "[tool.uv.sources]\nacme = { workspace = true }\n[tool.uv.workspace]\nmembers = []\n",
    "an index of its own": (
        '[tool.uv.sources]\nacme = { index = "mine" }\n'
        '[[tool.uv.index]]\nname = "mine"\nurl = "https://packages.example.org/simple"\n'
    ),
}


@pytest.mark.parametrize("source", NO_SOURCES)
def test_a_source_that_a_bundle_cannot_have_is_refused_by_name(source: str, tmp_path: Path) -> None:
    root = project_in(tmp_path / "app", "", env='pyproject = "pyproject.toml"\n')
    write(root, {"pyproject.toml": APP + NO_SOURCES[source], "acme.whl": ""})
    (problem,) = problems(root)
    assert problem.code == "KF316"
    assert "`acme`" in problem.message


def test_an_archive_and_an_index_that_is_asked_are_taken(tmp_path: Path) -> None:
    env = 'pyproject = "pyproject.toml"\npip_extra_index_url = ["https://packages.example.org/simple/"]\n'
    root = project_in(tmp_path / "app", "", env=env)
    write(root, {"pyproject.toml": APP + NO_SOURCES["an index of its own"]})
    assert requirements(plan_of(root)) == ["acme", "click"]
    write(root, {"pyproject.toml": f'{APP}[tool.uv.sources]\nacme = {{ url = "https://example.org/acme.zip" }}\n'})
    assert requirements(plan_of(root)) == ["acme @ https://example.org/acme.zip", "click"]


# -- distributions that bring the same module --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("brings", "named"),
    [
        ("onnxruntime", "onnxruntime-gpu==1.18.0"),
        ("opencv-python", "opencv-python-headless"),
        ("psycopg2-binary", "psycopg2"),
        ("faiss-cpu", "faiss-gpu"),
        ("tensorflow", "tensorflow-cpu>=2"),
        ("xgboost", "xgboost-cpu"),
        ("pillow", "Pillow-SIMD"),
    ],
)
def test_of_siblings_the_one_that_the_user_names_is_asked_for_alone(
    brings: str, named: str, site: Path, tmp_path: Path
) -> None:
    installed(site, direct=None, files={"surely_only_here.py": ""}, name=brings)
    root = project_in(tmp_path / "project", "import surely_only_here", env=f'pip_packages = ["{named}"]\n')
    (planned,) = [one for one in plan_of(root).requirements if one.why != "Kappa at run time"]
    assert planned.text == named
    assert planned.why == f"`pip_packages`, instead of `{brings}`"


def test_of_several_that_have_installed_a_module_the_one_that_the_user_names_is_meant(
    site: Path, tmp_path: Path
) -> None:
    for name in ("acme-a", "acme-b"):
        installed(site, direct=None, files={"acme_both.py": ""}, name=name)
    root = project_in(tmp_path / "project", "import acme_both", env='pip_packages = ["Acme.B"]\n')
    assert requirements(plan_of(root)) == ["Acme.B"]


# -- names that are taken ----------------------------------------------------------------------------------------------

TAKEN = {
    "a distribution of Kappa's": ("click", ""),
    "in other letters": ("Falcon", ""),
    "what that needs in turn": ("annotated_types", ""),
    "a module of Kappa's needs": ("pydantic_core", ""),
    "a distribution that is named": ("Redis", 'pip_packages = ["redis"]\n'),
    "a module of one": ("yaml", 'pip_packages = ["PyYAML"]\n'),
    "a module of one that is not installed": ("cv2", 'pip_packages = ["opencv-python-headless"]\n'),
    "what the code imports": ("tomli", ""),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_service_is_not_called_like_what_it_needs(case: str, tmp_path: Path) -> None:
    name, env = TAKEN[case]
    code = "import tomli" if case == "what the code imports" else ""
    root = project_in(tmp_path / "project", code, env=env)
    text = (root / "kappafile.toml").read_text(encoding="utf-8").replace('"Service"', f'"{name}"')
    write(root, {"kappafile.toml": text})
    (problem,) = problems(root)
    assert (problem.code, problem.path) == ("KF311", "/service/name")
    assert f"`{name}`" in problem.message


def test_a_name_of_what_is_installed_and_not_needed_is_free(tmp_path: Path) -> None:
    root = project_in(tmp_path / "project", "")
    text = (root / "kappafile.toml").read_text(encoding="utf-8").replace('"Service"', '"Pytest"')
    write(root, {"kappafile.toml": text})
    assert problems(root) == []


# -- imports whose name is made at run time ----------------------------------------------------------------------------

LITERAL = {
    "relative to the package": "importlib.import_module('.ten', __package__)",
    "relative to the module": "importlib.import_module('.ten', __name__)",
    "relative to a name": "importlib.import_module('.ten', package='zoo')",
    "absolute": "importlib.import_module('zoo.ten')",
    "from a function": "def __getattr__(name):\n    return importlib.import_module('.ten', __spec__.parent)",
}


@pytest.mark.parametrize("case", LITERAL)
def test_a_dynamic_import_of_a_plain_text_is_followed(case: str, tmp_path: Path) -> None:
    root = project_in(tmp_path / "project", "import zoo")
    write(root, {"zoo/__init__.py": f"import importlib\n{LITERAL[case]}\n", "zoo/ten.py": "", "zoo/eleven.py": ""})
    assert problems(root) == []
    assert packed(plan_of(root)) == ["handlers.py", "zoo/__init__.py", "zoo/ten.py"]


MADE = {
    "a variable": "importlib.import_module(name)",
    "a relative one": "importlib.import_module('.' + name, __name__)",
    "a format": "importlib.import_module(f'.{name}', __package__)",
    "what lies in the package": "for one in pkgutil.iter_modules(__path__): load(one)",
    "a package in a variable": "importlib.import_module('.ten', where)",
}


@pytest.mark.parametrize("case", MADE)
def test_a_name_that_is_made_is_a_warning_once_per_package_until_modules_are_named(case: str, tmp_path: Path) -> None:
    root = project_in(tmp_path / "project", "import zoo")
    write(root, {"zoo/__init__.py": f"import importlib, pkgutil\n{MADE[case]}\n{MADE[case]}\n", "zoo/ten.py": ""})
    (problem,) = problems(root)
    assert (problem.code, problem.severity, problem.span.line) == ("KF340", "warning", 2)
    assert "`zoo`" in problem.help
    write(root, {"kappafile.toml": f'{INFERRING}[bundle]\nmodules = ["zoo.ten"]\n'})
    assert problems(root) == []
    assert PurePosixPath("zoo/ten.py") in plan_of(root).code
