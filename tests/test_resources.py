"""Kappa finds its data files in a checkout and in a wheel that is run as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kappa._resources import resource

ROOT = Path(__file__).parents[1]


def test_a_data_file_of_the_checkout_is_found() -> None:
    assert resource("schemas", "kappafile.schema.json").read_text(encoding="utf-8").startswith("{")


def test_a_missing_data_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="Kappa's own data file `templates/gone` is missing"):
        resource("templates", "gone")


def test_a_data_file_is_found_where_kappa_runs_from_its_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "kappa_ml-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("__init__", "_resources", "_version"):
            archive.write(ROOT / "kappa" / f"{name}.py", f"kappa/{name}.py")
        archive.writestr("kappa/templates/bundle/one.txt", "found")
    code = (
        "from kappa._resources import resource; import kappa\n"
        "folder = resource('templates', 'bundle')\n"
        "print(kappa.__file__, [file.read_text() for file in folder.iterdir()])"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert found.stdout == f"{wheel / 'kappa' / '__init__.py'} ['found']\n"
