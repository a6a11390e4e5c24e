"""The one place where failures become messages and exit codes.

With `--format json`, what ends a command is one line of JSON on stderr, its last: stdout holds results alone.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from kappa import actions
from kappa._version import __version__
from kappa.cli.console import Shell, print_error, print_failure
from kappa.environment import home_directory
from kappa.errors import EXIT_INTERRUPTED, KappaError, ManifestError, MissingDependencyError, exception_text
from kappa.terminal import wants_colour

__all__ = ["asks_for_json", "exit_code_of"]

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failure, for people and for programs."""

    kind: str
    """The class of `kappa.errors`, where it is one of those."""
    message: str
    exit_code: int
    diagnostics: Sequence[Any] = ()
    """The problems of a kappafile, where these are what is wrong."""


def exit_code_of(call: Callable[[], Any], shell: Shell) -> int:
    """Run ``call`` and return the exit code that it ends with, after saying on stderr what went wrong, if anything.

    ``call`` is a click group's `main` outside of its standalone mode: what it returns is the command's own exit code.
    """
    try:
        result = call()
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - this is the boundary
        failure = _failure_of(exc)
        if shell.is_verbose and not isinstance(exc, click.ClickException | click.Abort | KeyboardInterrupt):
            traceback.print_exception(exc)
        _tell(failure, shell)
        return failure.exit_code
    return result if isinstance(result, int) else 0


def asks_for_json(args: Sequence[str]) -> bool:
    """Return whether a command line has `--format json`: known before it is parsed, which may fail."""
    words = args[: args.index("--")] if "--" in args else args
    is_one_word = "--format=json" in words or "-ojson" in words
    return is_one_word or any(pair in (("--format", "json"), ("-o", "json")) for pair in pairwise(words))


def _failure_of(exc: BaseException) -> _Failure:
    if isinstance(exc, click.UsageError):
        return _Failure("UsageError", _usage_message(exc), exc.exit_code)
    if isinstance(exc, click.ClickException):
        return _Failure("UsageError", exc.format_message(), exc.exit_code)
    if isinstance(exc, click.Abort | KeyboardInterrupt):
        return _Failure("Interrupted", "Interrupted.", EXIT_INTERRUPTED)
    if isinstance(exc, ModuleNotFoundError) and _is_asked_by_kappa(exc.__traceback__):
        exc = MissingDependencyError("kappa-ml", needed_for="this command")
    if isinstance(exc, KappaError):
        diagnostics = exc.diagnostics if isinstance(exc, ManifestError) else ()
        return _Failure(type(exc).__name__, str(exc), exc.exit_code, diagnostics)
    return _Failure(type(exc).__name__, _unexpected_message(exc), KappaError.exit_code)


def _is_asked_by_kappa(trace: TracebackType | None) -> bool:
    """Return whether it was Kappa's own code that imported what is absent: its packages for building are."""
    files = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(trace)]
    sources = [file for file in files if not file.name.startswith("<")]
    return bool(sources) and sources[-1].is_relative_to(_PACKAGE)


def _tell(failure: _Failure, shell: Shell) -> None:
    if shell.is_json:
        print_failure(failure.kind, failure.message, failure.exit_code, **_more(failure))
    elif failure.diagnostics:
        _print_diagnostics(failure.diagnostics)
    else:
        print_error(failure.message)


def _more(failure: _Failure) -> dict[str, Any]:
    if not failure.diagnostics:
        return {}
    return {"diagnostics": actions.problem_trees(failure.diagnostics)}


def _print_diagnostics(diagnostics: Sequence[Any]) -> None:
    """Show each problem with its lines."""
    coloured = wants_colour(sys.stderr)
    click.echo(actions.report(diagnostics, "text", color=coloured), err=True, color=coloured)


def _usage_message(exc: click.UsageError) -> str:
    message = exc.format_message()
    if not message.endswith((".", "?")):
        message += "."
    return f"{message} Run `{exc.ctx.command_path} --help`." if exc.ctx is not None else message


def _unexpected_message(exc: BaseException) -> str:
    summary = f"unexpected {exception_text(exc)}".rstrip(": ")
    try:
        log = _write_log(exc)
    except OSError:
        where = "Run again with `--verbose` to see where it comes from."
    else:
        where = f"`{log}` says where it comes from."
    return f"{summary}. This is a defect of Kappa. {where}"


def _write_log(exc: BaseException) -> Path:
    """Write the traceback and the versions to a new file; arguments are left out, they may hold secrets."""
    now = datetime.now(timezone.utc)
    path = home_directory() / "logs" / f"kappa-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = (
        f"kappa-ml {__version__}, Python {platform.python_version()}, {platform.platform()}, {now:%Y-%m-%dT%H:%M:%SZ}"
    )
    path.write_text(f"{head}\n\n{''.join(traceback.format_exception(exc))}", encoding="utf-8")
    return path
