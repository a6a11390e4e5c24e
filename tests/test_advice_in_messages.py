"""Advice that is followed leads to the goal: each command line and option that a message names can be given."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.exceptions import Exit

from kappa.cli.command import load_command
from kappa.cli.main import SECTIONS

ROOT = Path(__file__).parents[1]

COMMANDS = {name: load_command(name) for commands in SECTIONS.values() for name in commands}
PROJECT_COMMANDS = ("validate", "test", "run", "serve", "build", "lock", "generate", "open-api-spec")
REACHED = {
    "kappa/actions/building.py": ("build",),
    "kappa/actions/gamma_server.py": ("gamma-service-start",),
    "kappa/actions/images.py": ("containerize",),
    "kappa/actions/starting.py": ("init",),
    "kappa/actions/serving.py --api": ("tune",),
    "kappa/actions/serving.py --port": ("reload",),
    "kappa/build/": PROJECT_COMMANDS,
    "kappa/build/packages/lock.py": ("build", "lock"),
    "kappa/build/packages/locking.py": ("lock",),
    "kappa/build/bundle/plan.py --artifact": ("build",),
    "kappa/build/bundle/trial.py": ("build",),
    "kappa/cli/": tuple(COMMANDS),
    "kappa/cli/projects.py": ("build", "lock"),
    "kappa/cli/results.py": ("run",),
    "kappa/cli/run_arguments.py": ("run",),
    "kappa/containers/": ("containerize",),
    "kappa/images.py": ("containerize",),
    "kappa/actions/stores.py": ("info", "serve", "run", "containerize"),
    "kappa/gamma/choosing.py": ("push", "pull"),
    "kappa/gamma/clients/": ("list", "get", "build"),
    "kappa/gamma/storages/directories.py": ("build",),
    "kappa/gamma/storages/opening.py": ("gamma-service-start",),
    "kappa/gamma/doors/": ("gamma-service-start",),
    "kappa/gamma/database/bundles.py": ("build",),
    "kappa/gamma/database/engine.py": ("delete",),
    "kappa/gamma/service/gamma_service.py --force": ("delete",),
    "kappa/actions/store.py --db-url": ("delete",),
    "kappa/actions/transfer.py --force": ("export",),
    "kappa/cli/queries.py --offset": ("list", "get"),
    "kappa/gamma/serving.py": ("gamma-service-start",),
    "kappa/offline/answering.py": ("run",),
    "kappa/server/": ("serve", "serve-gunicorn"),
}
"""The commands that a message of a module, or one about an option, may be shown by; the longest prefix counts."""
OF_OTHERS = {
    "kappa/adapters/": {"--data", "--data-binary", "--form", "--header", "-F", "-H", "-d"},
    "kappa/build/packages/requirements.py": {"--find-links"},
}
"""Options of curl's, which who sends a request may use, and of pip's."""

_CODE = re.compile(r"`((?:kappa |-{1,2}[A-Za-z])[^`]*)`")
_ANYTHING = "X"
"""Stands for what a message fills in."""


def texts_of(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module but for its docstrings; what is filled in is an ``X``."""
    nodes = list(ast.walk(tree))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _ANYTHING for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def advice() -> list[tuple[str, str]]:
    """Return what is named as code in the messages of each module."""
    found: set[tuple[str, str]] = set()
    for path in sorted((ROOT / "kappa").rglob("*.py")):
        module, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if _CODE.search(source) is None:
            continue
        for text in texts_of(ast.parse(source)):
            found.update((module, code) for code in _CODE.findall(text))
    return sorted(found)


def commands_of(module: str, option: str) -> tuple[str, ...]:
    """Return the commands that a message of a module is shown by."""
    if module.startswith("kappa/cli/commands/"):
        return (Path(module).stem.replace("_", "-"),)
    asked = f"{module} {option}"
    return REACHED[max((place for place in REACHED if asked.startswith(place)), key=len)]


def problem_of(words: list[str]) -> str:
    """Return why the command line ``kappa WORDS…`` cannot be meant; nothing if it can, or names only a command."""
    name, *arguments = words
    if name not in COMMANDS:
        return f"there is no command `{name}`"
    try:
        COMMANDS[name].make_context(name, arguments, help_option_names=["-h", "--help"])  # which click remembers
    except (click.MissingParameter, Exit):  # `--help` ends the command
        return ""
    except click.UsageError as exc:
        message = exc.format_message()
        is_filled_in = isinstance(exc, click.BadParameter) and re.search(f"['`]{_ANYTHING}['`]", message) is not None
        is_mentioned = isinstance(exc, click.BadOptionUsage) and "requires an argument" in message
        is_incomplete = message.startswith("Missing argument")
        return "" if is_filled_in or is_mentioned or is_incomplete else message
    return ""


ADVICE = advice()


@pytest.mark.parametrize(("module", "code"), [one for one in ADVICE if one[1].startswith("kappa ")])
def test_every_command_line_in_a_message_can_be_given(module: str, code: str) -> None:
    words = [_ANYTHING if word.isupper() and word.isalpha() else word for word in shlex.split(code)[1:]]
    assert problem_of(words) == ""


@pytest.mark.parametrize(("module", "code"), [one for one in ADVICE if one[1].startswith("-")])
def test_every_option_in_a_message_belongs_to_the_commands_that_show_it(module: str, code: str) -> None:
    option, *values = shlex.split(code)
    if any(module.startswith(place) and option in others for place, others in OF_OTHERS.items()):
        return
    if _ANYTHING in option:  # filled in by who knows the options
        return
    for name in commands_of(module, option):
        assert problem_of([name, option, *values]) == ""


def test_enough_is_read_to_mean_something() -> None:
    assert ("kappa/build/manifest/kappafile.py", "kappa validate X") in ADVICE
    assert ("kappa/server/gate.py", "--examples warn") in ADVICE
    assert problem_of(["validate", "-f", "kappafile.toml"]) == "No such option '-f'."
    assert problem_of(["serve", "--examples", "maybe"]) != ""
    assert problem_of(["vaildate"]) == "there is no command `vaildate`"
