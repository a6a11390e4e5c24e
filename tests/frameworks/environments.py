"""Environments with packages of frameworks, kept in `.venv` because each has hundreds of megabytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

__all__ = ["environment"]

ROOT = Path(__file__).parents[2]


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the interpreter of the environment `.venv/frameworks-NAME`, which has ``packages``.

    It is made once, and again when its packages are others.
    """
    folder = ROOT / ".venv" / f"frameworks-{name}"
    python = folder / "bin" / "python"
    stamp, wanted = folder / "packages.txt", "\n".join((sys.version, *packages))
    with FileLock(ROOT / ".venv" / f"frameworks-{name}.lock"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            install(python, packages)
            stamp.write_text(wanted, encoding="utf-8")
    return python


def install(python: str | Path, packages: Sequence[str]) -> None:
    """Install ``packages`` by pip, whose settings name the index and hold here, too."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(command, cwd=ROOT, check=True)
