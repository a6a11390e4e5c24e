"""What importing Kappa costs and needs, seen from processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.cli.main import SECTIONS

ROOT = Path(__file__).parents[1]

HEAVY = {
    "alembic",
    "falcon",
    "grpc",
    "gunicorn",
    "jinja2",
    "joblib",
    "numpy",
    "obstore",
    "orjson",
    "pandas",
    "piptools",
    "pkg_resources",
    "prometheus_client",
    "rich",
    "ruamel",
    "scipy",
    "setuptools",
    "sklearn",
    "sqlalchemy",
    "tinydb",
    "tree_sitter",
    "uvicorn",
    "uvloop",
}
"""What neither `import kappa` nor any `--help` may load."""

BUILD_SIDE = (
    "kappa.build",
    "kappa.cli",
    "kappa.actions.building",
    "kappa.actions.examples",
    "kappa.actions.images",
    "kappa.actions.serving",
    "kappa.actions.store",
    "kappa.services.declaring",
    "kappa.services.service",
    "kappa.services.bundle",
    "kappa.spec",
)
"""What must be importable on Windows: everything but the production server."""

ABSENT_ON_WINDOWS = ("fcntl", "grp", "gunicorn", "pwd", "resource", "termios", "uvloop")


def modules_after(code: str) -> set[str]:
    """Run ``code`` in a fresh interpreter and return the top-level names of what it imported."""
    return {name.partition(".")[0] for name in all_modules_after(code)}


def all_modules_after(code: str) -> set[str]:
    """Run ``code`` in a fresh interpreter and return the names of what it imported."""
    report = "import json, sys; json.dump(sorted(sys.modules), sys.stderr)"
    command = [sys.executable, "-c", f"import atexit\n@atexit.register\ndef _():\n    {report}\n{code}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(finished.stderr.splitlines()[-1]))


def test_importing_kappa_loads_nothing_heavy() -> None:
    loaded = modules_after("import kappa")
    assert loaded & HEAVY == set()
    assert loaded & {"click", "pydantic"} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=["help", "version"])
def test_the_command_says_what_it_can_without_loading_anything_heavy(arguments: list[str]) -> None:
    loaded = modules_after(f"import sys; sys.argv = ['kappa', *{arguments}]; from kappa.cli.main import main; main()")
    assert loaded & HEAVY == set()
    assert "pydantic" not in loaded


@pytest.mark.parametrize("command", [name for names in SECTIONS.values() for name in names])
def test_the_help_of_each_command_loads_nothing_heavy(command: str) -> None:
    program = f"import sys; sys.argv = ['kappa', {command!r}, '--help']; from kappa.cli.main import main; main()"
    loaded = modules_after(program)
    assert loaded & HEAVY == set()
    assert "pydantic" not in loaded


def build_side_modules() -> list[str]:
    paths = sorted((ROOT / "kappa").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if name.startswith(BUILD_SIDE)]


def test_what_builds_can_be_imported_on_windows() -> None:
    block = f"import sys\nfor name in {ABSENT_ON_WINDOWS!r}: sys.modules[name] = None\n"
    imports = "".join(f"import {name}\n" for name in build_side_modules())
    subprocess.run([sys.executable, "-c", block + imports], check=True)


def test_a_list_of_this_machine_loads_neither_clients_nor_services() -> None:
    program = "import sys; sys.argv = ['kappa', 'list', '--local']; from kappa.cli.main import main; main()"
    loaded = all_modules_after(program)
    assert "kappa.gamma.local_store" in loaded
    needless = ("kappa.gamma.remote_store", "kappa.gamma.transfer.fetching", "kappa.services.", "kappa.build.")
    assert [name for name in sorted(loaded) if name.startswith(needless)] == []
