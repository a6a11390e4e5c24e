"""Kappa's own wheel: complete, runnable from the zip, and the same bytes wherever it is made."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import tomli

from kappa._version import __version__
from kappa.build.packages.wheel import describe_kappa, kappa_wheel, write_zip

ROOT = Path(__file__).parents[3]
INFO = f"kappa_ml-{__version__}.dist-info"
MAKE = "import sys; from kappa.build.packages.wheel import kappa_wheel; sys.stdout.buffer.write(kappa_wheel().data)"


@pytest.fixture(scope="module")
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(kappa_wheel().data))


def test_wheel_is_named_so_that_pip_takes_it() -> None:
    assert kappa_wheel().name == f"kappa_ml-{__version__}-py3-none-any.whl"


def test_wheel_holds_every_module_template_and_schema(archive: zipfile.ZipFile) -> None:
    expected = {
        f"{prefix}{path.relative_to(ROOT).as_posix()}"
        for folder, prefix in (("kappa", ""), ("templates", "kappa/"), ("schemas", "kappa/"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".gitkeep"
    }
    own = {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert set(archive.namelist()) == expected | own | {"kappa/kappafile.example.toml"}


def test_record_lists_every_file_with_its_digest(archive: zipfile.ZipFile) -> None:
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(f"{INFO}/RECORD").decode()))}
    assert rows.pop(f"{INFO}/RECORD") == ["", ""]
    for name, (digest, size) in rows.items():
        data = archive.read(name)
        encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={encoded}", str(len(data)))
    assert set(rows) == set(archive.namelist()) - {f"{INFO}/RECORD"}


def test_metadata_asks_for_the_run_time_packages_only(archive: zipfile.ZipFile) -> None:
    described = Parser().parsestr(archive.read(f"{INFO}/METADATA").decode())
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["Name"] == "kappa-ml"
    assert described["Version"] == __version__
    assert described["Requires-Python"] == project["requires-python"]
    assert described.get_all("Requires-Dist") == list(describe_kappa().runtime)
    assert len(describe_kappa().runtime) == len(project["optional-dependencies"]["runtime"])


def test_zip_depends_on_nothing_but_its_entries() -> None:
    first = write_zip({"b": b"2", "a": b"1"})
    assert first == write_zip({"a": b"1", "b": b"2"})
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert [(member.filename, member.date_time, member.external_attr >> 16) for member in archive.infolist()] == [
            ("a", (1980, 1, 1, 0, 0, 0), 0o100644),
            ("b", (1980, 1, 1, 0, 0, 0), 0o100644),
        ]


def test_wheel_made_by_the_wheel_is_itself(tmp_path: Path) -> None:
    wheel = tmp_path / kappa_wheel().name
    wheel.write_bytes(kappa_wheel().data)
    environ = {**os.environ, "PYTHONPATH": str(wheel)}
    made = subprocess.run([sys.executable, "-c", MAKE], env=environ, cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == kappa_wheel().data


def test_wheel_made_from_installed_files_is_the_one_made_from_the_checkout(tmp_path: Path) -> None:
    published = tmp_path / "published"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(published)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = published.iterdir()
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(installed), str(wheel)]
    subprocess.run(pip, capture_output=True, check=True)
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    made = subprocess.run([sys.executable, "-c", MAKE], env=environ, cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == kappa_wheel().data


def test_pip_installs_the_wheel_with_its_command(tmp_path: Path) -> None:
    wheel = tmp_path / kappa_wheel().name
    wheel.write_bytes(kappa_wheel().data)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(pip, capture_output=True, check=True)
    assert (target / "kappa" / "templates" / "bundle" / ".dockerignore.j2").is_file()
    assert (target / "bin" / "kappa").is_file()
