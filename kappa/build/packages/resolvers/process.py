"""Running a resolver's command: line by line into the log, without the secrets of its environment."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kappa.build.packages.resolvers.indexes import redacted, secrets_in
from kappa.errors import IndexUnreachableError, ResolutionError
from kappa.log import log

__all__ = ["Runner", "failure", "pass_on_warnings", "run_and_log", "say_unreachable"]

_UNREACHABLE = "The package index could not be asked."
_WARNING = re.compile(r"^\s*warning: (?P<text>.*(?:\bextra\b|yanked).*)", re.IGNORECASE | re.MULTILINE)
"""What a resolver says of a requirement that it could only meet in part; its other warnings are about itself."""

Runner = Callable[[Sequence[str], Path, Mapping[str, str]], tuple[int, str]]
"""Runs a command in a folder with an environment; returns its exit status and everything it printed."""


def run_and_log(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command and log each line as it comes; secrets of the environment are neither logged nor returned."""
    secrets = secrets_in(environ)
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=directory,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(redacted(line, secrets))
                log(lines[-1].rstrip(), kind="output")
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(lines)


def pass_on_warnings(output: str, resolver: str) -> None:
    """Warn of extras that do not exist and of files that were withdrawn, in a resolver's own words."""
    for text in dict.fromkeys(match["text"].strip() for match in _WARNING.finditer(output)):
        log(f"{resolver} says: {text.rstrip('.')}.", kind="warning")


def failure(text: str) -> ResolutionError:
    """Return the error that carries what a resolver failed with."""
    return (IndexUnreachableError if text.startswith(_UNREACHABLE) else ResolutionError)(text)


def say_unreachable(what_it_said: str) -> str:
    """Return the message for an index that does not answer, with a resolver's own words about it."""
    return (
        f"{_UNREACHABLE} Check the network, `HTTPS_PROXY`, and the index and certificate that "
        'pip is told (`pip config list`). Without an index, `resolver = "installed"` in `[bundle]` or '
        "`kappa build --resolver installed` pins what is installed here, without hashes.\n" + what_it_said
    )
