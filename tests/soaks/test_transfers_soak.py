"""The short form of `make soak-transfers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
@pytest.mark.parametrize("storage", ["directory", "file", pytest.param("s3", marks=pytest.mark.s3)])
def test_nothing_acknowledged_is_lost_and_nothing_visible_is_incomplete(storage: str) -> None:
    command = [sys.executable, "-m", "tests.soaks.transfers", "--uploads", "20", "--downloads", "10"]
    command += ["--storage", storage, "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    assert "uploads killed" in done.stderr
