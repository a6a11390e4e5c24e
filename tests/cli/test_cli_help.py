"""What the command line says of itself; `UPDATE_GOLDEN=1` rewrites the expected texts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from kappa._version import __version__
from kappa.cli.bundle import command as bundle_command
from kappa.cli.command import KappaCommand, load_command
from kappa.cli.main import SECTIONS, cli

Kappa = Callable[..., Result]

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "cli"
COMMANDS = {name: line for commands in SECTIONS.values() for name, line in commands.items()}
HEAVY = {
    "alembic",
    "falcon",
    "gunicorn",
    "jinja2",
    "kappa.actions.building",
    "kappa.actions.targets",
    "kappa.cli.commands.build",
    "kappa.spec",
    "numpy",
    "orjson",
    "pandas",
    "piptools",
    "pydantic",
    "rich",
    "ruamel",
    "sqlalchemy",
    "tinydb",
    "tree_sitter",
    "uvloop",
}
"""What `kappa --help` must not import."""


def help_of(group: click.Group, *arguments: str, program: str = "kappa") -> str:
    result = CliRunner().invoke(group, [*arguments, "--help"], prog_name=program, terminal_width=100)
    assert result.exit_code == 0, result.output
    return result.stdout


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "run the test with `UPDATE_GOLDEN=1` and look at the difference"


def test_help_of_kappa() -> None:
    check_golden("kappa", help_of(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str) -> None:
    check_golden(name, help_of(cli, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_the_table_is_what_the_command_says_first(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_call_it(name: str) -> None:
    command = load_command(name)
    assert isinstance(command, KappaCommand)
    assert command.examples
    for example in command.examples:
        assert f"kappa {name}" in example, example


def test_there_is_a_module_for_each_command_and_no_other() -> None:
    modules = {
        path.stem.rstrip("_").replace("_", "-") for path in (ROOT / "kappa" / "cli" / "commands").glob("[!_]*.py")
    }
    assert modules == set(COMMANDS)


def test_help_of_a_bundles_own_command(bundle: Path) -> None:
    group = bundle_command(bundle / "Scaler")
    texts = [help_of(group, program="Scaler"), help_of(group, "run", program="Scaler")]
    check_golden("bundle", "\n".join(texts))


def test_a_bundles_own_command_is_bound_to_the_bundle(bundle: Path) -> None:
    group = bundle_command(bundle / "Scaler")

    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(group, arguments, prog_name="Scaler")
        return result.exit_code, result.stdout

    assert call("run", "scale", "--input", "2", "3") == (0, "21\n31\n")
    assert call("--version") == (0, "1.0\n")
    assert call("info")[1].startswith("schema_version: 1\n")
    assert call("build")[0] == 2
    for name in group.list_commands(click.Context(group)):
        assert "TARGET" not in help_of(group, name, program="Scaler")


def test_a_bundles_example_with_a_file_says_that_the_file_is_not_installed(bundle: Path) -> None:
    result = CliRunner().invoke(bundle_command(bundle / "Scaler"), ["test"], prog_name="Scaler")
    assert result.exit_code == 9
    assert result.stdout == (
        "ok      scale: a number\n"
        "FAILED  scale: a file\n"
        "        Its file `samples/three.json` does not come with an installed bundle.\n"
    )


def test_without_a_command_the_help_is_the_result(kappa: Kappa) -> None:
    result = kappa()
    assert (result.exit_code, result.stdout, result.stderr) == (0, kappa("--help").stdout, "")


def test_the_version_is_that_of_the_package(kappa: Kappa) -> None:
    assert kappa("--version").stdout == f"kappa, version {__version__}\n"


@pytest.mark.parametrize("words", [["help"], ["help", "build"], ["help", "nothing"]])
def test_help_is_a_word_too(kappa: Kappa, words: list[str]) -> None:
    said, meant = kappa(*words), kappa(*words[1:], "--help")
    assert (said.exit_code, said.output) == (meant.exit_code, meant.output)


@pytest.mark.parametrize("word", ["version", "-v", "-V"])
def test_the_version_is_told_for_every_word_for_it(kappa: Kappa, word: str) -> None:
    assert kappa(word).output == kappa("--version").output


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom kappa.cli.main import main\nsys.argv = ['kappa', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.startswith("Usage: kappa ")
    assert HEAVY & set(finished.stderr.split()) == set()


@pytest.mark.parametrize("command", [["-m", "kappa"], ["-c", "from kappa.cli.main import main; main()"]])
def test_kappa_runs_as_a_module(command: list[str]) -> None:
    finished = subprocess.run([sys.executable, *command, "biuld"], capture_output=True, text=True, check=False)
    message = "error: There is no command `biuld`. Did you mean `build`? Run `kappa --help`.\n"
    assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", message)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(kappa: Kappa, shell: str) -> None:
    result = kappa("completion", shell)
    assert result.exit_code == 0
    assert "_KAPPA_COMPLETE" in result.stdout


def test_shells_complete_the_tags_of_the_store(bundle: Path) -> None:
    environ = {**os.environ, "_KAPPA_COMPLETE": "bash_complete", "COMP_WORDS": "kappa run Sca", "COMP_CWORD": "2"}
    finished = subprocess.run([sys.executable, "-m", "kappa"], env=environ, capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.stderr) == ("plain,Scaler:1.0\n", "")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("kappa run Scaler:1.0 ", ["scale", "explode"]),
        ("kappa run . sc", ["scale"]),
        ("kappa run nothing:1.0 ", []),
        ("kappa run ./nothing ", []),
    ],
)
def test_shells_complete_the_apis_of_the_target(bundle: Path, project: Path, words: str, names: list[str]) -> None:
    environ = {**os.environ, "_KAPPA_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "kappa"], env=environ, cwd=project, capture_output=True, text=True, check=False
    )
    assert ([line.partition(",")[2] for line in done.stdout.split()], done.stderr) == (names, "")
