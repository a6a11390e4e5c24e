"""`kappa gamma-token`: who may use a Gamma server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Literal

import click

from kappa import actions
from kappa.cli.arguments import choice_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.durations import read_duration
from kappa.cli.tables import age_of, text_table
from kappa.errors import UsageError
from kappa.gamma.protocols.callers import ROLES, AccessToken, Role

__all__ = ["command"]

Action = Literal["create", "list", "revoke"]


@kappa_command(
    "gamma-token",
    examples=[
        "kappa gamma-token create admin --role admin",
        "kappa gamma-token create ci --role write --scope 'team-a/*' --expires 90d",
        "kappa gamma-token create auditor --scope '*/Iris*' --db-url postgresql://kappa@db:5432/kappa",
        "kappa gamma-token list",
        "kappa gamma-token revoke ci",
    ],
)
@choice_argument("action", "create", "list", "revoke")
@click.argument("name", required=False)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="What it allows: `write` means `read` as well, and `admin` everything.  [default: read]",
)
@click.option(
    "--scope",
    "scope",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="The services that it is for, in which `*` stands for any characters; may be repeated.  [default: */*]",
)
@click.option(
    "--expires", metavar="TIME", help="After which time it ends, e.g. `12h` or `90d`.  [default: it does not end]"
)
@click.option(
    "--db-url",
    envvar="KAPPA_GAMMA_DB_URL",
    show_envvar=True,
    help="The database of the Gamma server.  [default: that of this machine's own store]",
)
@format_option("text", "json")
def command(
    action: Action,
    name: str | None,
    *,
    role: Role | None,
    scope: Sequence[str],
    expires: str | None,
    db_url: str | None,
    output_format: str,
) -> None:
    """Make, list and revoke the tokens of a Gamma server.

    They are for a server that runs with `--auth`. Who runs it works on its database, on its host, whether it runs or
    not. `create NAME` prints a token: this once, because only a hash of it is kept. `list` shows all tokens, and
    `revoke` ends one, by its NAME or its id, from the next request on.
    """
    if action != "create" and (role is not None or scope or expires is not None):
        raise UsageError("`--role`, `--scope` and `--expires` are options of `kappa gamma-token create`.")
    if action == "list":
        if name is not None:
            raise UsageError(f"`kappa gamma-token list` takes no `{name}`.")
        _list(db_url, output_format)
        return
    if name is None:
        raise UsageError(f"Nothing is named: write `kappa gamma-token {action} NAME`.")
    if action == "revoke":
        token = actions.revoke_gamma_token(name, db_url=db_url)
        print_result(json.dumps(_tree(token), indent=2) if output_format == "json" else token.name)
        return
    expires_in = None if expires is None else read_duration(expires, option="--expires")
    token, text = actions.create_gamma_token(
        name, role=role or "read", scope=tuple(scope) or ("*/*",), expires_in=expires_in, db_url=db_url
    )
    print_note(
        f"The token `{token.name}` of the role `{token.role}` is for `{token.scope}`, "
        f"{'without an end' if token.expires_at is None else f'until {_time(token.expires_at)}'}. Keep it now: it is "
        "not shown again."
    )
    print_result(json.dumps({**_tree(token), "token": text}, indent=2) if output_format == "json" else text)


def _list(db_url: str | None, output_format: str) -> None:
    tokens = actions.list_gamma_tokens(db_url=db_url)
    if output_format == "json":
        print_result(json.dumps([_tree(token) for token in tokens], indent=2))
        return
    now = datetime.now(timezone.utc)
    headings = ["ID", "NAME", "ROLE", "SCOPE", "AGE", "LAST_USED", "STATE"]
    print_result(text_table([headings, *(_row(token, now) for token in tokens)]))


def _row(token: AccessToken, now: datetime) -> list[str]:
    last_used = "never" if token.last_used_at is None else f"{age_of(token.last_used_at, now=now)} ago"
    return [
        token.id,
        token.name,
        token.role,
        str(token.scope),
        age_of(token.created_at, now=now),
        last_used,
        _state(token, now),
    ]


def _state(token: AccessToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked {_time(token.revoked_at)}"
    if token.expires_at is None:
        return "valid"
    return f"{'expired' if token.expires_at <= now else 'valid until'} {_time(token.expires_at)}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _tree(token: AccessToken) -> dict[str, Any]:
    times = {key: getattr(token, key) for key in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "scope": list(token.scope.patterns),
        **{key: None if moment is None else moment.isoformat() for key, moment in times.items()},
    }
