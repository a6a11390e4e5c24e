"""With `--format json`, whatever ends a command is one line of JSON on stderr, with the same exit code as else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from kappa.cli.arguments import format_option
from kappa.cli.boundary import asks_for_json
from kappa.cli.command import LazyGroup, kappa_command, load_command
from kappa.cli.main import SECTIONS

Kappa = Callable[..., Result]


def has_json(command: click.Command) -> bool:
    return any(
        isinstance(option, click.Option) and "--format" in option.opts and "json" in option.type.choices
        for option in command.params
        if isinstance(option.type, click.Choice)
    )


NAMES = [name for commands in SECTIONS.values() for name in commands]
WITH_JSON = [name for name in NAMES if has_json(load_command(name))]
FAILING = {
    "alias": (["Absent:1"], 4, "BundleNotFoundError"),
    "build": (["absent"], 2, "UsageError"),
    "builds": (["--limit", "none"], 2, "UsageError"),
    "config": (["get", "server.prot"], 2, "UsageError"),
    "containerize": (["./absent"], 4, "BundleNotFoundError"),
    "copy": (["Absent:1", "growth/"], 4, "BundleNotFoundError"),
    "delete": (["Absent:1"], 4, "BundleNotFoundError"),
    "diff": (["Absent:1", "Absent:2"], 4, "BundleNotFoundError"),
    "explain": (["KF999"], 2, "UsageError"),
    "export": (["Absent:1"], 4, "BundleNotFoundError"),
    "gamma-token": (["revoke"], 2, "UsageError"),
    "gc": (["--grace", "long"], 2, "UsageError"),
    "get": (["Absent:1"], 4, "BundleNotFoundError"),
    "import": (["absent.kappa"], 2, "UsageError"),
    "info": ([], 2, "UsageError"),
    "init": (["absent"], 2, "UsageError"),
    "inspect": (["absent"], 2, "UsageError"),
    "label": (["Absent:1", "a=b"], 4, "BundleNotFoundError"),
    "list": (["--labels", "=="], 2, "UsageError"),
    "lock": (["absent"], 2, "UsageError"),
    "prune": ([], 2, "UsageError"),
    "pull": (["Absent:1"], 2, "UsageError"),
    "push": (["Absent:1"], 2, "UsageError"),
    "reload": (["--port", "1"], 2, "UsageError"),
    "rollback": (["Absent", "production"], 4, "BundleNotFoundError"),
    "run": (["Absent:1", "scale", "--input", "1"], 4, "BundleNotFoundError"),
    "test": (["./absent"], 4, "BundleNotFoundError"),
    "tune": (["Absent:1"], 4, "BundleNotFoundError"),
    "validate": (["absent"], 2, "UsageError"),
    "verify": ([], 2, "UsageError"),
}


def error_of(result: Result) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])["error"]
    return error


def test_every_command_that_prints_a_result_has_the_option() -> None:
    servers = {"gamma-service-start", "serve", "serve-gunicorn"}
    without = {"completion", "generate", "open-api-spec", "retrieve", "schema"}
    assert set(WITH_JSON) == set(NAMES) - servers - without == set(FAILING)


@pytest.mark.parametrize("name", WITH_JSON)
@pytest.mark.parametrize("option", [["--format", "json"], ["--format=json"], ["-o", "json"], ["-ojson"]], ids="".join)
def test_a_failure_is_json(
    kappa: Kappa, name: str, option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, exit_code, kind = FAILING[name]
    result = kappa(name, *arguments, *option)
    error = error_of(result)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (exit_code, "", 1)
    assert (error["kind"], error["exit_code"]) == (kind, exit_code)
    as_text = kappa(name, *arguments)
    assert (as_text.exit_code, as_text.stderr) == (exit_code, f"error: {error['message']}\n")


@pytest.mark.parametrize("name", WITH_JSON)
def test_so_is_a_call_that_cannot_be_parsed(kappa: Kappa, name: str) -> None:
    result = kappa(name, "--bogus", "--format", "json")
    assert (result.exit_code, error_of(result)["kind"]) == (2, "UsageError")
    assert "No such option '--bogus'." in error_of(result)["message"]


def test_the_problems_of_a_kappafile_are_listed_as_validate_lists_them(kappa: Kappa, project: Path) -> None:
    with (project / "kappafile.toml").open("a") as file:
        file.write("[env]\npythn = '3.11'\n")
    result = kappa("build", "--format", "json")
    listed = json.loads(kappa("validate", "--format", "json").stdout)
    assert (result.exit_code, result.stdout) == (3, "")
    assert error_of(result)["diagnostics"] == listed
    assert listed[0]["code"] == "KF201"


def test_a_result_that_says_what_failed_is_on_stdout_beside_it(kappa: Kappa, project: Path) -> None:
    (project / "factor.json").write_text("11")
    result = kappa("test", "--format", "json")
    assert [one["passed"] for one in json.loads(result.stdout)] == [False, False]
    assert error_of(result) == {"kind": "ExampleFailedError", "message": "2 of 2 examples failed.", "exit_code": 9}


def test_a_changed_bundle_is_told_once(kappa: Kappa, bundle: Path) -> None:
    (bundle / "Scaler" / "more.py").write_text("")
    result = kappa("verify", bundle, "--format", "json")
    assert (result.exit_code, result.stderr) == (4, "")
    assert "more.py" in json.loads(result.stdout)[0]["problem"]


@pytest.mark.usefixtures("bundle")
def test_inputs_that_fail_are_json_too(kappa: Kappa) -> None:
    result = kappa("run", "Scaler:1.0", "explode", "--input", "1", "--format", "json")
    assert (result.exit_code, result.stdout) == (9, "null\n")
    assert error_of(result) == {
        "kind": "InferenceFailedError",
        "message": "RuntimeError: it broke",
        "exit_code": 9,
    }


@pytest.mark.parametrize(
    ("exc", "kind", "exit_code"),
    [(ZeroDivisionError("by zero"), "ZeroDivisionError", 70), (KeyboardInterrupt(), "Interrupted", 130)],
)
def test_a_defect_and_an_interrupt_are_json(exc: BaseException, kind: str, exit_code: int) -> None:
    @kappa_command("act", examples=[])
    @format_option("text", "json")
    def act(output_format: str) -> None:
        raise exc

    group = LazyGroup("kappa", sections={"": {"act": ""}}, load=lambda _: act)
    result = CliRunner().invoke(group, ["act", "-o", "json"], prog_name="kappa")
    assert (result.exit_code, error_of(result)["kind"], error_of(result)["exit_code"]) == (exit_code, kind, exit_code)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("list --format json", True),
        ("list -o json", True),
        ("list --format=json", True),
        ("list --format text", False),
        ("build --output json", False),
        ("run . predict -- --format json", False),
        ("", False),
    ],
)
def test_what_is_wanted_is_known_before_the_line_is_parsed(line: str, expected: bool) -> None:
    assert asks_for_json(line.split()) is expected
