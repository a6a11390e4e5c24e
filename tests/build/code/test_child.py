from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kappa.build.code.child import run_program


def test_what_a_program_prints_need_not_be_text(tmp_path: Path) -> None:
    code = r"import os; os.write(1, b'caf\xe9'); os.write(2, os.getcwd().encode()); raise SystemExit(3)"
    done = run_program([sys.executable, "-c", code], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "caf\ufffd", str(tmp_path))


def test_a_program_has_nothing_to_read_and_finds_the_variables_that_it_is_given(tmp_path: Path) -> None:
    code = "import os, sys; print(repr(sys.stdin.read()), os.environ.get('KAPPA_HOME'), os.environ['GIVEN'])"
    done = run_program([sys.executable, "-c", code], tmp_path, environ={"GIVEN": "a"})
    assert (done.returncode, done.stdout) == (0, "'' None a\n")


def test_a_program_ends_after_its_time(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_program([sys.executable, "-c", "import time; time.sleep(100)"], tmp_path, timeout_s=0.05)
