"""Programs that a build runs beside itself: the user's code is imported there, and never in the build's own process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Runner", "run_program"]

Runner = Callable[[Sequence[str], Path], "subprocess.CompletedProcess[str]"]
"""Runs a program with its arguments in a directory, and returns what it printed."""


def run_program(arguments: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it prints need not be UTF-8, because the user's code prints it."""
    return subprocess.run(arguments, cwd=directory, capture_output=True, text=True, errors="replace", check=False)
