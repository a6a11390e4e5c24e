"""The one place where failures become messages and exit codes."""

from __future__ import annotations

import os
import platform
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from kappa._version import __version__
from kappa.cli.console import Shell, print_error, wants_colour
from kappa.errors import EXIT_INTERRUPTED, KappaError, ManifestError, said

__all__ = ["exit_code_of"]


def exit_code_of(call: Callable[[], Any], shell: Shell) -> int:
    """Run ``call`` and return the exit code that it ends with, after saying on stderr what went wrong, if anything.

    ``call`` is a click group's `main` outside of its standalone mode: what it returns is the command's own exit code.
    """
    try:
        result = call()
    except click.UsageError as exc:
        print_error(_usage_message(exc))
        return exc.exit_code
    except click.ClickException as exc:
        print_error(exc.format_message())
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        print_error("Interrupted.")
        return EXIT_INTERRUPTED
    except KappaError as exc:
        if shell.is_verbose:
            traceback.print_exception(exc)
        if isinstance(exc, ManifestError) and exc.diagnostics:
            _print_diagnostics(exc)
        else:
            print_error(str(exc))
        return exc.exit_code
    except Exception as exc:  # noqa: BLE001 - this is the boundary
        return _report_unexpected(exc, shell)
    return result if isinstance(result, int) else 0


def _print_diagnostics(exc: ManifestError) -> None:
    """Show each problem with its lines; every one says by itself that it is an error."""
    from kappa.build.diagnostics import render_text

    coloured = wants_colour(sys.stderr)
    click.echo(render_text(exc.diagnostics, color=coloured), err=True, color=coloured)


def _usage_message(exc: click.UsageError) -> str:
    message = exc.format_message()
    if not message.endswith((".", "?")):
        message += "."
    return f"{message} Run `{exc.ctx.command_path} --help`." if exc.ctx is not None else message


def _report_unexpected(exc: Exception, shell: Shell) -> int:
    if shell.is_verbose:
        traceback.print_exception(exc)
    summary = f"unexpected {said(exc)}".rstrip(": ")
    try:
        log = _write_log(exc)
    except OSError:
        where = "Run again with `--verbose` to see where it comes from."
    else:
        where = f"`{log}` says where it comes from."
    print_error(f"{summary}. This is a defect of Kappa. {where}")
    return KappaError.exit_code


def _write_log(exc: Exception) -> Path:
    """Write the traceback and the versions to a new file; arguments are left out, they may hold secrets."""
    from kappa.settings import home_directory

    now = datetime.now(timezone.utc)
    path = home_directory() / "logs" / f"kappa-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = (
        f"kappa-ml {__version__}, Python {platform.python_version()}, {platform.platform()}, {now:%Y-%m-%dT%H:%M:%SZ}"
    )
    path.write_text(f"{head}\n\n{''.join(traceback.format_exception(exc))}", encoding="utf-8")
    return path
