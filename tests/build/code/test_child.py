from __future__ import annotations

import sys
from pathlib import Path

from kappa.build.code.child import run_program


def test_what_a_program_prints_need_not_be_text(tmp_path: Path) -> None:
    code = r"import os; os.write(1, b'caf\xe9'); os.write(2, os.getcwd().encode()); raise SystemExit(3)"
    done = run_program([sys.executable, "-c", code], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "caf\ufffd", str(tmp_path))
