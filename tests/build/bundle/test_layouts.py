"""Files arrive where the code looks: built from every layout of projects, and loaded where nothing of them is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.project import read_project
from kappa.errors import ConfigurationError
from kappa.spec.manifest import read_manifest
from tests.build.projects import write

READ = "def predict(value):\n    return DATA.read_text() + str(value)\n"
BESIDE = f"from pathlib import Path\nDATA = Path(__file__).with_name('data.txt')\n{READ}"
RESOURCE = f"from importlib.resources import files\nDATA = files(__package__) / 'data.txt'\n{READ}"
WORDS = "def predict(value):\n    return words() + str(value)\n"
LIBRARY = "from pathlib import Path\ndef words():\n    return Path(__file__).with_name('data.txt').read_text()\n"


def above(levels: int, path: str) -> str:
    return f"from pathlib import Path\nDATA = Path(__file__).resolve().parents[{levels}] / '{path}'\n{READ}"


@dataclass(frozen=True)
class Layout:
    """A project in ``project``; its function reads a file that says ``found``."""

    files: Mapping[str, str]
    function: str
    include: Sequence[str] = ()
    path: Sequence[str] = ()
    """What an editable installation, or `PYTHONPATH`, adds to `sys.path`."""
    mapped: Mapping[str, str] = field(default_factory=dict)
    """What setuptools maps for an editable installation: name to folder."""
    code_paths: Sequence[str] = ()


LAYOUTS = {
    "flat, beside": Layout(
        {"project/handlers.py": BESIDE, "project/data.txt": "found"}, "handlers:predict", ["data.txt"]
    ),
    "flat package, two folders up": Layout(
        {
            "project/app/__init__.py": "",
            "project/app/inner/api.py": above(2, "configs/data.txt"),
            "project/configs/data.txt": "found",
        },
        "app.inner.api:predict",
        ["configs"],
    ),
    "src, beside": Layout(
        {
            "project/src/hoho/__init__.py": "",
            "project/src/hoho/service.py": BESIDE,
            "project/src/hoho/data.txt": "found",
        },
        "hoho.service:predict",
        ["src/hoho/*.txt"],
        path=["project/src"],
        code_paths=["src"],
    ),
    "src, as a resource": Layout(
        {
            "project/src/hoho/__init__.py": "",
            "project/src/hoho/service.py": RESOURCE,
            "project/src/hoho/data.txt": "found",
        },
        "hoho.service:predict",
        ["src"],
        path=["project/src"],
        code_paths=["src"],
    ),
    "src, out of it": Layout(
        {
            "project/src/hoho/__init__.py": "",
            "project/src/hoho/service.py": above(2, "configs/data.txt"),
            "project/configs/data.txt": "found",
        },
        "hoho.service:predict",
        ["configs/**/*.txt"],
        path=["project/src"],
        code_paths=["src"],
    ),
    "src, deeper, a namespace": Layout(
        {
            "project/src/acme/team/hoho/service.py": above(4, "configs/data.txt"),
            "project/configs/data.txt": "found",
        },
        "acme.team.hoho.service:predict",
        ["configs"],
        path=["project/src"],
        code_paths=["src"],
    ),
    "src, mapped by an editable installation": Layout(
        {
            "project/src/hoho/__init__.py": "",
            "project/src/hoho/service.py": above(2, "configs/data.txt"),
            "project/configs/data.txt": "found",
        },
        "hoho.service:predict",
        ["configs"],
        mapped={"hoho": "project/src/hoho"},
        code_paths=["src"],
    ),
    "src under both of its names": Layout(
        {
            "project/src/hoho/__init__.py": "",
            "project/src/hoho/service.py": f"from hoho import prep\n{above(2, 'data.txt')}",
            "project/src/hoho/prep.py": "",
            "project/data.txt": "found",
        },
        "src.hoho.service:predict",
        ["data.txt"],
        path=["project/src"],
        code_paths=["src"],
    ),
    "a folder of another name": Layout(
        {
            "project/lib/python/hoho.py": above(2, "data.txt"),
            "project/data.txt": "found",
        },
        "hoho:predict",
        ["data.txt"],
        path=["project/lib/python"],
        code_paths=["lib/python"],
    ),
    "a package in a folder of another name": Layout(
        {
            "project/code/__init__.py": "",
            "project/code/service.py": BESIDE,
            "project/code/data.txt": "found",
        },
        "mapped.service:predict",
        ["code"],
        mapped={"mapped": "project/code"},
    ),
    "imported from the repository's root": Layout(
        {
            "services/a/project/handlers.py": "from services.a.project.features import predict\n",
            "services/a/project/features.py": BESIDE,
            "services/a/project/data.txt": "found",
        },
        "handlers:predict",
        ["data.txt"],
        path=["."],
    ),
    "two folders of code": Layout(
        {
            "project/src/hoho.py": f"from other import DATA\n{READ}",
            "project/more/other.py": above(1, "data.txt"),
            "project/data.txt": "found",
        },
        "hoho:predict",
        ["data.txt"],
        path=["project/src", "project/more"],
        code_paths=["src", "more"],
    ),
    "a library outside, flat": Layout(
        {
            "project/handlers.py": f"from acme.inner import words\n{WORDS}",
            "libs/acme/acme/__init__.py": "",
            "libs/acme/acme/inner.py": LIBRARY,
            "libs/acme/acme/data.txt": "found",
        },
        "handlers:predict",
        path=["libs/acme"],
    ),
    "a library outside, src": Layout(
        {
            "project/handlers.py": f"from acme.inner import words\n{WORDS}",
            "libs/acme/src/acme/__init__.py": "",
            "libs/acme/src/acme/inner/__init__.py": LIBRARY,
            "libs/acme/src/acme/inner/data.txt": "found",
        },
        "handlers:predict",
        path=["libs/acme/src"],
    ),
    "a library outside, data in another of its packages": Layout(
        {
            "project/handlers.py": f"from acme.inner import words\n{WORDS}",
            "libs/acme/__init__.py": "",
            "libs/acme/inner.py": LIBRARY.replace("data.txt", "assets').joinpath('deep/data.txt"),
            "libs/acme/assets/deep/data.txt": "found",
        },
        "handlers:predict",
        path=["libs"],
    ),
    "a library outside, a namespace": Layout(
        {
            "project/handlers.py": f"from company.common.inner import words\n{WORDS}",
            "libs/company/common/inner.py": LIBRARY,
            "libs/company/common/data.txt": "found",
        },
        "handlers:predict",
        path=["libs"],
    ),
    "a library outside, mapped": Layout(
        {
            "project/handlers.py": f"from mapped.inner import words\n{WORDS}",
            "libs/code/__init__.py": "",
            "libs/code/inner.py": LIBRARY,
            "libs/code/data.txt": "found",
        },
        "handlers:predict",
        mapped={"mapped": "libs/code"},
    ),
    "a library outside, mapped below a namespace": Layout(
        {
            "project/handlers.py": f"from acme.mapped.inner import words\n{WORDS}",
            "libs/code/__init__.py": "",
            "libs/code/inner.py": LIBRARY,
            "libs/code/data.txt": "found",
        },
        "handlers:predict",
        mapped={"acme.mapped": "libs/code"},
    ),
    "a library inside, a project of its own": Layout(
        {
            "project/handlers.py": f"from acme.inner import words\n{WORDS}",
            "project/packages/acme/pyproject.toml": "[project]\nname = 'acme'\n",
            "project/packages/acme/src/acme/__init__.py": "",
            "project/packages/acme/src/acme/inner.py": LIBRARY,
            "project/packages/acme/src/acme/data.txt": "found",
        },
        "handlers:predict",
        path=["project/packages/acme/src"],
        code_paths=["packages/acme/src"],
    ),
}


def planned(root: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> BuildPlan:
    """Plan a layout's project as an interpreter would in which it is installed."""
    write(root, layout.files)
    project = next(root.rglob("project"))
    write(
        project,
        {
            "kappafile.toml": (
                f'kappafile = 1\n[service]\nname = "Service"\n[bundle]\nresolver = "installed"\n'
                f"include = {json.dumps(list(layout.include))}\n"
                f'[apis.predict]\nfunction = "{layout.function}"\ninput = "json"\n'
            )
        },
    )
    for path in reversed(layout.path):
        monkeypatch.syspath_prepend(root / path)
    if layout.mapped:
        mapping = {name: str(root / folder) for name, folder in layout.mapped.items()}
        write(root / "site-packages", {"__editable___acme_finder.py": f"MAPPING: dict[str, str] = {mapping!r}\n"})
        monkeypatch.syspath_prepend(root / "site-packages")
    return plan_build(read_project(project), version=None, labels={}, environ=os.environ)


LOAD = """
import sys
from pathlib import Path
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
if {taken!r}:
    sys.modules.update({{name: type(sys)(name) for name in {taken!r}}})
service = load_service(ServiceSource.of_bundle(open_bundle(Path({bundle!r})), on_path={on_path!r})).as_object()
print(service.predict(1))
"""


def loaded(bundle: Path, *, on_path: bool = True, taken: Sequence[str] = ()) -> str:
    """Return what the service answers in a process that knows nothing of the project."""
    text = LOAD.format(bundle=str(bundle), on_path=on_path, taken=list(taken))
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=bundle, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_arrive_where_the_code_looks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS[name]
    plan = planned(tmp_path / "made", layout, monkeypatch)
    build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    shutil.rmtree(tmp_path / "made")
    assert read_manifest(tmp_path / "bundle").code_paths == tuple(layout.code_paths)
    assert loaded(tmp_path / "bundle") == "found1"


@pytest.mark.parametrize("taken", [(), ("hoho",)], ids=["found", "isolated"])
def test_folders_of_code_are_found_without_sys_path_and_beside_others(
    taken: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path / "made", LAYOUTS["src, out of it"], monkeypatch)
    build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    shutil.rmtree(tmp_path / "made")
    assert loaded(tmp_path / "bundle", on_path=False, taken=taken) == "found1"


def test_what_a_library_holds_is_left_out_by_exclude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS["a library outside, flat"]
    files = {**layout.files, "libs/acme/acme/tests/big.bin": "", "libs/acme/acme/__pycache__/x.pyc": ""}
    write(tmp_path, files)
    plan = planned(tmp_path, Layout(files, layout.function, path=layout.path), monkeypatch)
    assert [str(path) for path in plan.includes] == ["acme/data.txt", "acme/tests/big.bin"]
    kappafile = tmp_path / "project" / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace("include = []", 'exclude = ["acme/tests"]'))
    plan = plan_build(read_project(kappafile), version=None, labels={}, environ=os.environ)
    assert [str(path) for path in plan.includes] == ["acme/data.txt"]


def test_patterns_name_code_by_its_path_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, LAYOUTS["src under both of its names"], monkeypatch)
    assert [str(path) for path in plan.code] == [
        "src/hoho/__init__.py",
        "src/hoho/prep.py",
        "src/hoho/service.py",
    ]
    kappafile = tmp_path / "project" / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace("[bundle]", '[bundle]\nexclude = ["src/hoho/prep.py"]'))
    plan = plan_build(read_project(kappafile), version=None, labels={}, environ=os.environ)
    assert [str(path) for path in plan.code] == ["src/hoho/__init__.py", "src/hoho/service.py"]


def test_a_module_of_the_services_name_is_refused_in_every_folder_of_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout({"project/src/Service.py": READ}, "Service:predict", path=["project/src"])
    with pytest.raises(ConfigurationError, match="Service"):
        planned(tmp_path, layout, monkeypatch)


SCRIPT = """
import kappa
from pathlib import Path
from kappa.adapters import JsonInput

DATA = Path(__file__).resolve().parents[2] / "configs" / "data.txt"
TEXT = DATA.read_text()

@kappa.files(include=["../../configs/*.txt"], resolver="installed")
class Hoho(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def predict(self, value):
        return TEXT + str(value)
"""


def test_the_project_of_a_class_below_src_is_what_holds_src(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path / "made",
        {
            "pyproject.toml": "[project]\nname = 'hoho'\n",
            "src/hoho/__init__.py": "",
            "src/hoho/service.py": SCRIPT,
            "configs/data.txt": "found",
        },
    )
    text = f"from hoho.service import Hoho\nHoho().save_to_dir({str(tmp_path / 'bundle')!r})\n"
    write(tmp_path / "made", {"src/save.py": text})
    done = subprocess.run(
        [sys.executable, "made/src/save.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "made")
    assert loaded(tmp_path / "bundle") == "found1"
