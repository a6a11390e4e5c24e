from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click import unstyle
from click.testing import Result

from kappa.actions.serving import project_files

Kappa = Callable[..., Result]


def test_a_good_kappafile_has_no_problems(kappa: Kappa, project: Path) -> None:
    text, records = kappa("validate"), kappa("validate", "--format", "json")
    assert (text.exit_code, text.stdout, text.stderr) == (0, "`kappafile.toml` has no problems.\n", "")
    assert (records.exit_code, records.stdout) == (0, "[]\n")


def test_problems_are_coloured_when_asked_and_never_against_no_color(
    kappa: Kappa, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "kappafile.toml").write_text('kappafile = 1\n[service]\nnam = "A"\n', encoding="utf-8")
    plain = kappa("validate").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = kappa("validate").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert kappa("validate").stdout == plain
    assert ("\x1b[" in plain, "\x1b[" in coloured, unstyle(coloured) == plain) == (False, True, True)


def test_problems_are_told_as_json(kappa: Kappa, project: Path) -> None:
    (project / "kappafile.toml").write_text('kappafile = 1\n[service]\nnam = "A"\n', encoding="utf-8")
    result = kappa("validate", "kappafile.toml", "--format", "json")
    assert (result.exit_code, result.stderr) == (3, "")
    (unknown,) = [record for record in json.loads(result.stdout) if record["code"] == "KF201"]
    assert unknown == {
        "code": "KF201",
        "severity": "error",
        "message": "`nam` is not a key of `[service]`.",
        "file": str(project / "kappafile.toml"),
        "line": 3,
        "column": 1,
        "end_line": 3,
        "end_column": 4,
        "path": "/service/nam",
        "help": "Did you mean `name`?",
        "replacement": "name",
        "labels": [],
    }


def test_several_kappafiles_are_checked_in_one_call(kappa: Kappa, project: Path) -> None:
    broken = project / "broken.toml"
    broken.write_text('kappafile = 2\n[service]\nname = "A"\n', encoding="utf-8")
    result = kappa("validate", ".", "broken.toml", "kappafile.toml", "--format", "json")
    assert result.exit_code == 3
    assert [(Path(record["file"]).name, record["code"]) for record in json.loads(result.stdout)] == [
        ("broken.toml", "KF105")
    ]
    both = kappa("validate", ".", "kappafile.toml")
    assert (both.exit_code, both.stdout) == (0, "`kappafile.toml` has no problems.\n")


def test_good_kappafile_gives_github_nothing_and_sarif_an_empty_run(kappa: Kappa, project: Path) -> None:
    assert (kappa("validate", "--format", "github").stdout, kappa("validate", "--format", "github").exit_code) == (
        "",
        0,
    )
    (run,) = json.loads(kappa("validate", "--format", "sarif").stdout)["runs"]
    assert (run["tool"]["driver"]["name"], run["results"]) == ("kappa", [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["validate", "Scaler:1.0"],
            "There is no kappafile or directory `Scaler:1.0`.",
            id="validate-what-is-not-there",
        ),
        pytest.param(
            ["serve", ".", "--workers", "2"],
            "A project is served by one process: build it first, and serve the bundle with `--workers`.",
            id="a-project-with-workers",
        ),
        pytest.param(
            ["serve", ".", "--server", "uvicorn"],
            "A project has a server of its own: build it first, and serve the bundle with `--server`.",
            id="a-project-with-a-server",
        ),
        pytest.param(
            ["serve-gunicorn", "."],
            "`.` is not a bundle but a project: build it first with `kappa build .`, then `kappa serve-gunicorn "
            "Scaler:latest`. Without building, `kappa serve .` serves it.",
            id="a-project-in-production",
        ),
        pytest.param(
            ["serve", "Scaler:1.0", "--workers", "many"],
            "Invalid value for '-w' / '--workers': `many` is neither a number from 1 to 1024 nor `auto`. "
            "Run `kappa serve --help`.",
            id="workers",
        ),
    ],
)
def test_a_call_that_does_not_fit_its_target_is_refused(
    kappa: Kappa, bundle: Path, arguments: list[str], message: str
) -> None:
    result = kappa(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {message}\n")


def test_the_files_of_a_project_are_all_that_it_names_or_imports(project: Path) -> None:
    (code,) = project.glob("*.py")
    (project / "notes.txt").write_text("not part of it", encoding="utf-8")
    expected = {project / "kappafile.toml", code, project / "factor.json", project / "samples" / "three.json"}
    assert set(project_files(project)) == expected


def test_a_project_that_is_broken_from_the_start_is_not_served(kappa: Kappa, project: Path) -> None:
    (code,) = project.glob("*.py")
    code.write_text("def broken(:\n", encoding="utf-8")
    result = kappa("serve", ".", "--port", "0")
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"{code.name}:1:" in result.stderr
