"""Programs that a build runs beside itself: the user's code is imported there, and never in the build's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from kappa import _version
from kappa.log import log
from kappa.spec.service import EnvSpec

__all__ = [
    "KAPPA_FOLDER",
    "SECRET_PLACEHOLDER",
    "Reply",
    "Runner",
    "answer_order",
    "run_program",
    "send_order",
    "start_appended",
    "variables_for",
]

KAPPA_FOLDER = Path(_version.__file__).parents[1]
"""The folder that Kappa itself is imported from."""
SECRET_PLACEHOLDER = "kappa-placeholder-of-"  # noqa: S105 - stands for a secret, before its name


class Runner(Protocol):
    """Runs a program with its arguments in a directory, and returns its output; see `run_program`."""

    def __call__(
        self,
        arguments: Sequence[str],
        directory: Path,
        /,
        *,
        environ: Mapping[str, str] | None = ...,
        timeout_s: float | None = ...,
    ) -> subprocess.CompletedProcess[str]: ...


def run_program(
    arguments: Sequence[str],
    directory: Path,
    /,
    *,
    environ: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing to read; its output need not be UTF-8, because the user's code prints it.

    The environment is that of this process if not given. Raises `subprocess.TimeoutExpired`.
    """
    return subprocess.run(
        arguments,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


class Reply(NamedTuple):
    """How a program ended that was given an order."""

    answer: Any
    """What it answered; ``None`` if it ended before that."""
    exit_code: int


def send_order(
    program: Sequence[str],
    order: Mapping[str, Any],
    directory: Path | None = None,
    *,
    run: Runner = run_program,
    environ: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Reply:
    """Run a program whose last arguments are two files of JSON, its order and its answer; what it prints is logged.

    The answer goes to a file, because the user's code may print. The working directory is a temporary one if not given.
    Raises `subprocess.TimeoutExpired`.
    """
    with tempfile.TemporaryDirectory(prefix="kappa-") as name:
        sent, answer = Path(name, "order.json"), Path(name, "answer.json")
        sent.write_text(json.dumps(order), encoding="utf-8")
        arguments = [*program, str(sent), str(answer)]
        done = run(arguments, directory or Path(name), environ=environ, timeout_s=timeout_s)
        for line in (done.stdout + done.stderr).splitlines():
            log(line, kind="output")
        text = answer.read_text(encoding="utf-8") if answer.is_file() else "null"
        return Reply(json.loads(text), done.returncode)


def start_appended(module: str) -> list[str]:
    """Return a program that runs the ``main`` of a module of Kappa's, with Kappa the last place to import from."""
    start = f"import sys; sys.path.append({str(KAPPA_FOLDER)!r}); from {module} import main; main()"
    return [sys.executable, "-c", start]


def answer_order(carry_out: Callable[[Mapping[str, Any]], Any]) -> None:
    """Carry out the order that `send_order` gave this process, write the answer, and end the process."""
    order, answer = Path(sys.argv[1]), Path(sys.argv[2])
    outcome = carry_out(json.loads(order.read_text(encoding="utf-8")))
    answer.write_text(json.dumps(outcome), encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # threads that the user's code has started must not keep the build waiting


def variables_for(env: EnvSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a service finds: those that it declares too, and placeholders for secrets."""
    secrets = {name: f"{SECRET_PLACEHOLDER}{name}" for name in env.secrets}
    return {**dict(env.variables), **environ, **secrets, "PYTHONDONTWRITEBYTECODE": "1"}
