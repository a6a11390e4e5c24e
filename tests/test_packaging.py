"""What the distribution holds and needs: compared with the sources, so that no template or schema is ever missing."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kappa._version import __version__

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LEFT_OUT = {"__pycache__", ".DS_Store"}

TOP_LEVEL = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "kappafile.example.toml",
    "pyproject.toml",
}
"""What the source distribution holds beside `kappa/`, `templates/` and `schemas/`."""


def files_below(folder: str) -> set[str]:
    """Return the files of a folder of the repository as POSIX paths that begin with its name."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not LEFT_OUT & set(path.parts)}


def build(source: Path, kind: str, destination: Path) -> Path:
    """Build a distribution of ``kind`` as pip would, without an index, and return its file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(destination)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (built,) = destination.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


def names_in_wheel(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_the_package_its_templates_and_schemas_and_nothing_else(wheel: Path) -> None:
    metadata = f"kappa_ml-{__version__}.dist-info"
    assert names_in_wheel(wheel) == (
        files_below("kappa")
        | {f"kappa/{name}" for name in files_below("templates") | files_below("schemas")}
        | {"kappa/kappafile.example.toml"}
        | {f"{metadata}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    )


def test_wheel_runs_on_every_system(wheel: Path) -> None:
    assert wheel.name == f"kappa_ml-{__version__}-py3-none-any.whl"


def test_source_distribution_holds_what_the_wheel_is_made_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == TOP_LEVEL | files_below("kappa") | files_below("templates") | files_below("schemas")


def test_wheel_of_the_source_distribution_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    again = build(unpacked, "wheel", tmp_path / "wheel")
    assert names_in_wheel(again) == names_in_wheel(wheel)


def test_bundles_carry_the_same_wheel_from_a_checkout_and_from_an_installation(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import sys; from kappa.build.packages.wheel import kappa_wheel; sys.stdout.buffer.write(kappa_wheel().data)"
    installed, checkout = (
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r}); {code}"],
            check=True,
            capture_output=True,
        ).stdout
        for path in (tmp_path, ROOT)
    )
    assert zipfile.ZipFile(io.BytesIO(installed)).namelist() == zipfile.ZipFile(io.BytesIO(checkout)).namelist()
    assert installed == checkout


def requirements(extra: str | None = None) -> list[Requirement]:
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in listed]


def test_what_a_bundle_needs_is_part_of_what_kappa_needs() -> None:
    assert set(map(str, requirements("runtime"))) <= set(map(str, requirements()))


def test_no_dependency_of_the_five_minute_path_caps_python_or_pins_one_version() -> None:
    assert PROJECT["requires-python"] == ">=3.10"
    assert [str(each) for each in requirements() if any(part.operator == "==" for part in each.specifier)] == []


def test_requirements_name_no_extra_that_would_change_a_version() -> None:
    # `gunicorn[fast]` downgrades gunicorn to one without the ASGI worker.
    assert [str(each) for each in requirements() + requirements("runtime") if each.extras] == []


@pytest.mark.parametrize("name", ["gunicorn", "uvloop"])
def test_what_windows_cannot_install_is_not_asked_of_it(name: str) -> None:
    (requirement,) = [each for each in requirements("runtime") if each.name == name]
    assert requirement.marker is not None
    assert not requirement.marker.evaluate({"sys_platform": "win32"})
    assert requirement.marker.evaluate({"sys_platform": "darwin"})


def test_gunicorn_is_of_the_line_whose_worker_kappa_extends() -> None:
    (gunicorn,) = [each for each in requirements("runtime") if each.name == "gunicorn"]
    assert gunicorn.specifier == SpecifierSet(">=27,<28")


def test_command_is_kappa() -> None:
    assert PROJECT["scripts"] == {"kappa": "kappa.cli.main:main"}


def test_license_is_the_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
