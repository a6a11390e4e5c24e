"""The mistakes that the page about manifests' errors compares: every tool gets each, and Kappa says each alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from kappa.build.project import check_kappafile

ROOT = Path(__file__).parents[1]
CASES = runpy.run_path(str(ROOT / "benchmarks" / "manifest_errors" / "cases.py"))
EDITS = [
    pytest.param(tool, mistake.edits[tool], id=f"{tool}: {mistake.title}")
    for mistake in CASES["MISTAKES"]
    for tool in CASES["PROJECTS"]
]


def check(tool: str, manifest: str, folder: Path) -> list[Any]:
    project = CASES["PROJECTS"][tool]
    for name, content in project.files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    file = folder / project.manifest
    file.write_text(manifest, encoding="utf-8")
    return list(check_kappafile(file)[1])


@pytest.mark.parametrize(("tool", "edit"), EDITS)
def test_every_tool_gets_every_mistake_once(tool: str, edit: Any) -> None:
    project = CASES["PROJECTS"][tool]
    assert project.files[project.manifest].count(edit.old) == 1


@pytest.mark.parametrize("tool", ["kappa-toml", "kappa-yaml"])
def test_the_correct_project_has_no_problem(tool: str, tmp_path: Path) -> None:
    project = CASES["PROJECTS"][tool]
    assert check(tool, project.files[project.manifest], tmp_path) == []


@pytest.mark.parametrize(("tool", "edit"), [case for case in EDITS if str(case.id).startswith("kappa")])
def test_kappa_says_each_mistake_alone(tool: str, edit: Any, tmp_path: Path) -> None:
    project = CASES["PROJECTS"][tool]
    found = check(tool, project.files[project.manifest].replace(edit.old, edit.new), tmp_path)
    messages = [problem.message for problem in found]
    if edit.new == "an iris.":  # what follows an open quote in YAML is text up to the next one, and then stands wrong
        assert {problem.code for problem in found} == {"KF102"}, messages
    else:
        assert len(found) == 1, messages


@pytest.mark.parametrize("tool", ["kappa-toml", "kappa-yaml"])
def test_kappa_says_five_mistakes_at_once(tool: str, tmp_path: Path) -> None:
    project = CASES["PROJECTS"][tool]
    manifest = project.files[project.manifest]
    for number in CASES["AT_ONCE"]:
        edit = CASES["MISTAKES"][number].edits[tool]
        manifest = manifest.replace(edit.old, edit.new)
    assert len(check(tool, manifest, tmp_path)) == len(CASES["AT_ONCE"])
