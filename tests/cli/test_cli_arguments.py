"""A command that is called without one of its arguments says which, what it is, and how one is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from kappa.cli.bundle import command as bundle_command
from kappa.cli.command import load_command
from kappa.cli.main import SECTIONS

Kappa = Callable[..., Result]

COMMANDS = [name for commands in SECTIONS.values() for name in commands]


def required(command: click.Command) -> list[click.Argument]:
    return [one for one in command.params if isinstance(one, click.Argument) and one.required]


REQUIRED = [(name, number) for name in COMMANDS for number, _ in enumerate(required(load_command(name)))]
OF_THE_STORE = "The store has `Scaler:latest`, e.g. `kappa {name} Scaler:latest`; `kappa list` shows all versions."
HOW = {
    **dict.fromkeys(("AFTER", "BEFORE", "BENTO", "SRC", "TARGET", "TARGET..."), OF_THE_STORE),
    "ALIAS": "an alias of that service: `kappa alias NAME` lists them.",
    "API": "`Scaler:latest` has `scale`, `explode`: write `kappa {name} Scaler:latest scale --input 2`.",
    "SHELL": "`bash`, `zsh` or `fish`.",
    "ACTION": "{actions}.",
    "FILE": "an archive that `kappa export` wrote, e.g. `IrisClassifier-1.0.kappa`.",
    "DST": "a namespace with a `/`, e.g. `growth/`.",
    "DOCUMENT": "`compose` or `github-action`.",
    "NAME": "the name of a service: `kappa list` shows which there are.",
    "FILE|DIR": "a model's file, or a folder that is a model or holds one.",
}
"""How each is found, by its name."""
ACTIONS = {"config": "`set`, `get`, `view`, `unset` or `reset`", "gamma-token": "`create`, `list` or `revoke`"}


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(("name", "given"), REQUIRED)
def test_every_missing_argument_is_named_and_explained(kappa: Kappa, name: str, given: int) -> None:
    missing = required(load_command(name))[given].human_readable_name
    result = kappa(name, *["Scaler:latest"] * given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: Missing argument `{missing}`: ")
    assert result.stderr.endswith(
        f"{HOW[missing].format(name=name, actions=ACTIONS.get(name))} Run `kappa {name} --help`.\n"
    )


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_without_its_value_is_a_defect(kappa: Kappa, name: str) -> None:
    options = [one for one in load_command(name).params if isinstance(one, click.Option) and not one.is_flag]
    for option in options:
        if option.metavar == "[ARTIFACT]":  # it may be left out
            continue
        result = kappa(name, *["Scaler:latest"] * len(required(load_command(name))), option.opts[-1])
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"Option '{option.opts[-1]}' requires an argument." in result.stderr


RUN_ALONE = [name for name in COMMANDS if not required(load_command(name))]


@pytest.mark.parametrize("name", [name for name in RUN_ALONE if name not in {"gamma-service-start", "reload"}])
def test_without_any_argument_no_command_meets_a_defect(
    kappa: Kappa, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kappa(name).exit_code in {0, 2, 3}


def test_where_the_store_is_empty_the_way_to_fill_it_is_said(kappa: Kappa) -> None:
    result = kappa("info")
    assert "The store is empty: run `kappa build` in the folder of the kappafile, then `kappa " in result.stderr


def test_the_service_of_this_folder_is_named_where_the_store_is_empty(kappa: Kappa, project: Path) -> None:
    assert "run `kappa build`, then `kappa info Scaler:latest`." in kappa("info").stderr
    message = "The kappafile here is of `Scaler`: after `kappa build`, write `Scaler:latest`."
    assert message in kappa("info", "Scalers:latest").stderr


def test_of_a_large_store_the_first_names_are_said(kappa: Kappa, kappa_home: Path) -> None:
    for number in range(7):
        folder = kappa_home / "repository" / f"Name{number}" / "1"
        folder.mkdir(parents=True)
        (folder / "kappa.yml").touch()
    assert (
        "`Name4:latest` and 2 more, e.g. `kappa get Name0:latest`; `kappa list` shows all versions."
        in kappa("get").stderr
    )


def test_a_word_that_was_taken_for_the_target_is_said(kappa: Kappa) -> None:
    result = kappa("run", "predict", "--input", "[]")
    message = (
        "Missing argument `API`: two words are needed, and `predict` was taken for TARGET. Write `kappa run . predict`."
    )
    assert message in result.stderr


def test_a_bundles_own_command_says_which_apis_it_has(bundle: Path) -> None:
    result = CliRunner().invoke(bundle_command(bundle / "Scaler"), ["run"], prog_name="Scaler")
    assert result.exit_code == 2
    assert "has `scale`, `explode`: write `Scaler run scale --input 2`. Run `Scaler run --help`." in result.stderr
