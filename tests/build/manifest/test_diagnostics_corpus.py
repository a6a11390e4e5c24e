"""The corpus of broken manifests: what is said of each, word by word.

`tests/manifests/broken/` holds a file per case and syntax, and beside it, with `.txt` after its name, what is expected.
Each is checked as the kappafile of the project in `tests/manifests/project/`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kappa.build.manifest.codes import CODES
from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.project import check_kappafile

CORPUS = Path(__file__).parents[2] / "manifests"
CASES = sorted(path for path in (CORPUS / "broken").iterdir() if path.suffix != ".txt")


def kappafile_name(case: Path) -> str:
    return "pyproject.toml" if case.name.endswith(".pyproject.toml") else f"kappafile{case.suffix}"


def check_in_project(text: str, name: str, folder: Path) -> tuple[Diagnostic, ...]:
    project = folder / "project"
    shutil.copytree(CORPUS / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / name).write_text(text, encoding="utf-8")
    return tuple(check_kappafile(project / name)[1])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_broken_manifest_is_told_exactly_what_is_wrong(case: Path, tmp_path: Path) -> None:
    found = check_in_project(case.read_text(encoding="utf-8"), kappafile_name(case), tmp_path)
    text = render_text(found, relative_to=tmp_path / "project") + "\n"
    expected = case.with_name(f"{case.name}.txt")
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(text, encoding="utf-8")
    assert found, "a broken manifest must have a problem"
    assert text == expected.read_text(encoding="utf-8"), "run with `UPDATE_GOLDEN=1` and look at the difference"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_offered_instead_makes_its_problem_go_away(case: Path, tmp_path: Path) -> None:
    """Apply each replacement alone: the problem that offered it is gone, and nothing new stands in its place."""
    text = case.read_text(encoding="utf-8")
    found = check_in_project(text, kappafile_name(case), tmp_path / "before")
    for number, problem in enumerate(found):
        if problem.replacement is None:
            continue
        lines, span = text.split("\n"), problem.span
        assert span.line == span.end_line
        line = lines[span.line - 1]
        lines[span.line - 1] = line[: span.column - 1] + problem.replacement + line[span.end_column - 1 :]
        after = check_in_project("\n".join(lines), kappafile_name(case), tmp_path / str(number))
        left = [(other.code, other.message) for other in after]
        assert (problem.code, problem.message) not in left, f"{problem.replacement} does not help"
        assert not any(other.code == "KF102" and other.span.line == span.line for other in after) or (
            problem.code == "KF102"
        )


def test_expected_texts_and_cases_belong_together() -> None:
    texts = {path.name.removesuffix(".txt") for path in (CORPUS / "broken").glob("*.txt")}
    assert texts == {case.name for case in CASES}


def test_every_code_of_a_kappafile_has_a_case() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CORPUS / "broken").glob("*.txt"))
    elsewhere = {
        *("KF101", "KF206", "KF314", "KF326", "KF327", "KF328", "KF329", "KF330", "KF331", "KF332", "KF340", "KF341"),
        *("KF333", "KF334", "KF335", "KF336", "KF337", "KF342", "KF343", "KF403"),
        *("KF350", "KF351", "KF352", "KF353", "KF354"),
    }
    """Have tests of their own: no text, plugins that fail, imports, secrets, names, set-up scripts, templates, models,
    installed packages, compiled models, classes that must be imported."""
    assert {code for code in CODES if f"[{code}]" not in text} <= elsewhere
