"""The short form of `make soak-attacks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "attacks.py"


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_every_attack_is_refused_and_hurts_neither_the_service_nor_its_other_clients(door: str, free_port: int) -> None:
    command = [sys.executable, str(SCRIPT), "--short", "--door", door, "--port", str(free_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
