"""The short form of `make soak-answers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "answers.py"


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_everybody_gets_their_own_right_answer_whatever_happens_to_the_server(free_port: int) -> None:
    command = [sys.executable, str(SCRIPT), "--answers", "10000", "--seed", "2", "--port", str(free_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
