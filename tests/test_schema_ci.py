"""What CI takes from the repository: the pre-commit hook and the example workflow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kappa.cli.main import SECTIONS

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "examples" / "workflows" / "validate.yml"


def read(file: Path) -> Any:
    return YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "schema"), [(WORKFLOW, "vendor.github-workflows")], ids=["workflow"])
def test_file_is_what_its_reader_expects(file: Path, schema: str) -> None:
    command: list[str | Path] = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", schema, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hook_runs_validate_on_kappafiles_alone() -> None:
    (hook,) = read(ROOT / ".pre-commit-hooks.yaml")
    assert hook["id"] == "kappa-validate"
    assert hook["entry"].split() == ["kappa", "validate"]
    for name in ("kappafile.toml", "services/churn/kappafile.yaml", "kappafile.yml"):
        assert re.search(hook["files"], name)
    for name in ("kappafile.lock", "mykappafile.toml", "kappafile.toml.bak", "pyproject.toml"):
        assert not re.search(hook["files"], name)


def test_workflow_calls_commands_that_exist() -> None:
    steps = read(WORKFLOW)["jobs"]["validate"]["steps"]
    called = {match for step in steps for match in re.findall(r"kappa (\w+)", step.get("run", ""))}
    assert called == {"validate"}
    assert called <= {name for commands in SECTIONS.values() for name in commands}
