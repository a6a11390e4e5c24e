"""Programs that a build runs beside itself: the user's code is imported there, and never in the build's own process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Runner", "run_program"]


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
