"""`kappa config`: the settings of this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import click

from kappa import actions
from kappa.cli.arguments import choice_argument, complete_setting, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import text_table, yaml_text
from kappa.errors import UsageError

__all__ = ["command"]

Action = Literal["set", "get", "view", "unset", "reset"]


@kappa_command(
    "config",
    examples=[
        "kappa config set gamma_service.url=0.0.0.0:50051",
        "kappa config set server.port=8080 server.log_format=json",
        "kappa config get gamma_service.url",
        "kappa config view --effective",
        "kappa config unset gamma_service.url",
        "kappa config reset",
    ],
)
@choice_argument("action", "set", "get", "view", "unset", "reset")
@click.argument("settings", metavar="[KEY[=VALUE]]...", nargs=-1, shell_complete=complete_setting)
@click.option("--effective", is_flag=True, help="View every setting, with where it comes from, not only the file's.")
@format_option("table", "json", "yaml")
def command(action: Action, settings: Sequence[str], *, effective: bool, output_format: str) -> None:
    """Show and change the settings of this machine.

    They are in `$KAPPA_HOME/config.yml`, whose comments are kept; `KAPPA_CONFIG` names another file. `set` takes
    `KEY=VALUE`, once or several times; `get` prints one value, `unset` removes settings from the file, and `reset` puts
    the whole file aside. Environment variables like `KAPPA_GAMMA_SERVICE__URL` override the file.
    """
    if action not in ("set", "unset", "get") and settings:
        raise UsageError(f"`kappa config {action}` takes no `{settings[0]}`.")
    if effective and action != "view":
        raise UsageError("`--effective` is an option of `kappa config view`.")
    if action == "set":
        path = actions.change_settings(_pairs(settings))
        print_note(f"Wrote `{path}`.")
    elif action == "unset":
        _require(settings, action)
        path = actions.change_settings(dict.fromkeys(settings))
        print_note(f"Wrote `{path}`.")
    elif action == "get":
        _get(settings, output_format)
    elif action == "reset":
        path, aside = actions.reset_settings()
        kept = "there was nothing to reset" if aside is None else f"what `{path}` held is in `{aside}` now"
        print_note(f"Every setting is its default; {kept}.")
    else:
        _view(effective=effective, output_format=output_format)


def _pairs(words: Sequence[str]) -> dict[str, str | None]:
    _require(words, "set")
    pairs: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"`{word}` has no value: write `{word}=VALUE`.")
        if key in pairs:
            raise UsageError(f"`{key}` is given twice.")
        pairs[key] = value
    return pairs


def _require(words: Sequence[str], action: Action) -> None:
    if not words:
        form = "KEY=VALUE" if action == "set" else "KEY"
        raise UsageError(
            f"Nothing is named: write `kappa config {action} {form}`; `kappa config view --effective` shows the keys."
        )


def _get(keys: Sequence[str], output_format: str) -> None:
    if len(keys) != 1:
        raise UsageError("`kappa config get` takes one key, e.g. `kappa config get gamma_service.url`.")
    setting = actions.setting_in_effect(keys[0])
    if output_format == "json":
        print_result(json.dumps(setting.value))
    else:
        print_result(setting.text)


def _view(*, effective: bool, output_format: str) -> None:
    shown = actions.settings_in_effect() if effective else actions.settings_in_file()
    if output_format == "table":
        if not shown:
            print_note("The file sets nothing; `kappa config view --effective` shows what holds.")
            return
        print_result(text_table([["KEY", "VALUE", "FROM"], *([item.key, item.shown, item.origin] for item in shown)]))
        return
    if effective:
        tree: object = {item.key: {"value": item.safe_value, "from": item.origin} for item in shown}
    else:
        tree = {item.key: item.safe_value for item in shown}
    print_result(json.dumps(tree, indent=2) if output_format == "json" else yaml_text(tree))
