"""How things look on a terminal: results on stdout, everything else on stderr.

Build-side code says what it does through `kappa.log`; `narrating` installs the listener that shows it, as plain lines
or, on a terminal, with rich's spinner and the time that each finished step took.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import click

from kappa.errors import KappaError, exception_text
from kappa.log import Kind, listening
from kappa.service_log import logging_to
from kappa.terminal import wants_colour

__all__ = [
    "Shell",
    "current_shell",
    "is_terminal",
    "narrating",
    "print_error",
    "print_failure",
    "print_note",
    "print_result",
    "showing_logs",
]


class _Narrator(Protocol):
    """Shows log lines; ``finish`` ends the last step and leaves the terminal as it was.

    ``stand_still`` leaves the last step open and the terminal to others.
    """

    def __call__(self, message: str, kind: Kind) -> None: ...

    def stand_still(self) -> None: ...

    def finish(self, *, failed: bool) -> None: ...


@dataclass(slots=True)
class Shell:
    """The output options of one call of the command line."""

    is_quiet: bool = False
    is_verbose: bool = False
    is_json: bool = False
    """Whether results, and failures too, are wanted as JSON."""
    narrator: _Narrator | None = None

    def finish_steps(self, *, failed: bool = False) -> None:
        if self.narrator is not None:
            self.narrator.finish(failed=failed)

    def hold_steps(self) -> None:
        """Show nothing of the running step until it ends: a bar takes its place."""
        if self.narrator is not None:
            self.narrator.stand_still()


def current_shell() -> Shell:
    """Return the shell of the running command."""
    shell: Shell = click.get_current_context().ensure_object(Shell)
    return shell


def is_terminal() -> bool:
    """Return whether questions can be answered: stdin is a terminal."""
    return sys.stdin.isatty()


def print_result(text: str) -> None:
    """Write a command's result to stdout, with nothing of Kappa's own around it."""
    current_shell().finish_steps()
    click.echo(text, color=wants_colour(sys.stdout))


def print_note(text: str) -> None:
    """Write a remark to stderr, unless `--quiet`."""
    shell = current_shell()
    shell.finish_steps()
    if not shell.is_quiet:
        click.echo(text, err=True)


def print_error(text: str, *, label: str = "error") -> None:
    """Write ``error: text`` to stderr, whatever was asked."""
    _print_labelled(label, text, "red")


def print_failure(kind: str, message: str, exit_code: int, **more: Any) -> None:
    """Write a failure to stderr as the one line of JSON that `--format json` promises."""
    error = {"kind": kind, "message": message, "exit_code": exit_code, **more}
    click.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)


@contextmanager
def narrating(shell: Shell, *, live: bool) -> Iterator[None]:
    """Show what is logged in this context; ``live`` allows a spinner where stderr is a terminal."""
    can_spin = live and not (shell.is_quiet or shell.is_verbose) and sys.stderr.isatty() and wants_colour(sys.stderr)
    shell.narrator = _SpinningNarrator() if can_spin and find_spec("rich") else _PlainNarrator(shell)
    try:
        with listening(shell.narrator):
            yield
    except BaseException:
        shell.finish_steps(failed=True)
        raise
    else:
        shell.finish_steps()


@contextmanager
def showing_logs(shell: Shell) -> Iterator[None]:
    """Show what a loaded service logs as lines like others here; Kappa's own tracebacks only with `--verbose`."""
    with logging_to(_LineHandler(shell), level=logging.WARNING):
        yield


class _LineHandler(logging.Handler):
    def __init__(self, shell: Shell) -> None:
        super().__init__(logging.WARNING if shell.is_quiet else logging.INFO)
        self.shell = shell

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        is_ours = record.name.partition(".")[0] == "kappa"
        if exc is not None and (self.shell.is_verbose or not is_ours):
            traceback.print_exception(exc)
        reason = "" if exc is None else f": {exc}" if isinstance(exc, KappaError) else f": {exception_text(exc)}"
        label, colour = next(label for level, label in _LABELS if record.levelno >= level)
        _print_labelled(label, f"{record.getMessage()}{reason}", colour)


_LABELS = (
    (logging.ERROR, ("error", "red")),
    (logging.WARNING, ("warning", "yellow")),
    (logging.NOTSET, ("info", "blue")),
)


class _PlainNarrator:
    """Writes one line per message, for pipes, logs and `--verbose`."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def __call__(self, message: str, kind: Kind) -> None:
        if self.shell.is_quiet:
            return
        if kind == "warning":
            _print_labelled("warning", message, "yellow")
        elif kind == "step":
            click.echo(message, err=True)
        elif self.shell.is_verbose:
            click.echo(f"  {message}", err=True)

    def stand_still(self) -> None:
        pass

    def finish(self, *, failed: bool) -> None:
        pass


class _SpinningNarrator:
    """Spins beside the running step and leaves one line, with its time, for each finished one."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.status: Any = None
        self.step = ""
        self.began = 0.0

    def __call__(self, message: str, kind: Kind) -> None:
        from rich.markup import escape

        if kind == "warning":
            self.console.print(f"[yellow]warning:[/] {escape(message)}")
        elif kind == "step":
            self.finish(failed=False)
            self.step, self.began = escape(message), time.monotonic()
            self.status = self.console.status(self.step)
            self.status.start()

    def stand_still(self) -> None:
        if self.status is not None:
            self.status.stop()

    def finish(self, *, failed: bool) -> None:
        if self.status is None:
            return
        self.status.stop()
        self.status = None
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        self.console.print(f"{mark} {self.step} [dim]{time.monotonic() - self.began:.1f} s[/]")


def _print_labelled(label: str, text: str, colour: str) -> None:
    coloured = wants_colour(sys.stderr)
    prefix = click.style(f"{label}:", fg=colour, bold=True) if coloured else f"{label}:"
    click.echo(f"{prefix} {text}", err=True, color=coloured)
